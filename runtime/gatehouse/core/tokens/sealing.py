"""Encrypts stored values under the pepper with AES-256-GCM (NIST SP 800-38D). Pure.

The encryption key is HMAC-SHA256 of the purpose under a pepper generation (a one-block HKDF-Expand,
RFC 5869). A value sealed for one purpose cannot be opened for another, and no value in a copy of
the database can be opened without the pepper.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatehouse.core.tokens.token import Pepper

NONCE_BYTES = 12


def seal(
    plaintext: bytes,
    purpose: str,
    pepper: Pepper,
    generation: int,
    random_bytes: Callable[[int], bytes],
    *,
    context: str | None = None,
) -> bytes:
    """Encrypts a value under an available pepper generation. Returns the nonce and the ciphertext.

    purpose: ASCII text, different for each kind of value. context: associated data, by default the
        purpose.
    """
    key, nonce = pepper.hmac(f"seal:{purpose}", generation), random_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, _associated_data(purpose, context))


def unseal(
    sealed: bytes, purpose: str, pepper: Pepper, generation: int, *, context: str | None = None
) -> bytes | None:
    """Decrypts a value. Returns None if the value was altered, or was sealed for another purpose,
    context or generation.
    """
    key = pepper.digest(f"seal:{purpose}", generation)
    if key is None:
        return None
    try:
        return AESGCM(key).decrypt(
            sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _associated_data(purpose, context)
        )
    except (InvalidTag, ValueError):
        return None


def _associated_data(purpose: str, context: str | None) -> bytes:
    return (purpose if context is None else context).encode("ascii")
