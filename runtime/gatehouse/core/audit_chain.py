"""Hash chain and checkpoints of the audit trail. Encodes the bytes that hashes and signatures
cover, and detects breaks.

docs/guides/operate.md, Read and verify the audit trail, describes these bytes.

Each variable part has a length prefix, so two different rows never have the same encoding. The
chain reveals edits, gaps and reordering. The chain does not reveal rows that were deleted at its
end, or a trail that was rewritten as a whole. Signed checkpoints outside the database reveal both,
for all rows up to the last checkpoint.
"""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.clock import to_microseconds

HASH_BYTES = 32
DOMAIN = b"gatehouse-audit-1\0"
GENESIS = hashlib.sha256(b"gatehouse-audit-1 genesis").digest()
CHECKPOINT_DOMAIN = b"gatehouse-checkpoint-1\0"
ECDSA_P256 = "ecdsa-p256-sha256"  # ASN.1 DER, the signature format of AWS KMS for ECDSA_SHA_256
PublicKey = ec.EllipticCurvePublicKey


class AuditRow(msgspec.Struct, frozen=True):
    seq: int
    event: AuditEvent
    previous_hash: bytes
    hash: bytes


class Checkpoint(msgspec.Struct, frozen=True):
    """A signed statement that row `seq` had this hash. The fields are the columns of
    `audit_checkpoint`.
    """

    seq: int
    hash: bytes  # 32 bytes
    taken_at: float  # Unix seconds
    key_id: str  # ARN of the signing key
    algorithm: str
    signature: bytes


class Finding(msgspec.Struct, frozen=True):
    """A contradiction between rows and checkpoints. `seq`: sequence number of the first wrong or
    missing row.
    """

    seq: int
    reason: str


def row_hash(previous_hash: bytes, seq: int, event: AuditEvent) -> bytes:
    """Hash of row `seq` (from 1), 32 bytes. Raises ValueError for details that cannot be stored."""
    if len(previous_hash) != HASH_BYTES:
        raise ValueError(f"the hash of an audit row has {HASH_BYTES} bytes")
    digest = hashlib.sha256(DOMAIN + previous_hash)
    digest.update(seq.to_bytes(8, "big"))
    digest.update(to_microseconds(event.occurred_at).to_bytes(8, "big", signed=True))
    for name in AuditEvent.__struct_fields__[1:]:
        encoded = (event.details_json if name == "details" else getattr(event, name)).encode()
        digest.update(len(encoded).to_bytes(4, "big"))
        digest.update(encoded)
    return digest.digest()


def first_break(rows: Iterable[AuditRow], *, seq: int = 1, previous: bytes = GENESIS) -> int | None:
    """Sequence number of the first row that does not continue the chain, or None.

    `rows` are in ascending order; `seq` and `previous` are the number and the previous hash that
    the first row must have.
    """
    for row in rows:
        if (
            row.seq != seq
            or row.previous_hash != previous
            or row_hash(previous, seq, row.event) != row.hash
        ):
            return row.seq
        seq, previous = seq + 1, row.hash
    return None


def signed_bytes(checkpoint: Checkpoint) -> bytes:
    """Message that the signature of a checkpoint covers. Raises ValueError unless the hash has 32
    bytes.
    """
    if len(checkpoint.hash) != HASH_BYTES:
        raise ValueError(f"the hash of an audit row has {HASH_BYTES} bytes")
    taken_us = to_microseconds(checkpoint.taken_at).to_bytes(8, "big", signed=True)
    parts = [CHECKPOINT_DOMAIN, checkpoint.seq.to_bytes(8, "big"), checkpoint.hash, taken_us]
    for text in (checkpoint.key_id, checkpoint.algorithm):
        encoded = text.encode()
        parts += [len(encoded).to_bytes(4, "big"), encoded]
    return b"".join(parts)


def public_keys(pem: bytes) -> list[PublicKey]:
    """P-256 keys from a PEM file with one or more blocks. Raises ValueError for any other
    block.
    """
    end = b"-----END PUBLIC KEY-----"
    keys: list[PublicKey] = []
    for block in pem.split(end)[:-1]:
        try:
            key = serialization.load_pem_public_key((block + end).strip())
        except UnsupportedAlgorithm as exc:
            raise ValueError("the PEM file contains a key of an unknown type") from exc
        if not isinstance(key, PublicKey):
            raise ValueError("the PEM file contains a key that is not an ECDSA P-256 key")
        keys.append(key)
    if not keys:
        raise ValueError("the PEM file contains no public key")
    return keys


def is_signed(checkpoint: Checkpoint, keys: Iterable[PublicKey]) -> bool:
    message = signed_bytes(checkpoint)
    return any(verifies(key, checkpoint.algorithm, checkpoint.signature, message) for key in keys)


def verifies(key: PublicKey, algorithm: str, signature: bytes, message: bytes) -> bool:
    if algorithm != ECDSA_P256:
        return False
    try:
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def find_contradiction(
    row_hashes: Mapping[int, bytes], checkpoints: Iterable[Checkpoint], keys: Iterable[PublicKey]
) -> Finding | None:
    """First contradiction, in row order, between an intact chain and its checkpoints, or None if
    there is no contradiction.

    `row_hashes`: hash of every row, by sequence number. A checkpoint with an invalid signature is a
        contradiction too.
    """
    trusted = tuple(keys)
    last = max(row_hashes, default=0)
    for checkpoint in sorted(checkpoints, key=lambda checkpoint: checkpoint.seq):
        if not is_signed(checkpoint, trusted):
            return Finding(
                checkpoint.seq,
                "the checkpoint of this row has no valid signature from a trusted key",
            )
        if checkpoint.seq > last:
            return Finding(
                last + 1,
                f"rows {last + 1} to {checkpoint.seq} are missing: a checkpoint covers them",
            )
        if row_hashes.get(checkpoint.seq) != checkpoint.hash:
            return Finding(
                checkpoint.seq,
                "this row or an earlier row was rewritten: the hash differs from the checkpoint",
            )
    return None
