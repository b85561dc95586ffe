"""The alarms on the resources of a stack, in the order of the dashboard."""

from collections.abc import Iterator

from components.context import Stack
from components.iam.role_policies import ROTATION_FUNCTION
from components.monitoring.burn_rates import BURN_RATES, ROLLBACK_BURN_RATE, burn_rate_alarms
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
    function_alarm,
    service_metric,
)
from components.monitoring.service_alarms import delay_alarms, ecs_service_alarms, outage_alarms
from components.naming import PAGES, REPLICATION_RULE, Naming

GIB = 1024**3
CERTIFICATE_DAYS, CERTIFICATE_PAGE_DAYS = 30, 10
"""ACM renews certificates 60 days before they expire, but not those that were imported."""
CREDITS_MIN = 30
"""CPU credits, a minute of a vCPU each. RDS publishes credits every five minutes (RDS User Guide,
"Amazon CloudWatch metrics for Amazon RDS", read 2026-11-29)."""
BALANCER_PERCENT = 1.44
"""Share of the errors of the load balancer: the permitted percentage of a service, 14.4 times."""


def resource_alarms(stack: Stack, resources: MonitoredResources) -> Iterator[Alarm]:
    """Yield the alarms on resources, except those that roll back a deployment
    (`service_alarms`).
    """
    if not stack.settings.monitoring.creates_alarms:
        return
    names = stack.names
    functions = [function.service.name for function in stack.contract.functions.values()]
    for service in (*resources.target_groups, *functions):
        for window in BURN_RATES:
            if window != ROLLBACK_BURN_RATE:
                yield from burn_rate_alarms(service, stack, resources, window)
    yield from delay_alarms(names)
    yield from outage_alarms(names)
    yield from _notice_alarms(names)
    for name, label in resources.load_balancers.items():
        yield from _load_balancer_alarms(name, label, stack)
    if stack.settings.waf.enabled:
        yield _web_acl_alarm(stack)
    for service, process in stack.contract.ecs_services.items():
        yield from ecs_service_alarms(service, process, stack, resources.cluster)
    yield from _database_alarms(stack, resources.database)
    for zone, gateway_id in resources.nat_gateways.items():
        yield _nat_gateway_alarm(zone, gateway_id)
    if region := stack.settings.replication_region:
        yield _replication_alarm(names, region)
    for node in names.cache_nodes(1 + stack.settings.cache.replicas):
        yield from _cache_alarms(node, names)
    yield _table_alarm(resources.table, names)
    yield from _certificate_alarms(stack, resources.certificate_arn)
    yield from _rotation_alarms(names)


def _notice_alarms(names: Naming) -> Iterator[Alarm]:
    """Yield the alarms on notices of AWS services that have no events."""

    def notices(kind: str) -> Metric:
        topic = {"TopicName": names.notice_topic(kind)}
        return Metric("AWS/SNS", "NumberOfMessagesPublished", topic)

    yield Alarm(
        "database-notice",
        "RDS reports low storage, a failure, maintenance, a change or the deletion of the "
        "database. Read the message with `aws rds describe-events --duration 60`.",
        "database",
        notices("database"),
    )
    yield Alarm(
        "backup-notice",
        "AWS Backup reports a completed restore, a changed recovery point, or S3 objects that it "
        "could not back up. Check the jobs of AWS Backup.",
        "backup-failure",
        notices("backup"),
    )
    yield Alarm(
        "budget-notice",
        "The costs of the stack, or their forecast, exceed a threshold of its budget. Check the "
        "budget in the Billing console, then the costs by service.",
        "budget",
        notices("budget"),
    )


def _load_balancer_alarms(name: str, label: Text, stack: Stack) -> Iterator[Alarm]:
    """Yield the alarms on responses of the load balancer itself: it has no healthy target, or a
    target closes a connection, such as that of a task whose Envoy ends. Only requests for which
    there is a target are in RequestCount (Elastic Load Balancing User Guide, "CloudWatch metrics
    for your Application Load Balancer", read 2026-11-30).
    """
    failed_min = stack.settings.monitoring.error_alarm_threshold

    def metric(metric_name: str) -> Metric:
        return Metric(LOAD_BALANCER, metric_name, {"LoadBalancer": label})

    yield Alarm(
        f"{name}-5xx",
        f"The load balancer answers more than {BALANCER_PERCENT} percent of the requests itself "
        "with 5xx: no target is healthy, or tasks close connections. Check the stopped tasks of "
        "the services.",
        "errors",
        Expression(
            f"IF(failed > {failed_min}, 100 * failed / (failed + FILL(all, 0)), 0)",
            {"failed": metric("HTTPCode_ELB_5XX_Count"), "all": metric("RequestCount")},
        ),
        above(BALANCER_PERCENT),
        severity=None,
    )
    yield Alarm(
        f"{name}-rejected-connections",
        "The load balancer rejected connections, because it reached its maximum number of "
        "connections. Check the number of connections per client, then request capacity from AWS "
        "Support.",
        "saturation",
        metric("RejectedConnectionCount"),
    )


def _web_acl_alarm(stack: Stack) -> Alarm:
    web_acl = {"WebACL": stack.names.name("edge"), "Region": stack.names.region, "Rule": "ALL"}
    return Alarm(
        "requests-blocked",
        "The web ACL blocks an unusual number of requests. Possible causes: an attack, or a rule "
        "that blocks requests of your clients. Check the log of the web ACL.",
        "blocked-requests",
        Metric("AWS/WAFV2", "BlockedRequests", web_acl),
        above(stack.settings.monitoring.denied_requests_alarm_threshold),
    )


def _database_alarms(stack: Stack, identifier: Text) -> Iterator[Alarm]:
    database = stack.settings.database
    scale = "Raise database.instance_class, with database.apply_immediately."

    def metric(name: str, statistic: str) -> Metric:
        return Metric("AWS/RDS", name, {"DBInstanceIdentifier": identifier}, statistic)

    yield Alarm(
        "database-cpu",
        "CPU utilization of the database is high. Check Performance Insights, then raise "
        "database.instance_class, with database.apply_immediately.",
        "database",
        metric("CPUUtilization", "Average"),
        above(85, MOST_MINUTES),
    )
    yield Alarm(
        "database-connections",
        f"The database has more than 80 percent of its maximum number of connections. {scale}",
        "database",
        metric("DatabaseConnections", "Maximum"),
        above(database.connections_max * 80 // 100, MOST_MINUTES),
    )
    yield Alarm(
        "database-memory",
        f"The database has less than 5 percent of its memory available. {scale}",
        "database",
        metric("FreeableMemory", "Minimum"),
        below(database.memory_gib * GIB // 20, MOST_MINUTES),
    )
    if database.is_burstable:
        yield Alarm(
            "database-credits",
            "The database has almost no CPU credits left: it is throttled, or surplus credits are "
            f"charged. {scale}",
            "database",
            metric("CPUCreditBalance", "Minimum"),
            below(CREDITS_MIN, (300, 2, 3)),
        )
    # RDS extends the storage when less than 10 percent is free for five minutes, unless the maximum
    # is reached or the last change was within six hours (RDS User Guide, "Managing capacity
    # automatically with Amazon RDS storage autoscaling", read 2026-11-30).
    yield Alarm(
        "database-storage",
        "The free storage of the database is less than 5 percent of database.storage_gib, and RDS "
        "has not extended it. Raise database.storage_max_gib.",
        "database",
        metric("FreeStorageSpace", "Minimum"),
        below(database.storage_gib * GIB / 20, MOST_MINUTES),
        severity=PAGES,
    )


def _nat_gateway_alarm(zone: str, gateway_id: Text) -> Alarm:
    return Alarm(
        f"nat-{zone}-ports",
        "The NAT gateway could not allocate a source port, so connections to Cores, webhooks and "
        "AWS services fail. Check for many connections to one destination.",
        "saturation",
        Metric("AWS/NATGateway", "ErrorPortAllocation", {"NatGatewayId": gateway_id}),
    )


def _replication_alarm(names: Naming, region: str) -> Alarm:
    # S3 publishes the metric in the region of the source bucket (S3 User Guide, "Using S3
    # Replication metrics").
    dimensions = {
        "SourceBucket": names.bucket("data"),
        "DestinationBucket": names.in_region(region).bucket("data"),
        "RuleId": REPLICATION_RULE,
    }
    return Alarm(
        "replication-failed",
        "S3 could not replicate an object of the data bucket to the second region. Check the role, "
        "the KMS key and the versioning of the replica.",
        "backup-failure",
        Metric("AWS/S3", "OperationsFailedReplication", dimensions),
    )


def _cache_alarms(node: str, names: Naming) -> Iterator[Alarm]:
    name, dimensions = node.removeprefix(names.name("")), {"CacheClusterId": node}
    yield Alarm(
        f"{name}-cpu",
        "CPU utilization of the cache engine is high, which slows down rate limit checks. Raise "
        "cache.node_type.",
        "cache",
        Metric("AWS/ElastiCache", "EngineCPUUtilization", dimensions, "Average"),
        above(80, MOST_MINUTES),
    )
    yield Alarm(
        f"{name}-memory",
        "Memory usage of the cache is high. A full cache rejects writes. Raise cache.node_type.",
        "cache",
        Metric("AWS/ElastiCache", "DatabaseMemoryUsagePercentage", dimensions, "Maximum"),
        above(80, MOST_MINUTES),
    )


def _table_alarm(table: Text, names: Naming) -> Alarm:
    """Return the alarm on throttled requests, which DynamoDB reports only while it throttles.

    CloudWatch ignores missing data of the namespace AWS/DynamoDB (API Reference, PutMetricAlarm,
    TreatMissingData), so an alarm on such a metric alone would remain in ALARM. The age of due
    secrets is published every minute.
    """
    dimensions = {"TableName": table}
    return Alarm(
        "table-throttled",
        "DynamoDB throttles requests to the secret links table. Check for a hot key or a sudden "
        "increase in traffic.",
        "tokens",
        Expression(
            "FILL(read, 0) + FILL(write, 0) + 0 * due",
            {
                "read": Metric("AWS/DynamoDB", "ReadThrottleEvents", dimensions),
                "write": Metric("AWS/DynamoDB", "WriteThrottleEvents", dimensions),
                "due": service_metric("console", "DueSecretsSeconds", names),
            },
        ),
        above(10),
    )


def _certificate_alarms(stack: Stack, certificate_arn: Text) -> Iterator[Alarm]:
    """Yield a ticket, and a page for what it did not prevent. The probe sees the certificates that
    clients receive, also those of CloudFront in another region.
    """
    dimensions = {"CertificateArn": certificate_arn}
    days = Metric("AWS/CertificateManager", "DaysToExpiry", dimensions, "Minimum")
    if stack.settings.monitoring.probe:
        days = service_metric("gateway", "CertificateDays", stack.names, "Minimum")
        yield Alarm(
            "certificate-expires",
            f"A certificate expires in less than {CERTIFICATE_PAGE_DAYS} days: after that, no "
            "client can connect. Check its renewal in ACM, or import a new one.",
            "certificate-expiry",
            days,
            below(CERTIFICATE_PAGE_DAYS, (3600, 1, 1)),
            severity=PAGES,
        )
    yield Alarm(
        "certificate-expiry",
        f"A certificate expires in less than {CERTIFICATE_DAYS} days and has not been renewed. "
        "Check its validation records, or import a new one.",
        "certificate-expiry",
        days,
        below(CERTIFICATE_DAYS, (86400, 1, 1)),
    )


def _rotation_alarms(names: Naming) -> Iterator[Alarm]:
    yield function_alarm(
        ROTATION_FUNCTION,
        "The secret rotation function failed. The previous values remain in use. Check the log "
        "group of the function.",
        "rotation-failure",
        names,
    )
    queue = {"QueueName": names.dead_letter_queue(ROTATION_FUNCTION)}
    yield Alarm(
        "rotation-dead-letters",
        "The dead-letter queue of the rotation function contains failed events. Read the events, "
        "which name their secrets.",
        "rotation-failure",
        Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Maximum"),
    )
