"""Request and response shapes of the audit trail. Clients can verify the hash chain in responses
without trusting the server.
"""

import base64
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from gatehouse.core.audit_chain import ECDSA_P256, AuditRow, Checkpoint
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_seconds
from gatehouse.core.texts import matching
from gatehouse.platform.web.fields import (
    PAGE_SIZE,
    Counted,
    Cursor,
    Instant,
    NextCursor,
    PageSize,
    TimeOrder,
    TimeRange,
    Total,
    View,
    doc,
    view_of,
)
from gatehouse.platform.web.validation import reference, unchanged


class SearchAudit(TimeRange, kw_only=True):
    """Filters for the audit trail. An event must match all of them."""

    target_id: Annotated[
        Annotated[str, reference("target")] | None,
        doc(
            "Target of the action: the ID, the name or the tag of a key or a customer, or another "
            "target as it is in events, such as the name of a Core."
        ),
    ] = None
    action: Annotated[
        Annotated[str, unchanged(max_length=64)] | None,
        doc("Action, such as `key.create`, or all actions of a kind, such as `key.*`."),
    ] = None
    actor_id: Annotated[
        Annotated[str, reference("actor", max_length=200)] | None,
        doc("Actor: the ID, the name or the tag of a key, `bootstrap`, or the subject of a JWT."),
    ] = None
    request_id: Annotated[
        Annotated[str, unchanged(max_length=64)] | None,
        doc("ID of the request that caused the event."),
    ] = None
    outcome: Annotated[Literal["success", "denied"] | None, doc("Outcome of the action.")] = None


class ListAudit(SearchAudit, kw_only=True):
    """Query parameters for listing audit events."""

    order: TimeOrder = "newest"
    total: Counted = False
    cursor: Cursor | None = None
    limit: PageSize = PAGE_SIZE


class AuditEventView(View, kw_only=True):
    """One event. `hash` covers every other field in the encoding that docs/guides/operate.md, Read
    and verify the audit trail, describes."""

    example: ClassVar = {
        **{"action": "key.create", "target_type": "key", "outcome": "success"},
        **dict.fromkeys(
            ("hash", "previous_hash"),
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ),
    }

    seq: int
    occurred_at: Instant
    actor_type: str
    actor_id: str
    action: str
    target_type: str
    target_id: str
    outcome: str
    request_id: str
    source_address: str
    details: dict[str, Any]
    previous_hash: Annotated[str, doc("Hexadecimal SHA-256 of the previous event.")]
    hash: Annotated[str, doc("Hexadecimal SHA-256 of this event.")]


class AuditEventPage(View):
    """Audit events."""

    events: list[AuditEventView]
    names: Annotated[
        dict[str, str],
        doc("Present names of the keys and customers in the events, by ID. Not part of the trail."),
    ]
    next_cursor: NextCursor
    total: Total = None


class CheckpointView(View, kw_only=True):
    """A signed statement about the last event of the chain. docs/guides/operate.md, Read and verify
    the audit trail, describes the signed bytes."""

    example: ClassVar = {
        "hash": AuditEventView.example["hash"],
        "key_id": "arn:aws:kms:eu-central-1:111122223333:key/3f1e",
        "signature": "MEUCIQDk3w==",
    }

    version: Literal[1] = 1
    seq: Annotated[
        int,
        doc("Sequence number of the last event that the checkpoint covers.", ge=1, le=2**63 - 1),
    ]
    hash: Annotated[
        str,
        matching(
            r"[0-9a-f]{64}",
            "64 hexadecimal digits",
            description="Hexadecimal SHA-256 of the last event that the checkpoint covers.",
        ),
    ]
    taken_at: Instant
    key_id: Annotated[str, doc("ARN of the signing key.")]
    algorithm: Annotated[str, Meta(examples=[ECDSA_P256])]
    signature: Annotated[str, doc("Signature in base64.")]


class AuditStatus(View, kw_only=True):
    """The last checkpoint, and the events after it. As evidence, use the checkpoints in the locked
    bucket, with `gatehouse audit verify`.
    """

    newest_seq: Annotated[int, doc("Sequence number of the last event. 0 if there is none.")]
    enabled: Annotated[bool, doc("True if the console creates checkpoints.")]
    checkpoint: Annotated[CheckpointView | None, doc("The last checkpoint. Null if there is none.")]
    public_key: Annotated[
        str | None,
        doc(
            "Public part of the current signing key, in PEM format. Null if "
            "checkpoints are disabled. Keep a copy of the key."
        ),
    ]


def audit_view(row: AuditRow) -> AuditEventView:
    return view_of(
        AuditEventView,
        row.event,
        seq=row.seq,
        previous_hash=row.previous_hash.hex(),
        hash=row.hash.hex(),
    )


def audit_row(view: AuditEventView) -> AuditRow:
    """The audit row for a view. Raises ValueError for an invalid timestamp or hash."""
    values = {name: getattr(view, name) for name in AuditEvent.__struct_fields__}
    event = AuditEvent(
        **{**values, "occurred_at": to_seconds(datetime.fromisoformat(view.occurred_at))}
    )
    return AuditRow(
        seq=view.seq,
        event=event,
        previous_hash=bytes.fromhex(view.previous_hash),
        hash=bytes.fromhex(view.hash),
    )


def checkpoint_view(checkpoint: Checkpoint) -> CheckpointView:
    signature = base64.b64encode(checkpoint.signature).decode()
    return view_of(
        CheckpointView, checkpoint, version=1, hash=checkpoint.hash.hex(), signature=signature
    )


def checkpoint_of(view: CheckpointView) -> Checkpoint:
    """The checkpoint for a view. Raises ValueError for an invalid timestamp or signature."""
    values = {name: getattr(view, name) for name in Checkpoint.__struct_fields__}
    decoded = {
        "hash": bytes.fromhex(view.hash),
        "taken_at": to_seconds(datetime.fromisoformat(view.taken_at)),
        "signature": base64.b64decode(
            view.signature, validate=True
        ),  # binascii.Error is a ValueError
    }
    return Checkpoint(**{**values, **decoded})
