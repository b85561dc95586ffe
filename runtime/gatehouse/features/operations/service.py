"""Temporary log level and feature switches of all gateway and console workers, in PostgreSQL, and
the health of all workers.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock
from gatehouse.core.errors import Conflict, NotFound, Unavailable
from gatehouse.core.features import FEATURES, Features
from gatehouse.core.log_levels import Level
from gatehouse.features.operations.health import (
    LEASE_REPORTS,
    REPORT_S,
    Reported,
    Reporter,
    health_of,
)
from gatehouse.features.operations.repository import WorkerReportRepository
from gatehouse.features.operations.schemas import HealthView
from gatehouse.platform.audit_log import append
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.db.statements import RowMapping

#: Interval at which every worker reads the log level and the features, and in which changes take
#: effect.
POLL_S = 3.0
READ_TIMEOUT_S = 2.0


class LogLevelOverride(msgspec.Struct, frozen=True):
    """A log level that temporarily replaces the GATEHOUSE_LOG_LEVEL of every process."""

    level: Level
    until: float  # Unix seconds
    set_by: str


_OVERRIDE = RowMapping(LogLevelOverride)

_GET = f"SELECT {_OVERRIDE.select} FROM log_level"  # noqa: S608 - the columns are fields of the struct
_SET = _OVERRIDE.upsert("log_level", "sole")


@dataclass(frozen=True, slots=True)
class LogLevelService:
    """Temporary log level. `configured`: GATEHOUSE_LOG_LEVEL of this process. Methods raise
    Unavailable.
    """

    pool: Pool
    clock: Clock
    configured: Level

    async def stored(self) -> LogLevelOverride | None:
        row = await self.pool.fetchrow(_GET, timeout_s=READ_TIMEOUT_S)
        return None if row is None else _OVERRIDE.read(row)

    async def current(self) -> LogLevelOverride | None:
        """The current override, or None while GATEHOUSE_LOG_LEVEL applies."""
        override = await self.stored()
        return override if override is not None and override.until > self.clock.now() else None

    async def set(self, level: Level, for_s: int, actor: Actor) -> LogLevelOverride:
        now = self.clock.now()
        override = LogLevelOverride(level, now + for_s, actor.label)
        async with self.pool.transaction() as connection:
            await connection.execute(_SET, *_OVERRIDE.values(override))
            event = actor.event(
                AuditAction.LOG_LEVEL_SET,
                target_id="all",
                at=now,
                details={"level": level, "for_s": for_s},
            )
            await append(connection, event)
        return override


class LogLevelFollower:
    """Applies the log level to one process. `apply`: sets the log level of the process."""

    def __init__(self, levels: LogLevelService, apply: Callable[[Level], None]) -> None:
        self._levels = levels
        self._apply = apply
        self._override: LogLevelOverride | None = None
        self._applied = levels.configured

    async def run_once(self) -> None:
        """Reads and applies the level. While the database is unavailable, the last override remains
        in effect until it ends.
        """
        with contextlib.suppress(Unavailable):
            self._override = await self._levels.stored()
        override = self._override
        now, configured = self._levels.clock.now(), self._levels.configured
        level = override.level if override is not None and override.until > now else configured
        if level != self._applied:
            self._applied = level
            self._apply(level)


class FeatureSwitch(msgspec.Struct, frozen=True):
    """The last change of a feature by an operator."""

    name: str
    enabled: bool
    changed_at: float  # Unix seconds
    changed_by: str


_SWITCH = RowMapping(FeatureSwitch)
_SWITCHES = f"SELECT {_SWITCH.select} FROM feature_switch"  # noqa: S608 - the columns are fields of the struct
_SWITCH_ONE = _SWITCH.upsert("feature_switch", "name")


@dataclass(frozen=True, slots=True)
class FeatureService:
    """Switches features of all gateway and console workers off and on. Methods raise
    Unavailable.
    """

    pool: Pool
    clock: Clock
    features: Features

    async def stored(self) -> dict[str, FeatureSwitch]:
        rows = await self.pool.fetch(_SWITCHES, timeout_s=READ_TIMEOUT_S)
        return {switch.name: switch for switch in map(_SWITCH.read, rows)}

    async def switch(self, name: str, actor: Actor, *, enabled: bool) -> None:
        """Raises NotFound, and Conflict if the settings disable the feature."""
        if name not in FEATURES:
            raise NotFound(f"No feature has this name. The features are {', '.join(FEATURES)}.")
        if enabled and name in self.features.configured_off:
            raise Conflict("GATEHOUSE_FEATURES disables this feature.")
        now = self.clock.now()
        async with self.pool.transaction() as connection:
            switch = FeatureSwitch(name, enabled, now, actor.label)
            await connection.execute(_SWITCH_ONE, *_SWITCH.values(switch))
            event = actor.event(
                AuditAction.FEATURE_SWITCH, target_id=name, at=now, details={"enabled": enabled}
            )
            await append(connection, event)
        await self.apply()

    async def apply(self) -> None:
        """Applies the switches to this process. While the database is unavailable, the last
        switches remain in effect.
        """
        with contextlib.suppress(Unavailable):
            switches = (await self.stored()).values()
            self.features.switch_off(each.name for each in switches if not each.enabled)


@dataclass(frozen=True, slots=True)
class HealthService:
    """Health of the deployment. own: of this worker, which is known without the database.
    sharing: returns the reports of the sharing service, or None if no process of it has reported:
    it is not configured, or a Lambda function. Raises Unavailable.
    """

    own: Reporter
    reports: WorkerReportRepository
    clock: Clock
    sharing: Callable[[], Awaitable[list[Reported] | None]] | None

    async def current(self) -> HealthView:
        """Never raises: what cannot be read is not listed, and the failed call is."""
        found, unreported, expected = list[Reported](), dict[str, float](), {"gateway", "console"}
        with contextlib.suppress(Unavailable):
            found += await self.reports.all()
            unreported = await self.reports.unreported(REPORT_S * LEASE_REPORTS)
        if self.sharing is not None:
            with contextlib.suppress(Unavailable):
                of_sharing = await self.sharing()
                if of_sharing is not None:
                    found += of_sharing
                    expected.add("sharing")
        # Read last, so that it contains the calls above.
        own = await self.own.report()
        now = self.clock.now()
        found = [(each, at) for each, at in found if each.id != own.id]
        return health_of([*found, (own, now)], unreported, expected, now)
