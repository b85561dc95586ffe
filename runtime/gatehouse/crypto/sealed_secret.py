"""Sealing secrets that must be read again, under a generation of the pepper: a copy of the database opens none of them; pure.

AES-256-GCM (NIST SP 800-38D) with a key that is derived from the pepper, a random 12-byte nonce in front, and the owner of the
secret as associated data, so that a sealed secret moved to another row opens nothing."""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatehouse.crypto.token import Pepper

NONCE_BYTES = 12


_PURPOSE = "seal:signing-secret:1"


def seal(secret: bytes, owner: str, nonce: bytes, pepper: Pepper, generation: int) -> bytes | None:
    """`nonce`: 12 random bytes, never used again. None when the generation is not held."""
    key = pepper.digest(_PURPOSE, generation)
    return None if key is None else nonce + AESGCM(key).encrypt(nonce, secret, owner.encode())


def unseal(sealed: bytes, owner: str, pepper: Pepper, generation: int) -> bytes | None:
    """None when the generation is not held any more, or what is stored was changed."""
    key = pepper.digest(_PURPOSE, generation)
    if key is None:
        return None
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], owner.encode())
    except (InvalidTag, ValueError):
        return None
