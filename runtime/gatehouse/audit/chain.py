"""The hash chain of the audit trail: what the hash of a row covers, byte for byte; it never reads or writes a row.

    hash = SHA-256( DOMAIN | previous_hash | seq | occurred_us | field ... field | details )

    DOMAIN         the ASCII bytes `gatehouse-audit-1` and a zero byte
    previous_hash  32 bytes: the hash of row seq - 1, GENESIS for row 1
    seq            8 bytes, big-endian, unsigned; 1, 2, 3 ... without a gap
    occurred_us    8 bytes, big-endian, signed: microseconds since 1970-01-01 UTC
    field          4 bytes of length, big-endian, and that many bytes of UTF-8: actor_type, actor_id, action, target_type,
                   target_id, outcome, request_id, source_address, in this order
    details        the same, holding JSON with keys sorted by code point, no spaces, non-ASCII characters as they are

Every variable part is preceded by its length, so no two rows share an encoding. A whole number in `details` is written without
a fraction (1.0 as 1), because PostgreSQL's jsonb does not keep the difference. An edit, a gap and a reorder break the chain;
rows cut off its end do not, which is what signed checkpoints outside the database are for."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from gatehouse.audit.models import AuditEvent

HASH_BYTES = 32


DOMAIN = b"gatehouse-audit-1\0"


GENESIS = hashlib.sha256(b"gatehouse-audit-1 genesis").digest()


#: pg_advisory_xact_lock under which rows are appended. Taken after the lock of the change trigger (7126501), never before it.
APPEND_LOCK = 7126502


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row_hash(previous_hash: bytes, seq: int, event: AuditEvent) -> bytes:
    """The hash of row `seq` (from 1), 32 bytes. Raises ValueError for what cannot be stored (see `details_json`)."""
    if len(previous_hash) != HASH_BYTES:
        raise ValueError("the previous hash of an audit row has 32 bytes")
    digest = hashlib.sha256(DOMAIN + previous_hash)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(occurred_us(event.occurred_at).to_bytes(8, "big", signed=True))
    fields = (
        event.actor_type,
        event.actor_id,
        event.action,
        event.target_type,
        event.target_id,
        event.outcome,
        event.request_id,
        event.source_address,
        details_json(event),
    )
    for field in fields:
        encoded = field.encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return digest.digest()


def details_json(event: AuditEvent) -> str:
    """The details as canonical JSON: what is hashed and what is stored. Raises ValueError on NaN and infinities."""
    plain = {name: _number(value) if isinstance(value, float) else value for name, value in event.details.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def occurred_us(occurred_at: float) -> int:
    """Unix seconds to whole microseconds, the precision of timestamptz: what is stored is what was hashed."""
    return round(occurred_at * 1_000_000)


def as_datetime(occurred_at: float) -> datetime:
    """The instant as the database stores it, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=occurred_us(occurred_at))


def as_seconds(instant: datetime) -> float:
    """Back from the database; `occurred_us` of the result is the microsecond that was stored (until the year 2100)."""
    return ((instant - _EPOCH) // timedelta(microseconds=1)) / 1_000_000


def first_break(rows: Iterable[tuple[int, AuditEvent, bytes, bytes]], *, seq: int = 1, previous: bytes = GENESIS) -> int | None:
    """The sequence number of the first of `(seq, event, previous_hash, hash)` that does not continue the chain, or None.

    `seq` and `previous` say where the rows begin; rows come in ascending order.
    """
    for row_seq, event, row_previous, row_digest in rows:
        if row_seq != seq or row_previous != previous or row_hash(previous, seq, event) != row_digest:
            return row_seq
        seq, previous = seq + 1, row_digest
    return None


def _number(value: float) -> int | float:
    return int(value) if math.isfinite(value) and value == int(value) else value
