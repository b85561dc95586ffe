"""Webhook signatures of the Standard Webhooks specification (v1, symmetric).

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md. The signature is HMAC-SHA256 over
`id.timestamp.body` in base64, prefixed with `v1,`. The secret has 24 to 64 bytes, written in base64 and prefixed with `whsec_`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from gatehouse.crypto.token import Pepper

SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64

#: Maximum difference between the timestamp and the clock in seconds, as in the reference libraries.
TOLERANCE_S = 300
SIGNATURES_MAX = 10
_PREFIX = "whsec_"
_DECIMAL = re.compile(r"[0-9]{1,12}", re.ASCII)


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Value of the header webhook-signature. `timestamp`: Unix seconds, as in the header webhook-timestamp."""
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def secret_text(secret: bytes) -> str:
    return _PREFIX + base64.b64encode(secret).decode()


def secret_of(pepper: Pepper, webhook_id: str, generation: int) -> bytes | None:
    """Secret of a webhook, which is derived and never stored. None if the pepper generation is not available."""
    return pepper.digest(f"webhook:{webhook_id}", generation)


def secret_bytes(text: str) -> bytes:
    """Inverse of `secret_text`. Raises ValueError for a malformed secret."""
    if not text.startswith(_PREFIX):
        raise ValueError(f"must begin with {_PREFIX}")
    secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(f"must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def is_signed(secret: bytes, message_id: str, timestamp: str, signatures: str, body: bytes, *, now: float) -> bool:
    """True if one of the space-separated signatures is valid and fresh. Compares in constant time."""
    if not _DECIMAL.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE_S or not message_id.isascii():
        return False
    expected = sign(secret, message_id, int(timestamp), body).encode()
    candidates = signatures.encode("utf-8", "surrogatepass").split(b" ")[:SIGNATURES_MAX]
    return any(hmac.compare_digest(expected, candidate) for candidate in candidates)
