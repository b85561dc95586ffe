"""Puts together what moves keys in and out: the database as the console uses it, the pepper, and where files are."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

from gatehouse.app.peppers import pepper
from gatehouse.core.apikey import Pepper
from gatehouse.errors import Unavailable
from gatehouse.flows.moving import House
from gatehouse.settings import Settings
from gatehouse.store.clock import SystemClock
from gatehouse.store.postgres_import import PostgresImports
from gatehouse.store.postgres_keys import Pool
from gatehouse.store.postgres_login import login
from gatehouse.store.postgres_registry import PostgresRegistry

_WRITABLE = (
    "SELECT max(held.generation) FROM unnest($1::integer[]) AS held (generation) WHERE NOT EXISTS ("
    " SELECT FROM gateway_worker WHERE seen_at > now() - make_interval(secs => $2)"
    " AND NOT held.generation = ANY (generations) AND generations <> '{}')"
)


@dataclass(frozen=True, slots=True)
class Yard:
    house: House
    registry: PostgresRegistry
    pepper: Pepper


@asynccontextmanager
async def open_yard(settings: Settings) -> AsyncIterator[Yard]:
    """Raises SettingsError, Unavailable (also when the schema is older than this version)."""
    peppered = pepper(settings.pepper, "PEPPER")
    password = settings.database_password.get_secret_value() if settings.database_password else None
    access = login(settings.database_url, settings.database_auth, password)
    try:
        pool: Pool = await asyncpg.create_pool(
            **access.arguments(), min_size=1, max_size=2, server_settings={"application_name": "gatehouse import"}
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
        raise Unavailable(
            f"cannot log in to PostgreSQL at {access.address} as {access.user} ({type(exc).__name__}):"
            " check GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and that the server runs"
        ) from exc
    try:
        held = [generation for generation in peppered.generations if generation <= peppered.current]
        try:
            writing = await pool.fetchval(_WRITABLE, held, 2 * settings.max_staleness_ms / 1000)
            await pool.execute("SELECT FROM import_run LIMIT 1")
        except asyncpg.UndefinedTableError:
            raise Unavailable(f"the database at {access.address} has an older schema: run gatehouse migrate first") from None
        house = House(
            imports=PostgresImports(pool),
            clock=SystemClock(),
            pepper=peppered,
            generation=writing or peppered.current,
            environment=settings.key_environment,
            default_limit=settings.default_limit,
            random_bytes=secrets.token_bytes,
        )
        yield Yard(house, PostgresRegistry(pool), peppered)
    finally:
        await pool.close()
