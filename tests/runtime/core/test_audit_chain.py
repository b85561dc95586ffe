"""Hash chain of the audit trail."""

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.core.audit_chain import (
    ECDSA_P256,
    GENESIS,
    AuditRow,
    Checkpoint,
    find_contradiction,
    first_break,
    row_hash,
    signed_bytes,
)
from gatehouse.core.audit_events import AuditEvent

EVENT = AuditEvent(
    occurred_at=1_800_000_000.5,
    actor_type="key",
    actor_id="3fGh82kLmQ0a",
    action="key.create",
    target_type="key",
    target_id="000000000000",
    outcome="success",
    request_id="req_1",
    source_address="192.0.2.1",
    details={"name": "Prüfung", "limits": ["a", "b"], "expires_at": None},
)


def chain(length: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    previous = GENESIS
    for seq in range(1, length + 1):
        event = msgspec.structs.replace(EVENT, request_id=f"req_{seq}")
        digest = row_hash(previous, seq, event)
        rows.append(AuditRow(seq, event, previous, digest))
        previous = digest
    return rows


def edited(row: AuditRow, **fields: Any) -> AuditRow:
    return msgspec.structs.replace(row, event=msgspec.structs.replace(row.event, **fields))


def test_encoding_is_stable_across_versions() -> None:
    assert (
        row_hash(GENESIS, 1, EVENT).hex()
        == "898b7de6c0e54c8d5bc7c15f4cb515e477d08be18e871c243baf8ad82318fa5d"
    )


@pytest.mark.parametrize(
    "change",
    [
        *({name: "x"} for name in AuditEvent.__struct_fields__[1:] if name != "details"),
        {"details": {**EVENT.details, "name": "Prufung"}},
        {"details": {}},
        {"occurred_at": 1_800_000_000.500001},
    ],
)
def test_edited_field_breaks_the_chain(change: dict[str, Any]) -> None:
    rows = chain(4)
    rows[2] = edited(rows[2], **change)
    assert first_break(rows) == 3


def test_edit_with_new_hash_breaks_at_the_next_row() -> None:
    rows = chain(4)
    forged = msgspec.structs.replace(EVENT, outcome="denied")
    previous = rows[1].previous_hash
    rows[1] = AuditRow(2, forged, previous, row_hash(previous, 2, forged))
    assert first_break(rows) == 3


def test_text_moved_between_fields_changes_the_hash() -> None:
    item = msgspec.structs.replace(EVENT, actor_type="ab", actor_id="c")
    other = msgspec.structs.replace(EVENT, actor_type="a", actor_id="bc")
    assert row_hash(GENESIS, 1, item) != row_hash(GENESIS, 1, other)


def test_hash_ignores_order_of_details_and_whole_floats() -> None:
    item = msgspec.structs.replace(EVENT, details={"a": 1, "b": 2.0})
    other = msgspec.structs.replace(EVENT, details={"b": 2, "a": 1.0})
    assert row_hash(GENESIS, 1, item) == row_hash(GENESIS, 1, other)


KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
HASHES = {row.seq: row.hash for row in chain(4)}


def checkpoint(
    seq: int, digest: bytes = b"", key: ec.EllipticCurvePrivateKey = KEY, **forged: Any
) -> Checkpoint:
    """A signed checkpoint. forged: fields that are changed after the signature."""
    unsigned = Checkpoint(seq, digest or HASHES[seq], EVENT.occurred_at, "key", ECDSA_P256, b"")
    signature = key.sign(signed_bytes(unsigned), ec.ECDSA(hashes.SHA256()))
    return msgspec.structs.replace(unsigned, **{"signature": signature, **forged})


@pytest.mark.parametrize(
    ("checkpoints", "seq"),
    [
        ([], None),
        ([checkpoint(2), checkpoint(4)], None),
        ([checkpoint(4), checkpoint(1, HASHES[2])], 1),
        ([checkpoint(2, HASHES[1])], 2),
        ([checkpoint(2, key=OTHER_KEY)], 2),
        ([checkpoint(2, taken_at=1.0)], 2),
        ([checkpoint(2, algorithm="none")], 2),
        ([checkpoint(5, HASHES[4])], 5),
        ([checkpoint(7, HASHES[4]), checkpoint(3)], 5),
    ],
)
def test_checkpoints_contradict_other_rows(checkpoints: list[Checkpoint], seq: int | None) -> None:
    finding = find_contradiction(HASHES, checkpoints, [KEY.public_key()])
    assert (finding and finding.seq) == seq
    if seq == 5:
        assert finding is not None
        assert f"rows 5 to {checkpoints[0].seq} are missing" in finding.reason
