"""Alarms on the objectives of the services: on how fast the permitted errors are used up, and the
composite alarms that notify.
"""

from collections.abc import Iterable, Iterator

from components.context import Stack
from components.iam.role_policies import CANARY_KEY
from components.iam.sharing_roles import STAGE
from components.monitoring.cloudwatch_alarm import (
    DATABASE_PRESENT,
    LOAD_BALANCER,
    REST_API,
    Alarm,
    CompositeAlarm,
    Expression,
    Metric,
    MonitoredResources,
    above,
    database_age,
    service_metric,
)
from components.naming import PAGES, TICKETS

BUDGETS = {
    "errors": ("FailedRequests", 0.1, "returns errors"),
    "latency": ("SlowRequests", 1.0, "is slow: responses take more than a second"),
}
"""Objectives of a service: metric of the requests that do not meet the objective, their permitted
percentage, and the symptom. The metrics exclude the errors and the time of Cores. Failed requests
are those that clients received, also from Envoy in place of a worker
(`gatehouse.platform.supervisor`); their share is that of the requests at the load balancer.
"""
BURN_RATES = {
    "5m": (300, 14.4),
    "1h": (3600, 14.4),
    "30m": (1800, 6.0),
    "6h": (21600, 6.0),
    "3d": (86400, 1.0),
}
"""Windows in seconds and the multiple of the permitted percentage in a window that raises the
alarm. The last one is exceeded on each of three days. CloudWatch evaluates at most seven days of an
alarm whose period is an hour or more (CloudWatch User Guide, "Alarms", read 2026-11-29).
Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
"""
BURN_RATE_PAIRS = (("5m", "1h"), ("30m", "6h"))
"""Short and long windows that both exceed their rates. The long window requires that the loss is
large, and the short one that it goes on. Only the short window leaves out outages of the database,
so that an outage does not hide later errors in the long one."""
SLOW_BURN, ROLLBACK_BURN_RATE = "3d", "5m"
"""Windows of the alarm without a pair, and of the alarms that roll back a deployment."""
PAGING_BURN_RATES = {"errors": None, "latency": "gateway"}
"""Objectives whose burn rates page, for one service only or for all (None)."""

ERRORS_ACTION = "Check the dashboard for a deployment, and the logs of the service."
GATEWAY_DOWN = "gateway-down"


def burn_rate_alarms(
    service: str, stack: Stack, resources: MonitoredResources, window: str
) -> Iterator[Alarm]:
    """Yield an alarm for each objective of a service. Without a minimum number of requests, a
    single failed request would raise an alarm at night.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold
    period_s, rate = BURN_RATES[window]
    short, slow = window in [pair[0] for pair in BURN_RATE_PAIRS], window == SLOW_BURN
    condition = f" AND {DATABASE_PRESENT}" if short else ""
    requests = _requests(service, stack, resources)
    # A group without requests has no data, and so has a division by zero.
    total = " + ".join(f"FILL({name}, 0)" for name in requests)
    for objective, (name, percent, symptom) in BUDGETS.items():
        failed = service_metric(service, name, stack.names)
        if objective == "errors" and service not in resources.target_groups:
            failed = _api_metric(service, "5XXError", stack)
        metrics = {"failed": failed, **requests}
        if short:
            metrics["database"] = database_age(stack.names)
        share = round(rate * percent, 2)
        period = "a day, on three days," if slow else window
        yield Alarm(
            f"{service}-{objective}-{window}",
            f"The {service} service {symptom}. More than {share} percent of its requests within "
            f"{period} are affected; failed and slow Cores are not counted. {ERRORS_ACTION}",
            objective,
            Expression(
                f"IF(failed > {requests_min}{condition}, 100 * failed / MAX([failed, {total}]), 0)",
                metrics,
            ),
            above(share, (period_s, 3, 3) if slow else (period_s, 1, 1)),
            severity=TICKETS if slow else None,
        )


def _requests(service: str, stack: Stack, resources: MonitoredResources) -> dict[str, Metric]:
    """Return the metrics of the requests of clients, without health checks. Source: Elastic Load
    Balancing User Guide, "CloudWatch metrics for your Application Load Balancer"; API Gateway
    Developer Guide, "Amazon API Gateway dimensions and metrics" (2026-11-30).
    """
    if not (groups := resources.target_groups.get(service)):
        return {"all": _api_metric(service, "Count", stack)}
    groups = [*groups, *resources.grpc_groups.get(service, ())]
    colours = ("blue", "green", "bluegrpc", "greengrpc")
    return {
        colour: Metric(LOAD_BALANCER, "RequestCount", group)
        for colour, group in zip(colours, groups, strict=False)
    }


def _api_metric(service: str, name: str, stack: Stack) -> Metric:
    return Metric(REST_API, name, {"ApiName": stack.names.name(service), "Stage": STAGE})


def composite_alarms(
    stack: Stack, services: Iterable[str], balancers: Iterable[str]
) -> Iterator[CompositeAlarm]:
    """Yield the alarms that notify for several symptoms of one cause.

    services: Names of the services that have objectives. balancers: names of the load balancers.
    """
    probed = stack.settings.monitoring.probe
    symptoms = ["key-state-stale", *([CANARY_KEY, "gateway-unreachable"] if probed else ())]
    yield CompositeAlarm(
        GATEWAY_DOWN,
        "The gateway does not verify keys: it does not respond, denies the canary key, or its key "
        "state is stale. Check the tasks of the gateway, then the database.",
        "unreachable",
        [[symptom] for symptom in symptoms],
    )
    for balancer in balancers:
        yield CompositeAlarm(
            f"{balancer}-errors",
            "The load balancer fails requests in place of the services: a part of the clients is "
            "affected. Check the stopped tasks of the services.",
            "errors",
            [[f"{balancer}-5xx"]],
            suppressor=GATEWAY_DOWN,
        )
    for service in services:
        for objective, (_, _, symptom) in BUDGETS.items():
            suppressor = f"{service}-unreachable" if probed else None
            yield CompositeAlarm(
                f"{service}-{objective}",
                f"The {service} service {symptom}, so that the permitted number of a month is used "
                f"up within days. {ERRORS_ACTION}",
                objective,
                [
                    [f"{service}-{objective}-{window}" for window in pair]
                    for pair in BURN_RATE_PAIRS
                ],
                PAGES if PAGING_BURN_RATES[objective] in (None, service) else TICKETS,
                GATEWAY_DOWN if service == "gateway" else suppressor,
            )
