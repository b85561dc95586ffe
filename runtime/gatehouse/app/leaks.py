"""Puts together who may report leaks, and what is done then."""

from __future__ import annotations

import json

from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.core import webhook
from gatehouse.core.apikey import Pepper
from gatehouse.core.leak import p256_key
from gatehouse.doors.console.leak_door import LeakDoor
from gatehouse.errors import SettingsError
from gatehouse.flows.leak import LeakDesk
from gatehouse.settings import Settings
from gatehouse.store.ports import Clock, KeyStore
from gatehouse.store.postgres_leaks import PostgresLeaks


def leak_door(settings: Settings, engine: AsyncEngine, keys: KeyStore, clock: Clock, pepper: Pepper) -> LeakDoor:
    """Raises SettingsError for keys or a secret that are none."""
    desk = LeakDesk(keys, PostgresLeaks(engine), clock, pepper, settings.key_prefix, settings.leak_action)
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
    return LeakDoor(desk, github_keys, secret)
