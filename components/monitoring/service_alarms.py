"""The alarms on the services of a stack: on their tasks and functions, and on the values that they
publish.
"""

from collections.abc import Iterator

from components.component import TargetGroupDimensions
from components.context import Stack
from components.contract import Process
from components.iam.role_policies import CANARY_KEY
from components.monitoring.burn_rates import ROLLBACK_BURN_RATE, burn_rate_alarms
from components.monitoring.cloudwatch_alarm import (
    LOAD_BALANCER,
    MOST_MINUTES,
    Alarm,
    Expression,
    Metric,
    MonitoredResources,
    Text,
    above,
    below,
    database_age,
    function_metric,
    service_metric,
)
from components.naming import PAGES, Naming

BUFFERED_BYTES = 1024**2
"""Reports about ended requests that may wait in Envoy, about 2,000."""
DELAY_S = 300
"""Time for which work of the console may be overdue."""
DATABASE_AWAY_S, DATABASE_OUTAGE_S, CACHE_AWAY_S = 30, 1800, 60
"""Time without the database or the cache. A failover of the cache takes less."""
CORE_ERRORS_PERCENT = 5
"""Percentage points by which more requests to Cores can fail in new tasks than in the others."""


def service_alarms(stack: Stack, resources: MonitoredResources) -> dict[str, list[Alarm]]:
    """Return the alarms that roll back a deployment, keyed by service: errors, latency and
    saturation, in this order, and for the gateway the errors of Cores.
    """
    alarms = {
        service: [
            *burn_rate_alarms(service, stack, resources, ROLLBACK_BURN_RATE),
            *_task_alarms(service, blue, green, stack.names),
        ]
        for service, (blue, green) in resources.target_groups.items()
    }
    alarms["gateway"].append(_core_errors_alarm(stack))
    for name in (function.service.name for function in stack.contract.functions.values()):
        alarms[name] = [
            *burn_rate_alarms(name, stack, resources, ROLLBACK_BURN_RATE),
            *_function_alarms(name, stack.names),
        ]
    return alarms


def _task_alarms(
    service: str, blue: TargetGroupDimensions, green: TargetGroupDimensions, names: Naming
) -> Iterator[Alarm]:
    def unhealthy(group: TargetGroupDimensions) -> Metric:
        return Metric(LOAD_BALANCER, "UnHealthyHostCount", group, "Maximum")

    # One of the target groups usually has no targets, and then no data.
    yield Alarm(
        f"{service}-unhealthy",
        f"A task of the {service} service does not respond to its health check, and ECS replaces "
        "it. Check the logs of the service.",
        "errors",
        Expression(
            "MAX([FILL(blue, 0), FILL(green, 0)])",
            {"blue": unhealthy(blue), "green": unhealthy(green)},
        ),
        above(0, MOST_MINUTES),
    )
    # A worker that is killed, such as for lack of memory, is replaced in its task, and its requests
    # are repeated: with two workers, no client notices.
    yield Alarm(
        f"{service}-restarts",
        f"Workers of the {service} service are killed and replaced. A release probably crashes, or "
        "the memory of a task is too small. Check the logs of the service for `worker "
        "restarted`.",
        "errors",
        service_metric(service, "WorkerRestarts", names),
        above(1),
    )


def _core_errors_alarm(stack: Stack) -> Alarm:
    """Return the alarm that compares the new tasks with the others at the same time, because a
    failing Core affects both. Without results of other tasks there is no data.

    An alarm cannot compare with an earlier time: CloudWatch does not document how many data points
    a function such as AVG receives (User Guide, "Alarm evaluation"). A threshold on the errors of
    all tasks would be in ALARM while a Core fails, and ECS would ignore all alarms of a deployment
    that starts then.
    """
    errors_min = stack.settings.monitoring.error_alarm_threshold

    def metric(name: str, tasks: str) -> Metric:
        return Metric(stack.names.namespace, name, {"Service": "gateway", "Tasks": tasks})

    return Alarm(
        "core-errors",
        "Requests to Cores fail more often in tasks of the gateway that were started in the last "
        f"half hour than in the others: the difference is above {CORE_ERRORS_PERCENT} percent of "
        "the requests. A release probably breaks requests to Cores. Roll it back if ECS does not.",
        "canary-key",
        Expression(
            f"IF(errors > {errors_min}, 100 * errors / results - 100 * usual / others, 0)",
            {
                "errors": metric("CoreErrors", "new"),
                "results": metric("CoreResults", "new"),
                "usual": metric("CoreErrors", "other"),
                "others": metric("CoreResults", "other"),
            },
        ),
        above(CORE_ERRORS_PERCENT),
    )


def _function_alarms(service: str, names: Naming) -> Iterator[Alarm]:
    yield Alarm(
        f"{service}-throttles",
        f"The {service} function reached its reserved concurrency. Check for a flood of requests.",
        "saturation",
        function_metric(service, "Throttles", names),
        above(0, MOST_MINUTES),
    )
    yield Alarm(
        f"{service}-function-errors",
        f"The function of the {service} service fails to start or times out. Check the log group "
        "of the function.",
        "errors",
        function_metric(service, "Errors", names),
    )


def delay_alarms(names: Naming) -> Iterator[Alarm]:
    """Yield the alarms on values that grow while work waits. A missing value means that no task
    runs.
    """
    yield Alarm(
        "key-state-stale",
        "Gateways verify keys against a state that is older than the propagation bound, and deny "
        "every key, or no gateway reports the age of its state. Check the tasks of the gateway, "
        "then the database.",
        "rejected-keys",
        service_metric("gateway", "StalenessSeconds", names, "Maximum"),
        above(3, MOST_MINUTES, missing="breaching"),
        severity=None,
    )
    yield Alarm(
        "checkpoints-late",
        "A checkpoint of the audit chain has been due for more than five minutes. Check the log "
        "group of the console for failed background jobs.",
        "audit-chain",
        service_metric("console", "CheckpointDelaySeconds", names, "Maximum"),
        above(DELAY_S, MOST_MINUTES),
    )
    yield Alarm(
        "completions-buffered",
        "Reports about ended requests wait in Envoy, because the workers of a gateway read them "
        "too slowly: usage and logs are late. Raise the CPU of the gateway.",
        "saturation",
        service_metric("gateway", "CompletionsBufferedBytes", names, "Maximum"),
        above(BUFFERED_BYTES, MOST_MINUTES),
    )
    yield Alarm(
        "secrets-late",
        "The console did not delete a used or expired secret, or did not record the events of a "
        "secret, within five minutes, or no console reports a measurement. Check the log group of "
        "the console for failed background jobs.",
        "tokens",
        service_metric("console", "DueSecretsSeconds", names, "Maximum"),
        above(DELAY_S, MOST_MINUTES, missing="breaching"),
    )


def outage_alarms(names: Naming) -> Iterator[Alarm]:
    yield Alarm(
        "database-unavailable",
        "Gateways cannot read the database. They use the key state that they have, and announced "
        "revocations; the console is not available. Check the RDS events.",
        "database",
        database_age(names),
        above(DATABASE_AWAY_S, (60, 1, 2)),
        severity=PAGES,
    )
    # Half of the default of `GATEHOUSE_DATABASE_OUTAGE_MAX_S`, which covers a restore.
    yield Alarm(
        "database-outage",
        "Gateways have not read the database for half an hour. After an hour, they deny every key. "
        "Restore the database now, or check that its restore ends in time.",
        "database",
        database_age(names),
        above(DATABASE_OUTAGE_S, (300, 1, 2)),
        severity=PAGES,
    )
    # A broken login, network or cache. Not published without `GATEHOUSE_DATABASE_OUTAGE_MAX_S`.
    yield Alarm(
        "cache-unavailable",
        "Gateways cannot read the cache: each worker counts rate limits on its own, signed "
        "requests are rejected, and no key would outlive an outage of the database. Check the "
        "events and the users of the cache, then its security group.",
        "cache",
        service_metric("gateway", "AnnouncementsAgeSeconds", names, "Maximum"),
        above(CACHE_AWAY_S, (60, 2, 3)),
    )
    yield Alarm(
        "completions-lost",
        "Reports about ended requests were lost: the requests are missing in usage and logs. Check "
        "the log group of the gateway for restarted workers.",
        "saturation",
        service_metric("gateway", "CompletionsLost", names),
    )


def ecs_service_alarms(
    service: str, process: Process, stack: Stack, cluster: Text
) -> Iterator[Alarm]:
    dimensions = {"ClusterName": cluster, "ServiceName": stack.names.name(service)}
    yield Alarm(
        f"{service}-cpu",
        f"CPU utilization of the ECS service {service} is high. Raise its tasks_max.",
        "saturation",
        Metric("AWS/ECS", "CPUUtilization", dimensions, "Average"),
        above(90, MOST_MINUTES),
    )
    yield Alarm(
        f"{service}-memory",
        f"Memory utilization of the ECS service {service} is high. Raise its memory_mib.",
        "saturation",
        Metric("AWS/ECS", "MemoryUtilization", dimensions, "Maximum"),
        above(85, MOST_MINUTES),
    )
    if stack.has_collector(process):
        yield Alarm(
            f"{service}-traces-lost",
            f"The collector in the tasks of the ECS service {service} does not accept spans, so "
            "traces and metrics of the application are missing. Check the log stream of the "
            "collector.",
            "telemetry",
            service_metric(service, "SpansLost", stack.names),
            above(0, (300, 2, 3)),
        )


def probe_alarm(service: str, severity: str | None, names: Naming) -> Alarm:
    """Return the alarm on two consecutive failed or missing measurements of a service."""
    return Alarm(
        f"{service}-unreachable",
        f"The {service} service did not return 200 to two consecutive external requests, or was "
        "not measured. Check the log group of the probe.",
        "unreachable",
        service_metric(service, "ServiceUp", names, "Minimum"),
        below(1, (60, 2, 2), missing="breaching"),
        severity=severity,
    )


def canary_alarm(names: Naming) -> Alarm:
    return Alarm(
        CANARY_KEY,
        "The canary key could not be verified, or a request with it did not reach a Core, twice in "
        "a row, or was not measured. Clients are probably affected as well. Check the log group of "
        "the probe, which names the problem.",
        "canary-key",
        service_metric("gateway", "CanaryKeyUp", names, "Minimum"),
        below(1, (60, 2, 2), missing="breaching"),
        severity=None,
    )
