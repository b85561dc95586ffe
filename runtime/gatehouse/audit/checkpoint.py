"""Checkpoints of the audit trail: the bytes that a signature covers, and what rows and checkpoints prove together.

    signed = DOMAIN | seq | hash | taken_us | key_id | algorithm

    DOMAIN     the ASCII bytes `gatehouse-checkpoint-1` and a zero byte
    seq        8 bytes, big-endian, unsigned: the last row that is covered
    hash       32 bytes: the hash of that row, and through the chain of all rows before it
    taken_us   8 bytes, big-endian, signed: microseconds since 1970-01-01 UTC
    key_id, algorithm   4 bytes of length, big-endian, then UTF-8

The chain alone does not reveal rows that were deleted at its end, or a trail that was rewritten as a whole. A checkpoint outside
the database does: the row that it names must exist with its hash. Rows after the last checkpoint are not covered yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gatehouse.timestamps import to_microseconds

DOMAIN = b"gatehouse-checkpoint-1\0"
ED25519 = "ed25519"
ECDSA_P256 = "ecdsa-p256-sha256"  # ASN.1 DER, as AWS KMS signs with ECDSA_SHA_256
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class Checkpoint(msgspec.Struct, frozen=True):
    """A signed statement that row `seq` had this hash. The fields are the columns of `audit_checkpoint`."""

    seq: int
    hash: bytes  # 32 bytes
    taken_at: float  # Unix seconds
    key_id: str  # the signing key: an ARN, or a fingerprint
    algorithm: str
    signature: bytes

    def signed(self) -> bytes:
        return to_sign(self.seq, self.hash, self.taken_at, self.key_id, self.algorithm)


class Finding(msgspec.Struct, frozen=True):
    """A contradiction between rows and checkpoints. `seq`: the first row that is wrong or missing."""

    seq: int
    reason: str


def to_sign(seq: int, row_hash: bytes, taken_at: float, key_id: str, algorithm: str) -> bytes:
    """Message that is signed for a checkpoint. Raises ValueError unless the hash has 32 bytes."""
    if len(row_hash) != 32:
        raise ValueError("the hash of an audit row has 32 bytes")
    parts = [DOMAIN, seq.to_bytes(8, "big"), row_hash, to_microseconds(taken_at).to_bytes(8, "big", signed=True)]
    for text in (key_id, algorithm):
        encoded = text.encode()
        parts += [len(encoded).to_bytes(4, "big"), encoded]
    return b"".join(parts)


def public_keys(pem: bytes) -> list[PublicKey]:
    """Ed25519 and P-256 keys of a PEM file with one or more blocks. Raises ValueError for any other block."""
    end = b"-----END PUBLIC KEY-----"
    keys: list[PublicKey] = []
    for block in pem.split(end)[:-1]:
        try:
            key = serialization.load_pem_public_key((block + end).strip())
        except UnsupportedAlgorithm as exc:
            raise ValueError("the PEM file contains a key of an unknown type") from exc
        if not isinstance(key, PublicKey):
            raise ValueError("the PEM file contains a key that is neither Ed25519 nor ECDSA P-256")
        keys.append(key)
    if not keys:
        raise ValueError("the PEM file contains no public key")
    return keys


def is_signed(checkpoint: Checkpoint, keys: Iterable[PublicKey]) -> bool:
    """True if one of the keys verifies the signature."""
    return any(_verifies(key, checkpoint) for key in keys)


def disagreement(row_hashes: Mapping[int, bytes], checkpoints: Iterable[Checkpoint], keys: Iterable[PublicKey]) -> Finding | None:
    """First contradiction between an intact chain and its checkpoints, by row; None if they agree.

    `row_hashes`: sequence number to hash, of every row. A checkpoint with an invalid signature is a contradiction too.
    """
    trusted = tuple(keys)
    last = max(row_hashes, default=0)
    for checkpoint in sorted(checkpoints, key=lambda checkpoint: checkpoint.seq):
        if not is_signed(checkpoint, trusted):
            return Finding(checkpoint.seq, "the checkpoint of this row has no valid signature of a trusted key")
        if checkpoint.seq > last:
            return Finding(last + 1, f"rows {last + 1} to {checkpoint.seq} are missing: a checkpoint covers them")
        if row_hashes.get(checkpoint.seq) != checkpoint.hash:
            return Finding(checkpoint.seq, "this row or an earlier one was rewritten: its hash differs from the checkpoint")
    return None


def _verifies(key: PublicKey, checkpoint: Checkpoint) -> bool:
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            if checkpoint.algorithm != ED25519:
                return False
            key.verify(checkpoint.signature, checkpoint.signed())
        else:
            if checkpoint.algorithm != ECDSA_P256:
                return False
            key.verify(checkpoint.signature, checkpoint.signed(), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
