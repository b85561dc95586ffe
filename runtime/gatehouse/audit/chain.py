"""Hash chain of the audit trail: the bytes that the hash of a row covers, and the search for a break.

    hash = SHA-256( DOMAIN | previous_hash | seq | occurred_us | field ... field | details )

    DOMAIN         the ASCII bytes `gatehouse-audit-1` and a zero byte
    previous_hash  32 bytes: the hash of row seq - 1, or GENESIS for row 1
    seq            8 bytes, big-endian, unsigned; 1, 2, 3 ... without a gap
    occurred_us    8 bytes, big-endian, signed: microseconds since 1970-01-01 UTC
    field          4 bytes of length, big-endian, then UTF-8: actor_type, actor_id, action, target_type, target_id, outcome,
                   request_id, source_address, in this order
    details        encoded like a field: JSON with keys sorted by code point, without spaces, non-ASCII characters unescaped

Each variable part has a length prefix, so two different rows never have the same encoding. A whole number in `details` is written
without a fraction (1.0 as 1), because PostgreSQL's jsonb does not preserve the difference. The chain reveals edits, gaps and
reordering. It does not reveal rows that were deleted at its end; signed checkpoints outside the database do.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable

from gatehouse.audit.models import AuditEvent, AuditRow
from gatehouse.timestamps import to_microseconds

HASH_BYTES = 32
DOMAIN = b"gatehouse-audit-1\0"
GENESIS = hashlib.sha256(b"gatehouse-audit-1 genesis").digest()


def row_hash(previous_hash: bytes, seq: int, event: AuditEvent) -> bytes:
    """Hash of row `seq` (from 1), 32 bytes. Raises ValueError for details that cannot be stored."""
    if len(previous_hash) != HASH_BYTES:
        raise ValueError(f"the hash of an audit row has {HASH_BYTES} bytes")
    digest = hashlib.sha256(DOMAIN + previous_hash)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(to_microseconds(event.occurred_at).to_bytes(8, "big", signed=True))
    for name in AuditEvent.__struct_fields__[1:]:
        encoded = (details_json(event) if name == "details" else getattr(event, name)).encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return digest.digest()


def details_json(event: AuditEvent) -> str:
    """Details as canonical JSON, which is both hashed and stored. Raises ValueError on NaN and infinities."""
    plain = {name: _number(value) if isinstance(value, float) else value for name, value in event.details.items()}
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def first_break(rows: Iterable[AuditRow], *, seq: int = 1, previous: bytes = GENESIS) -> int | None:
    """Sequence number of the first row that does not continue the chain, or None.

    `rows` are in ascending order; `seq` and `previous` are the number and the previous hash that the first row must have.
    """
    for row in rows:
        if row.seq != seq or row.previous_hash != previous or row_hash(previous, seq, row.event) != row.hash:
            return row.seq
        seq, previous = seq + 1, row.hash
    return None


def _number(value: float) -> int | float:
    return int(value) if math.isfinite(value) and value == int(value) else value
