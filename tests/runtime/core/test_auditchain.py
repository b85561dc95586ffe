"""The hash chain of the audit trail: what it covers and what it finds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from gatehouse.audit.chain import GENESIS, as_datetime, as_seconds, first_break, occurred_us, row_hash
from gatehouse.audit.models import AuditEvent
from hypothesis import given
from hypothesis import strategies as st

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

Row = tuple[int, AuditEvent, bytes, bytes]


def chain(length: int) -> list[Row]:
    rows: list[Row] = []
    previous = GENESIS
    for seq in range(1, length + 1):
        event = msgspec.structs.replace(EVENT, request_id=f"req_{seq}")
        digest = row_hash(previous, seq, event)
        rows.append((seq, event, previous, digest))
        previous = digest
    return rows


def test_the_encoding_does_not_change_between_versions() -> None:
    assert row_hash(GENESIS, 1, EVENT).hex() == "898b7de6c0e54c8d5bc7c15f4cb515e477d08be18e871c243baf8ad82318fa5d"


def test_a_whole_chain_has_no_break() -> None:
    assert first_break(chain(5)) is None


@pytest.mark.parametrize("field", [name for name in AuditEvent.__struct_fields__ if name not in {"details", "occurred_at"}])
def test_an_edit_of_any_field_is_found(field: str) -> None:
    rows = chain(4)
    seq, event, previous, digest = rows[1]
    rows[1] = (seq, msgspec.structs.replace(event, **{field: getattr(event, field) + "x"}), previous, digest)
    assert first_break(rows) == 2


@pytest.mark.parametrize(
    "change", [{"details": {**EVENT.details, "name": "Prufung"}}, {"details": {}}, {"occurred_at": 1_800_000_000.500001}]
)
def test_an_edit_of_details_or_time_is_found(change: dict[str, Any]) -> None:
    rows = chain(4)
    seq, event, previous, digest = rows[2]
    rows[2] = (seq, msgspec.structs.replace(event, **change), previous, digest)
    assert first_break(rows) == 3


def test_an_edit_with_its_hash_made_anew_is_found_at_the_next_row() -> None:
    rows = chain(4)
    forged = msgspec.structs.replace(EVENT, outcome="denied")
    rows[1] = (2, forged, rows[1][2], row_hash(rows[1][2], 2, forged))
    assert first_break(rows) == 3


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_deleted_row_is_found(gone: int) -> None:
    rows = chain(4)
    del rows[gone]
    assert first_break(rows) == gone + 2


def test_two_rows_that_changed_places_are_found() -> None:
    rows = chain(4)
    rows[1], rows[2] = rows[2], rows[1]
    assert first_break(rows) == 3


def test_two_rows_that_changed_their_numbers_too_are_found() -> None:
    rows = chain(4)
    rows[1], rows[2] = (2, *rows[2][1:]), (3, *rows[1][1:])
    assert first_break(rows) == 2


def test_a_row_put_in_between_is_found() -> None:
    rows = chain(4)
    rows.insert(2, (3, EVENT, rows[1][3], row_hash(rows[1][3], 3, EVENT)))
    assert first_break(rows) == 3


def test_text_moved_from_one_field_to_the_next_changes_the_hash() -> None:
    one = msgspec.structs.replace(EVENT, actor_type="ab", actor_id="c")
    other = msgspec.structs.replace(EVENT, actor_type="a", actor_id="bc")
    assert row_hash(GENESIS, 1, one) != row_hash(GENESIS, 1, other)


def test_the_order_of_details_does_not_change_the_hash_and_whole_floats_are_integers() -> None:
    one = msgspec.structs.replace(EVENT, details={"a": 1, "b": 2.0})
    other = msgspec.structs.replace(EVENT, details={"b": 2, "a": 1.0})
    assert row_hash(GENESIS, 1, one) == row_hash(GENESIS, 1, other)


def test_a_number_that_json_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        row_hash(GENESIS, 1, msgspec.structs.replace(EVENT, details={"a": float("nan")}))


@given(st.integers(0, 4_000_000_000_000_000))
def test_a_microsecond_survives_the_way_to_the_database_and_back(us: int) -> None:
    stored = as_datetime(us / 1_000_000)
    assert occurred_us(as_seconds(stored)) == occurred_us(us / 1_000_000)
