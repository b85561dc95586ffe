"""Signatures of webhooks, of those that Gatehouse sends and of leak reports that it receives. Pure.

Webhooks are signed according to the Standard Webhooks specification (v1, symmetric). The signature
is the HMAC-SHA256 of `id.timestamp.body` in base64, prefixed with `v1,`. The secret has 24 to 64
bytes and is written in base64, prefixed with `whsec_`.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping

from gatehouse.core.token import Pepper
from gatehouse.core.token_scanner import WEBHOOK_PREFIX

SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64

#: Maximum difference between the timestamp and the clock in seconds, as in the reference libraries.
TOLERANCE_S = 300
SIGNATURES_MAX = 10
_SECRET_PREFIX = WEBHOOK_PREFIX
_DECIMAL = re.compile(r"[0-9]{1,12}", re.ASCII)


def webhook_signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Value of the webhook-signature header. `timestamp`: Unix seconds, as in the webhook-timestamp
    header.
    """
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def webhook_secret_text(secret: bytes) -> str:
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def webhook_secret(pepper: Pepper, webhook_id: str, generation: int) -> bytes | None:
    """The derived secret of a webhook. The secret is never stored. None if the pepper generation is
    not available.
    """
    return pepper.digest(f"webhook:{webhook_id}", generation)


def parse_webhook_secret(text: str) -> bytes:
    """Inverse of `webhook_secret_text`. Raises ValueError for a malformed secret."""
    if not text.startswith(_SECRET_PREFIX):
        raise ValueError(f"must begin with {_SECRET_PREFIX}")
    secret = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    if not SECRET_BYTES_MIN <= len(secret) <= SECRET_BYTES_MAX:
        raise ValueError(f"must have {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes")
    return secret


def is_signed_webhook(
    secret: bytes, headers: Mapping[str, str], body: bytes, *, now: float
) -> bool:
    """True if one of the space-separated signatures in the headers is valid and fresh. Compares in
    constant time.
    """
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if (
        not _DECIMAL.fullmatch(timestamp)
        or abs(now - int(timestamp)) > TOLERANCE_S
        or not message_id.isascii()
    ):
        return False
    expected = webhook_signature(secret, message_id, int(timestamp), body).encode()
    candidates = (
        headers.get("webhook-signature", "")
        .encode("utf-8", "surrogatepass")
        .split(b" ")[:SIGNATURES_MAX]
    )
    return any(hmac.compare_digest(expected, candidate) for candidate in candidates)
