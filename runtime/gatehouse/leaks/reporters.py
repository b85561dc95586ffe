"""Leak reporters whose reports are accepted, authenticated by the signatures of their requests."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from gatehouse.clock import Clock
from gatehouse.crypto.token import Pepper
from gatehouse.db.pool import Pool
from gatehouse.errors import SettingsError
from gatehouse.keys.repository import KeyRepository
from gatehouse.keys.service import KeyService
from gatehouse.leaks.report_signatures import is_signed_by_github, p256_key
from gatehouse.leaks.repository import LeakRepository
from gatehouse.leaks.service import LeakService
from gatehouse.notifications import webhook_signatures as webhook
from gatehouse.settings import Settings

#: (request headers, body, Unix seconds now) -> True if the reporter signed the request.
Verify = Callable[[Mapping[str, str], bytes, float], bool]


@dataclass(frozen=True, slots=True)
class LeakReporters:
    service: LeakService
    github_keys: Mapping[str, EllipticCurvePublicKey]  # by identifier; empty: reports of GitHub are not accepted
    secret: bytes | None  # of reports that are signed as Standard Webhooks; None: they are not accepted

    def signed(self, reporter: str) -> Verify | None:
        """Verification of the reports of a reporter; None if they are not accepted."""
        if reporter == "github":
            return self._is_signed_by_github if self.github_keys else None
        return self._is_signed_webhook if self.secret is not None else None

    def _is_signed_by_github(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        identifier = headers.get("github-public-key-identifier", "")
        return is_signed_by_github(body, identifier, headers.get("github-public-key-signature", ""), self.github_keys)

    def _is_signed_webhook(self, headers: Mapping[str, str], body: bytes, now: float) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        message_id, timestamp, signature = (headers.get(name, "") for name in names)
        return webhook.is_signed(self.secret or b"", message_id, timestamp, signature, body, now=now)


def leak_reporters(settings: Settings, pool: Pool, store: KeyRepository, clock: Clock, pepper: Pepper) -> LeakReporters:
    """Raises SettingsError if a key or the secret is malformed."""
    # A report may hold many keys and the gateways apply changes within a second, so nothing waits for their confirmation.
    keys = KeyService(store, clock, pepper, settings.key_prefix, secrets.token_bytes, confirmation_timeout_s=0.0)
    service = LeakService(keys, LeakRepository(pool), clock, settings.leak_action)
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
    return LeakReporters(service, github_keys, secret)
