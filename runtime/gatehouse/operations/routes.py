"""GET, PUT and DELETE /v1/log-level: how much every gateway and console worker logs, changed while they run.

GET /v1/features: what can be switched off, and what is.
"""

from __future__ import annotations

from gatehouse.console.dependencies import Caller, Door
from gatehouse.operations.features import FEATURES
from gatehouse.operations.models import LogLevelOverride
from gatehouse.operations.schemas import FeatureList, FeatureView, LogLevel, SetLogLevel
from gatehouse.timestamps import rfc3339


async def show_log_level(door: Door) -> LogLevel:
    """Show the log level that holds now."""
    return _view(door, await door.levels.current())


async def set_log_level(wish: SetLogLevel, door: Door, caller: Caller) -> LogLevel:
    """Set the log level of every gateway and console worker for a time. It is everywhere after three seconds."""
    return _view(door, await door.levels.set(wish.level, wish.for_s, caller))


async def reset_log_level(door: Door, caller: Caller) -> None:
    """Let the setting of each process hold again."""
    await door.levels.reset(caller)


def _view(door: Door, wish: LogLevelOverride | None) -> LogLevel:
    configured = door.levels.configured
    if wish is None:
        return LogLevel(level=configured, configured=configured, until=None, set_by=None)
    return LogLevel(level=wish.level, configured=configured, until=rfc3339(wish.until), set_by=wish.set_by)


async def list_features(service: Door) -> FeatureList:
    """List the features of a deployment. They are switched by GATEHOUSE_FEATURES and a restart."""
    return FeatureList(
        features=[
            FeatureView(name=one.name, service=one.service, enabled=one.name not in service.features_off, meaning=one.meaning)
            for one in FEATURES
        ]
    )
