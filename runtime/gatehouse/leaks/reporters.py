"""Reporters whose leak reports are accepted, identified by the signatures of their requests."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper
from gatehouse.errors import SettingsError
from gatehouse.keys.repository import PostgresKeyStore
from gatehouse.keys.service import KeyService
from gatehouse.leaks import report_signatures as leak
from gatehouse.leaks.report_signatures import p256_key
from gatehouse.leaks.repository import PostgresLeaks
from gatehouse.leaks.service import LeakService
from gatehouse.notifications import webhook_signatures as webhook
from gatehouse.settings import Settings

#: (headers of the request, its body, now) -> whether a reporter that we know signed it.
Signed = Callable[[Mapping[str, str], bytes, float], bool]


@dataclass(frozen=True, slots=True)
class LeakReporters:
    """github_keys: GitHub's public keys by identifier. secret: of reports by Standard Webhooks. Either may be none."""

    desk: LeakService
    github_keys: Mapping[str, EllipticCurvePublicKey]
    secret: bytes | None

    def signed(self, reporter: str) -> Signed | None:
        """How reports of this reporter are checked; None when none are taken."""
        if reporter == "github":
            return self._githubs if self.github_keys else None
        return self._webhooks if self.secret is not None else None

    def _githubs(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        identifier = headers.get("github-public-key-identifier", "")
        return leak.is_githubs(body, identifier, headers.get("github-public-key-signature", ""), self.github_keys)

    def _webhooks(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        notice_id, timestamp, signature = (headers.get(name, "") for name in names)
        return webhook.is_signed(self.secret or b"", notice_id, timestamp, signature, body, now=now)


def leak_door(settings: Settings, engine: AsyncEngine, store: PostgresKeyStore, clock: Clock, pepper: Pepper) -> LeakReporters:
    """Raises SettingsError for keys or a secret that are none."""
    # A report may hold many keys and the gateways apply changes within a second, so nothing waits for their confirmation.
    keys = KeyService(store, clock, pepper, settings.key_prefix, secrets.token_bytes, confirmation_timeout_s=0.0)
    desk = LeakService(keys, PostgresLeaks(engine), clock, settings.leak_action)
    secret = None
    if settings.leak_secret is not None:
        try:
            secret = webhook.secret_bytes(settings.leak_secret.get_secret_value())
        except ValueError:
            raise SettingsError("GATEHOUSE_LEAK_SECRET must be whsec_ and base64 of 24 to 64 bytes") from None
    try:
        pinned = json.loads(settings.leak_github_keys or "{}")
        github_keys = {str(identifier): p256_key(pem) for identifier, pem in pinned.items()}
    except (ValueError, AttributeError, TypeError):
        raise SettingsError('GATEHOUSE_LEAK_GITHUB_KEYS must be JSON: {"<key identifier>": "<P-256 public key, PEM>"}') from None
    return LeakReporters(desk, github_keys, secret)
