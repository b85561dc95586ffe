"""Sealing bytes under the pepper: AES-256-GCM with a key that is derived for one purpose; it reads and writes nothing.

The key is HMAC-SHA256 of a purpose under a pepper generation (a one-block HKDF-Expand, RFC 5869), so what is sealed for one
purpose opens for no other, and a copy of the store opens nothing. The purpose is bound in as associated data besides."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatehouse.crypto.token import Pepper

NONCE_BYTES = 12


def seal(plain: bytes, purpose: str, pepper: Pepper, generation: int, random_bytes: Callable[[int], bytes]) -> bytes | None:
    """Nonce and ciphertext; None when the generation is not held. `purpose`: ASCII, unique for each kind of thing."""
    key = pepper.digest(f"seal:{purpose}", generation)
    if key is None:
        return None
    nonce = random_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plain, purpose.encode("ascii"))


def unseal(sealed: bytes, purpose: str, pepper: Pepper, generation: int) -> bytes | None:
    """What was sealed; None when it was sealed for something else, changed, or under a generation that is not held."""
    key = pepper.digest(f"seal:{purpose}", generation)
    if key is None or len(sealed) < NONCE_BYTES:
        return None
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], purpose.encode("ascii"))
    except InvalidTag:
        return None
