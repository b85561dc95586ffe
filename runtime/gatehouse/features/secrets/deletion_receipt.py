"""The statement about the deletion of a secret, and its signature. Pure."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from gatehouse.core.audit_chain import PublicKey, verifies
from gatehouse.core.clock import rfc3339
from gatehouse.features.secrets.models import Secret

RECEIPT_TYPE = "gatehouse-deletion-receipt-v1"
#: Key and version ID of an object.
ObjectVersion: TypeAlias = tuple[str, str]
#: Maximum number of object versions that a statement lists, so that it fits in the table item.
LISTED_MAX = 1000


def statement_of(secret: Secret, count: int, listed: Sequence[ObjectVersion], at: float) -> str:
    """Return the statement in JSON. count, listed: see `delete_all`."""
    return json.dumps(
        {
            "type": RECEIPT_TYPE,
            "secret": secret.id,
            "reason": secret.end_reason or "",
            "ended_at": rfc3339(secret.ended_at or at),
            "deleted_at": rfc3339(at),
            "object_versions": count,
            "objects": [{"key": key, "version_id": version} for key, version in listed],
        },
        sort_keys=True,
    )


def signed_text(statement: str) -> bytes:
    """Return the text that the signature covers: the hash of the statement with a prefix, because
    KMS signs at most 4096 bytes."""
    return f"{RECEIPT_TYPE} {hashlib.sha256(statement.encode()).hexdigest()}".encode()


def is_signed(statement: str, signature: bytes, algorithm: str, keys: Iterable[PublicKey]) -> bool:
    return any(verifies(key, algorithm, signature, signed_text(statement)) for key in keys)
