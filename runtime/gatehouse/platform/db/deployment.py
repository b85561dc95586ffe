"""The settings on which the processes of a deployment must agree, as their database records them.

The first process with a setting records it. Every process compares its settings at its start, and
does not start if one differs or the schema has another version (`Agreement` in
platform/settings.py). Of a secret, an HMAC of a constant is recorded.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import asyncpg

from gatehouse.core.errors import SettingsError
from gatehouse.core.tokens.token import read_pepper
from gatehouse.platform.settings import AGREEMENTS, Agreement, Settings, variable

#: Name of the fact that a migration records if earlier versions cannot use the schema any more: its
#: revision.
COMPATIBLE_SINCE = "compatible_since"

#: Advisory lock of the process that records facts.
_LOCK = 7126509

_CONSTANT = "deployment fact"

_VERSIONS = Path(__file__).parent / "migrations" / "versions"

_Connection = Any  # of a pool, or of the owner


class Facts:
    """The facts of one process."""

    def __init__(self, settings: Settings, names: Collection[str] = tuple(AGREEMENTS)) -> None:
        """names: the settings to compare. Raises SettingsError."""
        self._facts: dict[str, str] = {}
        #: The recorded names of secrets, by setting.
        self._generations: dict[str, list[str]] = {}
        for name in names:
            value = getattr(settings, name)
            if AGREEMENTS[name] is Agreement.MAY_DIFFER or not value:
                continue
            if AGREEMENTS[name] is Agreement.SAME:
                self._facts[name] = str(value)
                continue
            secret = read_pepper(value, variable(name))
            digests = {
                f"{name}:{number}": secret.hmac(_CONSTANT, number).hex()
                for number in secret.generations
            }
            self._facts |= digests
            self._generations[name] = list(digests)

    async def confirm(self, connection: _Connection) -> None:
        """Compares the facts, and records those that are new. Raises SettingsError, and the errors
        of the driver.
        """
        await check_schema(connection)
        recorded = await _recorded(connection)
        self._compare(recorded)
        await self._check_newest(connection, recorded)
        if self._facts.keys() <= recorded.keys():
            return
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            self._compare(await _recorded(connection))
            await connection.execute(
                "INSERT INTO deployment_fact SELECT * FROM unnest($1::text[], $2::text[]) "
                "ON CONFLICT DO NOTHING",
                list(self._facts),
                list(self._facts.values()),
            )

    async def replace(self, connection: _Connection, replaced: str) -> None:
        """Deletes the facts of the deployment `replaced`, if the database has them, and compares
        them otherwise. Raises SettingsError.
        """
        if await connection.fetchval("SELECT to_regclass('deployment_fact')") is None:
            return
        recorded = await _recorded(connection)
        if replaced and recorded.get("environment") == replaced:
            statement = "DELETE FROM deployment_fact WHERE name <> $1"
            await connection.execute(statement, COMPATIBLE_SINCE)
        else:
            self._compare(recorded)

    def _compare(self, recorded: Mapping[str, str]) -> None:
        for name, value in self._facts.items():
            if recorded.get(name, value) != value:
                raise _differs(name, recorded)
        for setting, names in self._generations.items():
            known = [name for name in recorded if name.startswith(f"{setting}:")]
            if known and not set(known) & set(names):  # another secret with another number
                raise _differs(setting, recorded)

    async def _check_newest(self, connection: _Connection, recorded: Mapping[str, str]) -> None:
        """Raises SettingsError if keys are stored under a generation that this process cannot
        have: one that is newer than its own.
        """
        own = max(
            (int(name.partition(":")[2]) for name in self._generations.get("pepper", ())),
            default=None,
        )
        newest = max(
            (int(name.partition(":")[2]) for name in recorded if name.startswith("pepper:")),
            default=0,
        )
        if own is None or newest <= own:
            return
        used = "SELECT EXISTS (SELECT FROM api_key WHERE pepper_generation > $1)"
        if await connection.fetchval(used, own):
            raise SettingsError(
                f"GATEHOUSE_PEPPER ends with generation {own}, but keys of this database are "
                f"stored under a newer one: add the generations up to {newest}"
            )


def revisions() -> dict[str, Path]:
    """The files of the revisions of the schema, by number."""
    return {path.name[:4]: path for path in _VERSIONS.glob("*.sql")}


async def check_schema(connection: _Connection) -> None:
    known = revisions()
    try:
        applied = {row["revision"] for row in await connection.fetch("TABLE schema_revision")}
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        applied = set()  # no schema, or one that older versions have created
    if missing := known.keys() - applied:
        state = (
            f"is older than revision {min(missing)}" if applied else "has no schema, or an old one"
        )
        raise SettingsError(f"the database {state}: run `gatehouse migrate` first")
    since = (await _recorded(connection)).get(COMPATIBLE_SINCE, "")
    if since > max(known):
        raise SettingsError(
            f"the database is at revision {max(applied)}, which requires a version of Gatehouse "
            f"with revision {since}; this version has {max(known)}"
        )


async def _recorded(connection: _Connection) -> dict[str, str]:
    return {row["name"]: row["value"] for row in await connection.fetch("TABLE deployment_fact")}


def _differs(fact: str, recorded: Mapping[str, str]) -> SettingsError:
    """Names the setting. Its values are not part of the message, except those that are no
    secrets.
    """
    setting, _, generation = fact.partition(":")
    environment = recorded.get("environment", "")
    text = variable(setting) + (f", generation {generation}," if generation else "")
    of = f"the processes of {environment}" if environment else "other processes"
    expected = f' ("{recorded[fact]}")' if AGREEMENTS[setting] is Agreement.SAME else ""
    return SettingsError(
        f"{text} is not that of {of}, which use this database{expected}. Set the same value, or "
        f"connect to another database. After a restore or an intended change, stop these "
        f"processes and run `gatehouse migrate` with GATEHOUSE_REPLACED_ENVIRONMENT={environment}"
    )
