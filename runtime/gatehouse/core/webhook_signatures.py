"""Signatures of the webhooks that Gatehouse sends. Pure.

Webhooks are signed according to the Standard Webhooks specification (v1, symmetric). The signature
is the HMAC-SHA256 of `id.timestamp.body` in base64, prefixed with `v1,`. The secret has 32
bytes and is written in base64, prefixed with `whsec_`.
Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from gatehouse.core.token import Pepper
from gatehouse.core.token_scanner import WEBHOOK_PREFIX


def webhook_signature(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Value of the webhook-signature header. `timestamp`: Unix seconds, as in the webhook-timestamp
    header.
    """
    message = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, message, hashlib.sha256)).decode()


def webhook_secret_text(secret: bytes) -> str:
    return WEBHOOK_PREFIX + base64.b64encode(secret).decode()


def webhook_secret(pepper: Pepper, webhook_id: str, generation: int) -> bytes | None:
    """The derived secret of a webhook. The secret is never stored. None if the pepper generation is
    not available.
    """
    return pepper.digest(f"webhook:{webhook_id}", generation)
