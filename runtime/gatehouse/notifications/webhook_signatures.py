"""Signatures of webhooks by the Standard Webhooks specification (v1, symmetric); pure.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md: HMAC-SHA256 over `id.timestamp.body`, base64,
behind `v1,`; the secret is written as `whsec_` and base64, with 24 to 64 bytes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

from gatehouse.crypto.token import Pepper

SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64


#: Seconds that a message may be old, or ahead: what the reference libraries allow.
TOLERANCE_S = 300


SIGNATURES_MAX = 10


_MARK = "whsec_"


_DECIMAL = re.compile(r"[0-9]{1,12}", re.ASCII)


def sign(secret: bytes, notice_id: str, timestamp: int, body: bytes) -> str:
    """The value of the header webhook-signature. `timestamp`: Unix seconds, as in the header webhook-timestamp."""
    message = f"{notice_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def secret_text(secret: bytes) -> str:
    """As a receiver's library takes it."""
    return _MARK + base64.b64encode(secret).decode()


def secret_of(pepper: Pepper, webhook_id: str, generation: int) -> bytes | None:
    """The secret of a webhook, derived and stored nowhere. None when the pepper no longer has the generation."""
    return pepper.digest(f"webhook:{webhook_id}", generation)


def secret_bytes(text: str) -> bytes:
    """The secret behind `secret_text`. Raises ValueError for anything but 24 to 64 bytes."""
    if not text.startswith(_MARK):
        raise ValueError(f"must begin with {_MARK}")
    secret = base64.b64decode(text.removeprefix(_MARK), validate=True)
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(f"must hold {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def is_signed(secret: bytes, notice_id: str, timestamp: str, signature: str, body: bytes, *, now: float) -> bool:
    """Whether one of the space-separated signatures is ours and fresh; compared in constant time."""
    if not _DECIMAL.fullmatch(timestamp) or abs(now - int(timestamp)) > TOLERANCE_S or not notice_id.isascii():
        return False
    expected = sign(secret, notice_id, int(timestamp), body).encode()
    given = signature.encode("utf-8", "surrogatepass").split(b" ")[:SIGNATURES_MAX]
    return any(hmac.compare_digest(expected, one) for one in given)
