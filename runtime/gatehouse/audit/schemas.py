"""The JSON shape of audit rows: complete enough that a reader can check the hash chain without trusting the server.

The JSON shape of a checkpoint, one file or line each: in the vault, in the API, and as `gatehouse audit verify` reads it.
"""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from gatehouse.audit.checkpoint import Checkpoint
from gatehouse.audit.models import AuditEvent, AuditFilter, AuditRow
from gatehouse.keys.schemas import Instant
from gatehouse.timestamps import rfc3339, to_seconds


class SearchAudit(BaseModel):
    """Which rows of the audit trail are wanted; everything that is left out does not matter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target_id: Annotated[str | None, Field(max_length=100, description="The key or Core that was acted on.")] = None
    action: Annotated[
        str | None, Field(max_length=64, description="Such as key.create, core.register, or key.* for all of one kind.")
    ] = None
    actor_id: Annotated[
        str | None, Field(max_length=200, description="Who acted: a key's id, bootstrap, a person's subject.")
    ] = None
    outcome: Literal["success", "denied"] | None = None
    since: Annotated[Instant | None, Field(description="RFC 3339; from this instant on.")] = None
    until: Annotated[Instant | None, Field(description="RFC 3339; before this instant.")] = None


class ListAudit(SearchAudit):
    """The query of a page of the audit trail."""

    cursor: Annotated[str | None, Field(max_length=512, description="`next_cursor` of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50


class ExportAudit(SearchAudit):
    """The query of a download."""

    format: Annotated[
        Literal["ndjson", "csv"],
        Field(description="ndjson is exact and can be verified; csv is for spreadsheets, and safe to open in one."),
    ] = "ndjson"


EXAMPLE_EVENT: JsonDict = {
    "seq": 1204,
    "occurred_at": "2030-06-01T09:00:00.123456Z",
    "actor_type": "bootstrap",
    "actor_id": "bootstrap",
    "action": "key.create",
    "target_type": "key",
    "target_id": "3fGh82kLmQ0a",
    "outcome": "success",
    "request_id": "req_0199f3a8c0d1b6e5f4a3928170",
    "source_address": "192.0.2.7",
    "details": {"name": "invoices, nightly export"},
    "previous_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "hash": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
}


class AuditEventView(BaseModel):
    """One row. `hash` covers every other member; how is written in gatehouse/audit/chain.py."""

    seq: int
    occurred_at: str
    actor_type: str
    actor_id: str
    action: str
    target_type: str
    target_id: str
    outcome: str
    request_id: str
    source_address: str
    details: dict[str, Any]
    previous_hash: Annotated[str, Field(description="Hexadecimal SHA-256 of the row before.")]
    hash: Annotated[str, Field(description="Hexadecimal SHA-256 of this row.")]


class AuditEventPage(BaseModel):
    """Newest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"events": [EXAMPLE_EVENT], "next_cursor": None}]})

    events: list[AuditEventView]
    next_cursor: str | None


class AuditVerification(BaseModel):
    """What a walk along the whole chain found."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"rows": 1204, "intact": True, "first_broken_seq": None}]}
    )

    rows: Annotated[int, Field(description="Rows that were read.")]
    intact: bool
    first_broken_seq: int | None


def audit_filter(query: SearchAudit) -> AuditFilter:
    return AuditFilter(
        target_id=query.target_id,
        action=query.action,
        actor_id=query.actor_id,
        outcome=query.outcome,
        since=None if query.since is None else query.since.timestamp(),
        until=None if query.until is None else query.until.timestamp(),
    )


def audit_view(row: AuditRow) -> AuditEventView:
    event = row.event
    return AuditEventView(
        seq=row.seq,
        occurred_at=rfc3339(event.occurred_at),
        actor_type=event.actor_type,
        actor_id=event.actor_id,
        action=event.action,
        target_type=event.target_type,
        target_id=event.target_id,
        outcome=event.outcome,
        request_id=event.request_id,
        source_address=event.source_address,
        details=dict(event.details),
        previous_hash=row.previous_hash.hex(),
        hash=row.hash.hex(),
    )


def audit_row(view: AuditEventView) -> AuditRow:
    """Back from the wire. Raises ValueError on a date or a hash that is none."""
    event = AuditEvent(
        occurred_at=to_seconds(datetime.fromisoformat(view.occurred_at)),
        actor_type=view.actor_type,
        actor_id=view.actor_id,
        action=view.action,
        target_type=view.target_type,
        target_id=view.target_id,
        outcome=view.outcome,
        request_id=view.request_id,
        source_address=view.source_address,
        details=view.details,
    )
    return AuditRow(seq=view.seq, event=event, previous_hash=bytes.fromhex(view.previous_hash), hash=bytes.fromhex(view.hash))


class CheckpointView(BaseModel):
    """What the signature covers is written in gatehouse/audit/checkpoint.py."""

    version: Literal[1] = 1
    seq: Annotated[int, Field(ge=1, description="The last audit row that is covered.")]
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="Hexadecimal hash of that row.")]
    taken_at: str
    key_id: Annotated[str, Field(description="Which key signed: an ARN, or the fingerprint of its public half.")]
    algorithm: Annotated[str, Field(description="ed25519 or ecdsa-p256-sha256.")]
    signature: Annotated[str, Field(description="Base64.")]


class ListCheckpoints(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=0, le=2**62, description="`next_after` of the page before.")] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class CheckpointPage(BaseModel):
    """In the order of the rows that they cover."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "checkpoints": [
                        {
                            "version": 1,
                            "seq": 1204,
                            "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                            "taken_at": "2030-06-01T09:00:00Z",
                            "key_id": "arn:aws:kms:eu-central-1:111122223333:key/3f1e",
                            "algorithm": "ecdsa-p256-sha256",
                            "signature": "MEUCIQDk3w==",
                        }
                    ],
                    "next_after": None,
                    "public_key": None,
                }
            ]
        }
    )

    checkpoints: list[CheckpointView]
    next_after: int | None
    public_key: Annotated[
        str | None, Field(description="PEM of the key that signs now; keep a copy elsewhere. Null: none signs.")
    ]


def checkpoint_view(checkpoint: Checkpoint) -> CheckpointView:
    return CheckpointView(
        seq=checkpoint.seq,
        hash=checkpoint.hash.hex(),
        taken_at=rfc3339(checkpoint.taken_at),
        key_id=checkpoint.key_id,
        algorithm=checkpoint.algorithm,
        signature=base64.b64encode(checkpoint.signature).decode(),
    )


def checkpoint_of(view: CheckpointView) -> Checkpoint:
    """Back from the wire. Raises ValueError on a date or a signature that is none."""
    try:
        signature = base64.b64decode(view.signature, validate=True)
    except binascii.Error as exc:
        raise ValueError("the signature is no base64") from exc
    return Checkpoint(
        seq=view.seq,
        hash=bytes.fromhex(view.hash),
        taken_at=to_seconds(datetime.fromisoformat(view.taken_at)),
        key_id=view.key_id,
        algorithm=view.algorithm,
        signature=signature,
    )
