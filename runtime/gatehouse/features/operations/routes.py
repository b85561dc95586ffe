"""Endpoints for health, the log level, logs and features."""

from functools import partial
from typing import Any

from gatehouse.core.clock import rfc3339
from gatehouse.core.features import FEATURES
from gatehouse.core.roles import AUDITORS, OPERATORS, OWNERS
from gatehouse.features.operations.log_search import (
    REQUEST_ID,
    LogQuery,
    LogStore,
    times_of_request,
)
from gatehouse.features.operations.schemas import (
    LOGS_S_DEFAULT,
    LOGS_S_MAX,
    FeatureList,
    FeatureView,
    HealthView,
    LogLevel,
    LogLine,
    LogPage,
    SearchLogs,
    SetLogLevel,
    SwitchFeature,
)
from gatehouse.features.operations.service import (
    FeatureService,
    HealthService,
    LogLevelOverride,
    LogLevelService,
)
from gatehouse.platform.web.endpoint import Endpoint, StepUp
from gatehouse.platform.web.fields import time_range
from gatehouse.platform.web.request import Request


async def show_health(request: Request, health: HealthService) -> HealthView:
    """Retrieve the health of the deployment.

    Returns the systems on which the services depend and the running instances, those that are not
        healthy first.
    """
    return await health.current()


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


async def search_logs(request: Request, query: SearchLogs, logs: LogStore) -> LogPage:
    """Search the logs.

    Returns lines of the gateway, the console and the sharing service, newest first.
    """
    cursors = request.cursors(f"logs|{query.search}|{query.level}|{query.request_id}|{query.key}")
    since, until = cursors.read(query.cursor, tuple[int, int]) or (0, 0)
    if query.cursor is None:
        if query.since is query.until is None and REQUEST_ID.fullmatch(query.request_id):
            since, until = times_of_request(query.request_id, request.now)
        else:
            times = time_range(query, request.now, LOGS_S_DEFAULT, LOGS_S_MAX)
            since, until = int(times[0] * 1000), int(times[1] * 1000) + 1
    filters = LogQuery(since, until, query.level, query.search, query.request_id, query.key or "")
    found = await logs.search(filters, query.limit)
    more = (since, found.searched_since) if found.searched_since > since else None
    return LogPage(
        [_log_line(**line) for line in found.lines],
        rfc3339(found.searched_since / 1000, "milliseconds"),
        cursors.write(more),
    )


def _log_line(
    *, ts: str, level: str, event: object = "", service: object = "", **others: Any
) -> LogLine:
    request_id, key_id = others.pop("request_id", None), others.pop("key_id", None)
    return LogLine(
        at=ts,
        level=level,
        service=str(service),
        event=str(event),
        request_id=request_id and str(request_id),
        key_id=key_id and str(key_id),
        fields=others,
    )


async def list_features(request: Request, features: FeatureService) -> FeatureList:
    """List features.

    Returns the features that this deployment can switch off.
    """
    switches, configured_off = await features.stored(), features.features.configured_off
    return FeatureList(
        [
            FeatureView(
                name,
                FEATURES[name],
                enabled=name not in configured_off and (switch is None or switch.enabled),
                configured=name not in configured_off,
                changed_at=None if switch is None else rfc3339(switch.changed_at),
                changed_by=None if switch is None else switch.changed_by,
            )
            for name, switch in ((name, switches.get(name)) for name in sorted(FEATURES))
        ]
    )


async def switch_feature(
    request: Request, feature: str, body: SwitchFeature, features: FeatureService
) -> None:
    """Switch a feature off or on.

    Takes effect on every gateway and console worker within three seconds. Requests for a feature
    that is off result in 503.
    """
    await features.switch(feature, request.actor, enabled=body.enabled)


_operation = partial(Endpoint, tag="operations")

ENDPOINTS = (
    _operation("GET", "/v1/health", show_health, roles=AUDITORS),
    _operation("GET", "/v1/log-level", show_log_level, roles=AUDITORS),
    # Step-up is required because the level `error` would hide requests from the log.
    _operation("PUT", "/v1/log-level", set_log_level, roles=OPERATORS, step_up=StepUp.ALWAYS),
    _operation("GET", "/v1/log-lines", search_logs, roles=AUDITORS, errors=(404,)),
    _operation("GET", "/v1/features", list_features, roles=AUDITORS),
    _operation(
        "PUT",
        "/v1/features/{feature}",
        switch_feature,
        roles=OWNERS,
        status=204,
        errors=(404, 409),
        step_up=StepUp.ALWAYS,
    ),
)
