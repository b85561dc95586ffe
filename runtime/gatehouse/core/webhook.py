"""Signatures of webhooks by the Standard Webhooks specification (v1, symmetric); pure.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md: HMAC-SHA256 over `id.timestamp.body`, base64,
behind `v1,`; the secret is written as `whsec_` and base64, with 24 to 64 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from gatehouse.core.apikey import Pepper

_MARK = "whsec_"


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
