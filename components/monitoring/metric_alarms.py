"""Defines the alarms of a stack and creates a CloudWatch alarm from each definition."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import TargetGroupDimensions, Topics
from components.context import Stack
from components.iam.role_policies import CANARY_KEY, ROTATION_FUNCTION
from components.naming import PAGES, REPLICATION_RULE, TICKETS, Naming, tags
from components.settings.data import DatabaseSettings

GIB = 1024**3
OVER, UNDER = "GreaterThanThreshold", "LessThanThreshold"
LOAD_BALANCER, REST_API, LAMBDA = "AWS/ApplicationELB", "AWS/ApiGateway", "AWS/Lambda"
CERTIFICATE_DAYS = 30
"""ACM renews certificates 60 days before they expire."""
BUFFERED_BYTES = 1 << 20
"""Reports about ended requests that may wait in Envoy, about 2,000."""
DELAY_S = 300
"""Time for which work of the console may be overdue before the alarm is raised."""

DATABASE_AWAY_S, DATABASE_PRESENT_S = 30, 5
"""Time without the database after which its alarm is raised, and after which the alarms on the
consequences are not. A gateway reads the database every second.
"""

ONCE, MINUTES = (300, 1, 1), (60, 3, 5)
"""Evaluation of an alarm: length of a period in seconds, number of periods that breach the
threshold, and number of periods that are evaluated. The latest minute of a metric can be missing
when CloudWatch evaluates it, so an alarm on minutes never requires all of them.
"""

BUDGETS = {
    "errors": ("FailedRequests", 0.1, "returns errors"),
    "latency": ("SlowRequests", 1.0, "is slow: responses take more than a second"),
}
"""Objectives of a service: metric of the requests that do not meet the objective, their permitted
percentage, and the symptom. The metrics exclude the errors and the time of Cores
(`gatehouse.platform.observability`).
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
SUPPRESSION_WAIT_S, SUPPRESSION_EXTENSION_S = 120, 180
"""Time that a composite alarm waits for its suppressor, and time for which it stays silent after
the suppressor has ended."""

LARGER_DATABASE = "database.instance_class, with database.apply_immediately."
SWAP_MAX_BYTES, CREDITS_MIN = 256 << 20, 30
"""Use of swap space, and CPU credits, a minute of a vCPU each, at which an alarm is raised. RDS
publishes credits every five minutes (RDS User Guide, "Amazon CloudWatch metrics for Amazon RDS",
read 2026-11-29)."""
ERRORS_ACTION = "Check the dashboard for a deployment, and the log group of the service."
GATEWAY_DOWN = "gateway-down"
CORE_ERRORS_PERCENT = 5
"""Percentage points by which more requests to Cores can fail in new tasks than in the others."""

Text = pulumi.Input[str]


@dataclass(frozen=True, kw_only=True)
class MonitoredResources:
    """Resources that have alarms and widgets, and whose names AWS generates.

    load_balancers: CloudWatch dimension of each load balancer, keyed by resource name.
    target_groups: CloudWatch dimensions of both target groups of a service, keyed by service.
    nat_gateways: IDs of the NAT gateways, keyed by zone.
    """

    load_balancers: Mapping[str, Text]
    target_groups: Mapping[str, Sequence[TargetGroupDimensions]]
    cluster: Text
    database: Text
    table: Text
    nat_gateways: Mapping[str, Text]
    certificate_arn: Text


@dataclass(frozen=True)
class Metric:
    """A CloudWatch metric with one of its sets of dimensions and a CloudWatch statistic."""

    namespace: str
    name: str
    dimensions: Mapping[str, Text]
    statistic: str = "Sum"
    unit: str | None = None


@dataclass(frozen=True)
class Expression:
    """A metric math expression.

    text: Expression. Source: CloudWatch User Guide, "Using math expressions with CloudWatch
        metrics".
    metrics: Metrics of the expression, keyed by their IDs in it.
    """

    text: str
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Alarm:
    """An alarm on a metric.

    runbook: File name in docs/runbooks, without extension.
    threshold: Value that the metric crosses in the periods of `evaluation` before the alarm is
        raised.
    missing: Treatment of missing data: "notBreaching" for metrics that require traffic, "breaching"
        for metrics with a fixed interval.
    severity: Topic that is notified. None: only a composite alarm or a deployment uses the state.
    """

    name: str
    description: str
    runbook: str
    metric: Metric | Expression
    threshold: float = 0
    comparison: str = OVER
    evaluation: tuple[int, int, int] = ONCE
    missing: str = "notBreaching"
    severity: str | None = TICKETS


@dataclass(frozen=True)
class CompositeAlarm:
    """An alarm on the states of others, which send no notifications of their own.

    any_of: It is raised if all alarms of one of the rows are.
    suppressor: While this alarm is raised, the composite alarm sends no notifications.
    """

    name: str
    description: str
    runbook: str
    any_of: Sequence[Sequence[str]]
    severity: str = PAGES
    suppressor: str | None = None


def resource_alarms(stack: Stack, resources: MonitoredResources) -> Iterator[Alarm]:
    """Yield the alarms on resources, except those that roll back a deployment
    (`service_alarms`).
    """
    settings, names = stack.settings, stack.names
    if not settings.monitoring.creates_alarms:
        return
    functions = [function.service.name for function in stack.contract.functions.values()]
    for service in (*resources.target_groups, *functions):
        for window in BURN_RATES:
            if window != ROLLBACK_BURN_RATE:
                yield from _burn_rates(service, stack, window)
    yield from _published(stack)
    yield from _notices(names)
    for name, label in resources.load_balancers.items():
        balancer = {"LoadBalancer": label}
        yield Alarm(
            f"{name}-5xx",
            "The load balancer returns 5xx errors: no target is healthy, or targets close "
            "connections. Check the unhealthy alarms.",
            "errors",
            Metric(LOAD_BALANCER, "HTTPCode_ELB_5XX_Count", balancer),
            settings.monitoring.error_alarm_threshold,
        )
        yield Alarm(
            f"{name}-rejected-connections",
            "The load balancer rejected connections, because it reached its maximum number of "
            "connections. Check the number of connections per client, then request capacity from "
            "AWS Support.",
            "saturation",
            Metric(LOAD_BALANCER, "RejectedConnectionCount", balancer),
        )
    if settings.waf.enabled:
        web_acl = {"WebACL": names.name("edge"), "Region": names.region, "Rule": "ALL"}
        yield Alarm(
            "requests-blocked",
            "The web ACL blocks an unusual number of requests. Possible causes: an attack, or a "
            "rule that blocks requests of your clients. Check the sampled requests of the web ACL.",
            "blocked-requests",
            Metric("AWS/WAFV2", "BlockedRequests", web_acl),
            settings.monitoring.denied_requests_alarm_threshold,
        )
    has_insights = settings.telemetry.insights != "disabled"
    for service in stack.contract.ecs_services:
        yield from _ecs_service(service, resources.cluster, names, has_insights=has_insights)
    yield from database_alarms(resources.database, settings.database)
    for zone, nat_gateway in resources.nat_gateways.items():
        yield Alarm(
            f"nat-{zone}-ports",
            "The NAT gateway could not allocate a source port, so connections to Cores, webhooks "
            "and AWS services fail. Check for many connections to one destination.",
            "saturation",
            Metric("AWS/NATGateway", "ErrorPortAllocation", {"NatGatewayId": nat_gateway}),
        )
    if region := settings.replication_region:
        # S3 publishes the metric in the region of the source bucket (S3 User Guide, "Using S3
        # Replication metrics").
        buckets = {
            "SourceBucket": names.bucket("data"),
            "DestinationBucket": names.in_region(region).bucket("data"),
            "RuleId": REPLICATION_RULE,
        }
        yield Alarm(
            "replication-failed",
            "S3 could not replicate an object of the data bucket to the second region. Check the "
            "role, the KMS key and the versioning of the replica.",
            "backup-failure",
            Metric("AWS/S3", "OperationsFailedReplication", buckets),
        )
    for node in names.cache_nodes(1 + settings.cache.replicas):
        yield from _cache_node(node, names)
    yield _table(resources.table, names)
    yield from _maintenance(resources.certificate_arn, names)


def service_alarms(stack: Stack, resources: MonitoredResources) -> dict[str, list[Alarm]]:
    """Return the alarms that roll back a deployment, keyed by service: errors, latency and
    saturation, in this order, and for the gateway the errors of Cores.
    """
    return {
        service: [
            *_burn_rates(service, stack, ROLLBACK_BURN_RATE),
            _unhealthy(service, *groups),
            *([_core_errors(stack)] if service == "gateway" else ()),
        ]
        for service, groups in resources.target_groups.items()
    } | {
        function.service.name: [
            *_burn_rates(function.service.name, stack, ROLLBACK_BURN_RATE),
            *_function(function.service.name, stack.names),
        ]
        for function in stack.contract.functions.values()
    }


def _burn_rates(service: str, stack: Stack, window: str) -> Iterator[Alarm]:
    """Yield an alarm for each objective of a service. Without a minimum number of requests, a
    single failed request would raise an alarm at night.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold
    period_s, rate = BURN_RATES[window]
    short, slow = window in [pair[0] for pair in BURN_RATE_PAIRS], window == SLOW_BURN
    condition = f" AND {DATABASE_PRESENT}" if short else ""
    for objective, (name, percent, symptom) in BUDGETS.items():
        metrics = {
            "failed": service_metric(service, name, stack.names),
            "requests": service_metric(service, "Requests", stack.names),
        }
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
                f"IF(failed > {requests_min}{condition}, 100 * failed / requests, 0)", metrics
            ),
            share,
            evaluation=(period_s, 3, 3) if slow else (period_s, 1, 1),
            severity=TICKETS if slow else None,
        )


def composite_alarms(stack: Stack, services: Iterable[str]) -> Iterator[CompositeAlarm]:
    """Yield the alarms that notify for several symptoms of one cause.

    services: Names of the services that have objectives.
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
    for service in services:
        for objective, (_, _, symptom) in BUDGETS.items():
            down = f"{service}-unreachable" if probed else None
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
                GATEWAY_DOWN if service == "gateway" else down,
            )


def _core_errors(stack: Stack) -> Alarm:
    """Return the alarm on a rise of the errors of Cores during a deployment.

    It compares the new tasks with the others at the same time, because a failing Core affects both.
    Without results of other tasks there is no data. An alarm cannot compare with an earlier time:
    CloudWatch does not document how many data points a function such as AVG receives (User Guide,
    "Alarm evaluation"). A threshold on the errors of all tasks would be in ALARM while a Core
    fails, and ECS would ignore all alarms of a deployment that starts then.
    """
    requests_min = stack.settings.monitoring.error_alarm_threshold

    def metric(name: str, tasks: str) -> Metric:
        return Metric(stack.names.namespace, name, {"Service": "gateway", "Tasks": tasks})

    rise = Expression(
        f"IF(errors > {requests_min}, 100 * errors / results - 100 * usual / others, 0)",
        {
            "errors": metric("CoreErrors", "new"),
            "results": metric("CoreResults", "new"),
            "usual": metric("CoreErrors", "other"),
            "others": metric("CoreResults", "other"),
        },
    )
    return Alarm(
        "core-errors",
        f"Requests to Cores fail more often in tasks of the gateway that were started in the last "
        f"half hour than in the others: the difference is above {CORE_ERRORS_PERCENT} percent of "
        "the requests. A release probably breaks requests to Cores. Roll it back if ECS does not.",
        "canary-key",
        rise,
        CORE_ERRORS_PERCENT,
    )


DATABASE_PRESENT = f"FILL(database, 0) < {DATABASE_PRESENT_S}"
"""Condition of an expression with the metric `database`, for alarms on consequences of an outage of
the database, which has an alarm of its own."""


def database_age(names: Naming) -> Metric:
    return service_metric("gateway", "DatabaseAgeSeconds", names, "Maximum")


def service_metric(service: str, name: str, names: Naming, statistic: str = "Sum") -> Metric:
    return Metric(names.namespace, name, {"Service": service}, statistic)


def _unhealthy(service: str, blue: TargetGroupDimensions, green: TargetGroupDimensions) -> Alarm:
    """Return the alarm on the targets of a service. One of its target groups usually has no
    targets, and then no data.
    """
    groups = {"blue": blue, "green": green}
    return Alarm(
        f"{service}-unhealthy",
        f"A task of the {service} service does not respond to its health check, and ECS replaces "
        "it. Check the log group of the service.",
        "errors",
        Expression(
            "MAX([FILL(blue, 0), FILL(green, 0)])",
            {
                color: Metric(LOAD_BALANCER, "UnHealthyHostCount", group, "Maximum")
                for color, group in groups.items()
            },
        ),
        evaluation=MINUTES,
    )


def _function(service: str, names: Naming) -> Iterator[Alarm]:
    """Yield alarms for the function of a service. The function is named after the service."""
    function = {"FunctionName": names.name(service)}
    yield Alarm(
        f"{service}-throttles",
        f"The {service} function reached its reserved concurrency. Check for a flood of requests.",
        "saturation",
        Metric(LAMBDA, "Throttles", function),
        evaluation=MINUTES,
    )
    yield Alarm(
        f"{service}-function-errors",
        f"The function of the {service} service fails to start or times out. Check the log "
        "group of the function.",
        "errors",
        Metric(LAMBDA, "Errors", function),
    )


def _published(stack: Stack) -> Iterator[Alarm]:
    """Yield alarms on the values that the gateway and the console publish. A missing value means
    that no task of the service runs.
    """
    for name, service, metric, threshold, runbook, missing, description in (
        (
            *("key-state-stale", "gateway", "StalenessSeconds", 3, "rejected-keys", "breaching"),
            "Gateways verify keys against a state that is older than the propagation bound, and "
            "deny every key, or no gateway reports the age of its state. Check the tasks of the "
            "gateway, then the database.",
        ),
        (
            *("checkpoints-late", "console", "CheckpointDelaySeconds", DELAY_S, "audit-chain"),
            "notBreaching",
            "A checkpoint of the audit chain has been due for more than five minutes. Check the "
            "log group of the console for failed background jobs.",
        ),
        (
            *("completions-buffered", "gateway", "CompletionsBufferedBytes", BUFFERED_BYTES),
            *("saturation", "notBreaching"),
            "Reports about ended requests wait in Envoy, because the workers of a gateway read "
            "them too slowly: usage and logs are late. Raise the CPU of the gateway.",
        ),
        (
            *("secrets-late", "console", "DueSecretsSeconds", DELAY_S, "tokens", "breaching"),
            "The console did not delete a used or expired secret, or did not record the events of "
            "a secret, within five minutes, or no console reports a measurement. Check the log "
            "group of the console for failed background jobs.",
        ),
    ):
        source = service_metric(service, metric, stack.names, "Maximum")
        yield Alarm(
            *(name, description, runbook, source, threshold),
            evaluation=MINUTES,
            missing=missing,
            severity=None if name == "key-state-stale" else TICKETS,
        )
    yield Alarm(
        "database-unavailable",
        "Gateways cannot read the database. They use the key state that they have, and announced "
        "revocations; the console is not available. Check the RDS events.",
        "database",
        database_age(stack.names),
        DATABASE_AWAY_S,
        evaluation=(60, 1, 2),
        severity=PAGES,
    )
    yield Alarm(
        "completions-lost",
        "Reports about ended requests were lost: the requests are missing in usage and logs. Check "
        "the log group of the gateway for restarted workers.",
        "saturation",
        service_metric("gateway", "CompletionsLost", stack.names),
    )


def _ecs_service(name: str, cluster: Text, names: Naming, *, has_insights: bool) -> Iterator[Alarm]:
    dimensions = {"ClusterName": cluster, "ServiceName": names.name(name)}
    for kind, statistic, threshold, setting in (
        ("CPU", "Average", 90, "tasks_max"),
        ("Memory", "Maximum", 85, "memory_mib"),
    ):
        yield Alarm(
            f"{name}-{kind.lower()}",
            f"{kind} utilization of the ECS service {name} is high. Raise its {setting}.",
            "saturation",
            Metric("AWS/ECS", f"{kind}Utilization", dimensions, statistic),
            threshold,
            evaluation=MINUTES,
        )
    if not has_insights:
        return
    # Container Insights publishes both counts every minute. A deployment starts new tasks before it
    # stops others, and auto scaling needs a few minutes to start tasks. Source: CloudWatch User
    # Guide, "Amazon ECS Container Insights metrics".
    counts = {
        kind: Metric("ECS/ContainerInsights", f"{kind.title()}TaskCount", dimensions, "Average")
        for kind in ("desired", "running")
    }
    yield Alarm(
        f"{name}-tasks",
        f"The ECS service {name} has run fewer tasks than it should for ten minutes. Check the "
        "events of the service.",
        "errors",
        Expression("desired - running", counts),
        evaluation=(60, 8, 10),
    )


def database_alarms(identifier: Text, database: DatabaseSettings) -> Iterator[Alarm]:
    """Yield alarms on CPU, connections, memory and storage of the DB instance."""
    memory_bytes = database.memory_gib * GIB
    credits_ = (
        (
            "credits",
            "The database has almost no CPU credits left: it is throttled, or surplus credits are "
            f"charged. Raise {LARGER_DATABASE}",
            *("CPUCreditBalance", "Minimum", CREDITS_MIN, UNDER),
        ),
    )
    for name, text, metric, statistic, threshold, comparison in (
        (
            "cpu",
            f"CPU utilization of the database is high. Check Performance Insights, then raise "
            f"{LARGER_DATABASE}",
            *("CPUUtilization", "Average", 85, OVER),
        ),
        (
            "connections",
            "The database has more than 80 percent of its maximum number of connections. Raise "
            f"{LARGER_DATABASE}",
            *("DatabaseConnections", "Maximum", database.connections_max * 80 // 100, OVER),
        ),
        (
            "memory",
            "The database has less than 5 percent of its memory available. Raise "
            + LARGER_DATABASE,
            *("FreeableMemory", "Minimum", memory_bytes // 20, UNDER),
        ),
        (
            "swap",
            "The database swaps memory to its storage. Raise " + LARGER_DATABASE,
            *("SwapUsage", "Maximum", SWAP_MAX_BYTES, OVER),
        ),
        *(credits_ if database.is_burstable else ()),
        (
            "storage",
            "The free storage of the database is less than 10 percent of database.storage_gib. "
            "Raise database.storage_max_gib.",
            *("FreeStorageSpace", "Minimum", database.storage_gib * GIB / 10, UNDER),
        ),
    ):
        source = Metric("AWS/RDS", metric, {"DBInstanceIdentifier": identifier}, statistic)
        yield Alarm(
            *(f"database-{name}", text, "database", source, threshold, comparison),
            evaluation=(300, 2, 3) if name == "credits" else MINUTES,
            severity=PAGES if name == "storage" else TICKETS,
        )


def _cache_node(node: str, names: Naming) -> Iterator[Alarm]:
    """Yield alarms on the CPU and memory of a cache node. `node`: the full ID of the node."""
    for kind, metric, statistic, condition in (
        (
            *("cpu", "EngineCPUUtilization", "Average"),
            "CPU utilization of the cache engine is high, which slows down rate limit checks.",
        ),
        (
            *("memory", "DatabaseMemoryUsagePercentage", "Maximum"),
            "Memory usage of the cache is high. A full cache rejects writes.",
        ),
    ):
        yield Alarm(
            f"{node.removeprefix(names.name(''))}-{kind}",
            f"{condition} Raise cache.node_type.",
            "cache",
            Metric("AWS/ElastiCache", metric, {"CacheClusterId": node}, statistic),
            80,
            evaluation=MINUTES,
        )


def _table(table: Text, names: Naming) -> Alarm:
    """Return the alarm for the secret links table. table: name of the table.

    DynamoDB reports throttled requests only while it throttles. CloudWatch ignores missing data of
    the namespace AWS/DynamoDB (API Reference, PutMetricAlarm, TreatMissingData), so an alarm on
    such a metric alone would remain in ALARM. The age of due secrets is published every minute.
    """
    metrics = {
        kind.lower(): Metric("AWS/DynamoDB", f"{kind}ThrottleEvents", {"TableName": table})
        for kind in ("Read", "Write")
    }
    due = service_metric("console", "DueSecretsSeconds", names)
    return Alarm(
        "table-throttled",
        "DynamoDB throttles requests to the secret links table. Check for a hot key or a sudden "
        "increase in traffic.",
        "tokens",
        Expression("FILL(read, 0) + FILL(write, 0) + 0 * due", {**metrics, "due": due}),
        10,
    )


def _notices(names: Naming) -> Iterator[Alarm]:
    """Yield the alarms on notices of AWS services that have no events."""
    for kind, runbook, description in (
        (
            *("database", "database"),
            "RDS reports low storage, a failure, maintenance or a change of the database. Read the "
            "message with `aws rds describe-events --duration 60`.",
        ),
        (
            *("backup", "backup-failure"),
            "AWS Backup reports a completed restore, a changed recovery point, or S3 objects that "
            "it could not back up. Check the jobs of AWS Backup.",
        ),
        (
            *("budget", "budget"),
            "The costs of the stack, or their forecast, exceed a threshold of its budget. Check "
            "the budget in the Billing console, then the costs by service.",
        ),
    ):
        yield Alarm(
            f"{kind}-notice",
            description,
            runbook,
            Metric("AWS/SNS", "NumberOfMessagesPublished", {"TopicName": names.notice_topic(kind)}),
        )


def event_alarm(rule: str, description: str, runbook: str, severity: str, names: Naming) -> Alarm:
    """Return the alarm on the events of a rule. Failed invocations of its target count as well
    (EventBridge User Guide, "Monitoring Amazon EventBridge", read 2026-11-29)."""
    metric = Metric("AWS/Events", "Invocations", {"RuleName": names.name(rule)})
    return Alarm(rule, description, runbook, metric, severity=severity)


def undelivered_alarm(rule: str, names: Naming) -> Alarm:
    """Return the alarm for an event rule that invokes a function."""
    return Alarm(
        f"{rule}-undelivered",
        f"EventBridge could not deliver an event of the rule {rule}. Check the policy of its "
        "target and of the target's key.",
        "undelivered-events",
        Metric("AWS/Events", "FailedInvocations", {"RuleName": names.name(rule)}),
    )


def function_alarm(function: str, description: str, runbook: str, names: Naming) -> Alarm:
    metric = Metric(LAMBDA, "Errors", {"FunctionName": names.name(function)})
    return Alarm(f"{function}-errors", description, runbook, metric)


def _maintenance(certificate_arn: Text, names: Naming) -> Iterator[Alarm]:
    """Yield alarms for the certificate, the rotation function and the function's dead-letter
    queue.
    """
    certificate = {"CertificateArn": certificate_arn}
    queue = {"QueueName": names.dead_letter_queue(ROTATION_FUNCTION)}
    yield Alarm(
        "certificate-expiry",
        f"The certificate expires in less than {CERTIFICATE_DAYS} days and ACM has not renewed it. "
        "Check its validation records.",
        "certificate-expiry",
        Metric("AWS/CertificateManager", "DaysToExpiry", certificate, "Minimum"),
        CERTIFICATE_DAYS,
        UNDER,
        evaluation=(86400, 1, 1),
    )
    yield function_alarm(
        ROTATION_FUNCTION,
        "The secret rotation function failed. The previous values remain in use. Check the log "
        "group of the function.",
        "rotation-failure",
        names,
    )
    yield Alarm(
        "rotation-dead-letters",
        "The dead-letter queue of the rotation function contains failed events. Read the events, "
        "which name their secrets.",
        "rotation-failure",
        Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Maximum"),
    )


def alarm_description(
    description: str, runbook: str, stack: Stack, severity: str | None = None
) -> str:
    """Return the text of a notification: severity, owner, symptom, first action, runbook."""
    head = f"{severity.removesuffix('s').upper()} for {stack.settings.owner}: " if severity else ""
    return f"{head}{description} {stack.settings.monitoring.runbooks_url}/{runbook}.md"


def _notifications(alarm: Alarm | CompositeAlarm, stack: Stack, topics: Topics) -> dict[str, Any]:
    """Return the arguments with which the topic of the severity receives the states ALARM and
    OK."""
    actions = [topics.alarms[alarm.severity]] if alarm.severity else []
    return {
        "alarm_description": alarm_description(
            alarm.description, alarm.runbook, stack, alarm.severity
        ),
        "actions_enabled": True,
        "alarm_actions": actions,
        "ok_actions": actions,
        "tags": tags("none", Severity=alarm.severity or "none"),
    }


def composite_alarm(
    alarm: CompositeAlarm,
    stack: Stack,
    topics: Topics,
    parent: pulumi.Resource,
    others: Sequence[pulumi.Resource],
) -> aws.cloudwatch.CompositeAlarm:
    """Create the composite alarm after the alarms in its rule (CloudWatch API Reference,
    "PutCompositeAlarm")."""

    def states(row: Sequence[str]) -> str:
        return " AND ".join(f'ALARM("{stack.names.name(name)}")' for name in row)

    suppressor: aws.cloudwatch.CompositeAlarmActionsSuppressorArgsDict | None = (
        {
            "alarm": stack.names.name(alarm.suppressor),
            "wait_period": SUPPRESSION_WAIT_S,
            "extension_period": SUPPRESSION_EXTENSION_S,
        }
        if alarm.suppressor
        else None
    )
    return aws.cloudwatch.CompositeAlarm(
        alarm.name,
        alarm_name=stack.names.name(alarm.name),
        alarm_rule=" OR ".join(f"({states(row)})" for row in alarm.any_of),
        actions_suppressor=suppressor,
        **_notifications(alarm, stack, topics),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=others),
    )


def metric_alarm(
    alarm: Alarm, stack: Stack, topics: Topics, parent: pulumi.Resource
) -> aws.cloudwatch.MetricAlarm:
    """Create the CloudWatch alarm."""
    metric, (period_s, breaching, periods) = alarm.metric, alarm.evaluation
    source: dict[str, Any] = (
        {"metric_queries": _metric_queries(alarm.name, metric, period_s)}
        if isinstance(metric, Expression)
        else {
            "namespace": metric.namespace,
            "metric_name": metric.name,
            "dimensions": dict(metric.dimensions) or None,
            "statistic": metric.statistic,
            "unit": metric.unit,
            "period": period_s,
        }
    )
    return aws.cloudwatch.MetricAlarm(
        alarm.name,
        name=stack.names.name(alarm.name),
        **source,
        evaluation_periods=periods,
        datapoints_to_alarm=breaching,
        threshold=alarm.threshold,
        comparison_operator=alarm.comparison,
        treat_missing_data=alarm.missing,
        **_notifications(alarm, stack, topics),
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _metric_queries(
    alarm: str, expression: Expression, period_s: int
) -> list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict]:
    queries: list[aws.cloudwatch.MetricAlarmMetricQueryArgsDict] = [
        {
            "id": query,
            "metric": {
                "namespace": metric.namespace,
                "metric_name": metric.name,
                "dimensions": dict(metric.dimensions),
                "stat": metric.statistic,
                "unit": metric.unit,
                "period": period_s,
            },
            "return_data": False,
        }
        for query, metric in expression.metrics.items()
    ]
    return [
        *queries,
        {"id": "result", "expression": expression.text, "label": alarm, "return_data": True},
    ]
