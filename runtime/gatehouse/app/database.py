"""How a service reaches PostgreSQL, as its settings say."""

from __future__ import annotations

from dataclasses import replace

from gatehouse.settings import Settings
from gatehouse.store.postgres_login import Login, login


def database(settings: Settings) -> Login:
    """Raises SettingsError."""
    password = settings.database_password.get_secret_value() if settings.database_password else None
    found = login(settings.database_url, settings.database_auth, password)
    return replace(found, connect_s=settings.database_connect_timeout_s, statement_s=settings.database_statement_timeout_s)
