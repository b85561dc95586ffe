"""Endpoints for the log level."""

from functools import partial

from gatehouse.core.clock import rfc3339
from gatehouse.core.roles import AUDITORS, OPERATORS
from gatehouse.features.operations.schemas import LogLevel, SetLogLevel
from gatehouse.features.operations.service import LogLevelOverride, LogLevelService
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.request import Request


async def show_log_level(request: Request, log_levels: LogLevelService) -> LogLevel:
    """Retrieve the log level.

    Returns the current level and the configured level.
    """
    return _view(log_levels, await log_levels.current())


async def set_log_level(
    request: Request, body: SetLogLevel, log_levels: LogLevelService
) -> LogLevel:
    """Set a temporary log level.

    Takes effect on every gateway and console worker within three seconds.
    """
    return _view(log_levels, await log_levels.set(body.level, body.for_s, request.actor))


def _view(log_levels: LogLevelService, override: LogLevelOverride | None) -> LogLevel:
    configured = log_levels.configured
    if override is None:
        return LogLevel(configured, configured, until=None, set_by=None)
    return LogLevel(
        override.level, configured, until=rfc3339(override.until), set_by=override.set_by
    )


_operation = partial(Endpoint, tag="operations")

ENDPOINTS = (
    _operation("GET", "/v1/log-level", show_log_level, roles=AUDITORS),
    # Step-up is required because the level `error` would hide requests from the log.
    _operation("PUT", "/v1/log-level", set_log_level, roles=OPERATORS, step_up=StepUp.ALWAYS),
)
