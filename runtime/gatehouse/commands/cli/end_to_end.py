"""End-to-end encryption of text. In the link, the key follows the link secret. No server receives
the key.

    https://sharing.example.com/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU#<link secret>.<key>

The algorithm is AES-256-GCM. The key consists of 32 random bytes, encoded in base64url without
padding. The ciphertext consists of a 12-byte nonce and the AES-GCM output for the UTF-8 text with
the associated data `gatehouse-e2e-v1`.
"""

import base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gatehouse.core.errors import BadRequest
from gatehouse.core.notation import base64url

_ASSOCIATED_DATA = b"gatehouse-e2e-v1"
_KEY_BYTES, _NONCE_BYTES = 32, 12


def encrypt(text: bytes, random: bytes) -> tuple[bytes, str]:
    """Encrypt text under a new key. Returns the ciphertext, and the key in the format that is
    appended to a link. random: at least 44 bytes that are used for no other text.
    """
    key, nonce = random[:_KEY_BYTES], random[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES]
    ciphertext = nonce + AESGCM(key).encrypt(nonce, text, _ASSOCIATED_DATA)
    return ciphertext, base64url(key)


def decrypt(ciphertext: bytes, key: str) -> bytes:
    """Decrypt text. Raises BadRequest if the key is malformed or belongs to other text, or if the
    ciphertext was altered.
    """
    try:
        return AESGCM(_read_key(key)).decrypt(
            ciphertext[:_NONCE_BYTES], ciphertext[_NONCE_BYTES:], _ASSOCIATED_DATA
        )
    except (InvalidTag, ValueError):
        raise BadRequest(
            "the content cannot be decrypted with the key at the end of the link: copy the "
            "complete link"
        ) from None


def split_link(link: str) -> tuple[str, str]:
    """Return the link without the key, which may be sent to the server, and the key, which may be
    empty.
    """
    before, separator, fragment = link.partition("#")
    secret, _, key = fragment.partition(".")
    return before + separator + secret, key


def _read_key(key: str) -> bytes:
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise BadRequest("the key at the end of the link is incomplete: copy the complete link")
    return raw
