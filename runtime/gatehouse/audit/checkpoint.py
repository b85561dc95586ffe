"""Checkpoints of the audit trail: what a signature covers, byte for byte, and what rows and checkpoints together prove; no I/O.

    signed = DOMAIN | seq | hash | taken_us | key_id | algorithm

    DOMAIN     the ASCII bytes `gatehouse-checkpoint-1` and a zero byte
    seq        8 bytes, big-endian, unsigned: the last row that is covered
    hash       32 bytes: the hash of that row, and so of all rows before it
    taken_us   8 bytes, big-endian, signed: microseconds since 1970-01-01 UTC
    key_id, algorithm   4 bytes of length, big-endian, and that many bytes of UTF-8

A chain alone does not show that rows were cut off its end, or that all of it was written anew. A checkpoint outside the database
does: the row that it names must be there, with its hash. Rows behind the last checkpoint are not vouched for yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from gatehouse.audit.chain import occurred_us

DOMAIN = b"gatehouse-checkpoint-1\0"


ED25519 = "ed25519"


ECDSA_P256 = "ecdsa-p256-sha256"  # ASN.1 DER, as AWS KMS signs with ECDSA_SHA_256


PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class Checkpoint(msgspec.Struct, frozen=True):
    """Row `seq` had this hash when it was taken. `key_id` names the signing key: an ARN, or a fingerprint."""

    seq: int
    hash: bytes
    taken_at: float
    key_id: str
    algorithm: str
    signature: bytes

    def signed(self) -> bytes:
        return to_sign(self.seq, self.hash, self.taken_at, self.key_id, self.algorithm)


class Finding(msgspec.Struct, frozen=True):
    """What a look at rows and checkpoints found. `seq`: the first row that is wrong or missing."""

    seq: int
    reason: str


def to_sign(seq: int, row_hash: bytes, taken_at: float, key_id: str, algorithm: str) -> bytes:
    """What a key signs for a checkpoint. Raises ValueError when the hash has not 32 bytes."""
    if len(row_hash) != 32:
        raise ValueError("the hash of an audit row has 32 bytes")
    parts = [DOMAIN, seq.to_bytes(8, "big"), row_hash, occurred_us(taken_at).to_bytes(8, "big", signed=True)]
    for text in (key_id, algorithm):
        encoded = text.encode()
        parts += [len(encoded).to_bytes(4, "big"), encoded]
    return b"".join(parts)


def public_keys(pem: bytes) -> list[PublicKey]:
    """Every Ed25519 or P-256 key of a PEM file, one block after the other. Raises ValueError when a block is none."""
    end = b"-----END PUBLIC KEY-----"
    blocks = [block + end for block in pem.split(end)[:-1]]
    keys: list[PublicKey] = []
    for block in blocks:
        try:
            key = serialization.load_pem_public_key(block.strip())
        except UnsupportedAlgorithm as exc:
            raise ValueError("a key of a kind that is not known") from exc
        if not isinstance(key, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey):
            raise ValueError("a key that is neither Ed25519 nor ECDSA P-256")
        keys.append(key)
    if not keys:
        raise ValueError("no public key")
    return keys


def is_signed(checkpoint: Checkpoint, keys: Iterable[PublicKey]) -> bool:
    """True when one of the keys made the signature."""
    return any(_made(checkpoint, key) for key in keys)


def disagreement(row_hashes: Mapping[int, bytes], checkpoints: Iterable[Checkpoint], keys: Iterable[PublicKey]) -> Finding | None:
    """The first thing about unbroken rows that the checkpoints contradict, by row; None when they agree.

    `row_hashes`: seq -> hash of every row. A checkpoint with a bad signature is a finding too: somebody touched it.
    """
    known = tuple(keys)
    last = max(row_hashes, default=0)
    for checkpoint in sorted(checkpoints, key=lambda one: one.seq):
        if not is_signed(checkpoint, known):
            return Finding(checkpoint.seq, "the checkpoint of this row has no signature of a key that you trust")
        if checkpoint.seq > last:
            return Finding(last + 1, f"rows {last + 1} to {checkpoint.seq} are missing at the end: a checkpoint saw them")
        if row_hashes.get(checkpoint.seq) != checkpoint.hash:
            return Finding(
                checkpoint.seq, "this row, or one before it, is not the one that was checkpointed: it was written anew"
            )
    return None


def _made(checkpoint: Checkpoint, key: PublicKey) -> bool:
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
