"""The settings of a stack: everything that a stack file can set under `gatehouse:settings`.

A default that differs between environments is a `by_environment(...)`. `prod_requires` and
`Production` are the values that prod accepts. Rules that involve more than one setting are in
`checks`.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, PrivateAttr

from components.settings import data, operations, workloads
from components.settings.fields import (
    ACCOUNT_ID,
    COST_CENTRE,
    ENVIRONMENTS,
    NAME_PREFIX,
    OWNER,
    PREFIX,
    SMALL,
    STANDARD,
    TAGS,
    Allowed,
    Flag,
    Section,
    aws_region,
    by_environment,
    choice,
    optional,
    prod_requires,
    prod_requires_at_least,
    string,
)
from components.settings.network import LoadBalancerSettings, NetworkSettings, WafSettings
from components.settings.rollout import RolloutSettings

DAYS_OF_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# The retention periods that CloudWatch Logs supports (PutRetentionPolicy API).
LOG_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class Settings(Section):
    """Settings that apply to the entire stack."""

    environment: Annotated[str, choice(*ENVIRONMENTS)]
    """Determines the default values, rules and levels of the policy packs. Required unless the
    stack is named dev, staging or prod; the name is then the environment.
    """
    profile: Annotated[str, choice(STANDARD, SMALL), prod_requires(STANDARD)] = STANDARD
    """`small` changes defaults, so that a stack costs less ([costs.md](costs.md#profile-small)).
    """
    owner: Annotated[str, OWNER]
    """Team responsible for the stack: the value of the tag Owner on every resource."""
    cost_centre: Annotated[str, COST_CENTRE]
    """Cost centre of the stack: the value of the tag CostCentre on every resource."""
    tags: Annotated[tuple[str, ...], TAGS] = ()
    """Further tags of every resource, such as those that a tag policy requires. `make bootstrap`
    creates the state bucket and its key with the tags of the first stack."""
    name_prefix: Annotated[str, PREFIX] = NAME_PREFIX
    """Beginning of the name of every resource, the same in all stacks of an account. Prefix and
    stack name together have at most 17 characters."""
    account: Annotated[str, ACCOUNT_ID]
    """AWS account ID. The provider rejects credentials for any other account."""
    region: Annotated[str, aws_region("eu-west-1")]
    """AWS region of the resources, except for those in second_region, of CloudFront (us-east-1) and
    of the Slack channel (us-east-2)."""
    second_region: Annotated[str, aws_region("eu-central-1")]
    """AWS region for replicas of buckets and secrets, copies of backups and the heartbeat. Set
    second_region and one of buckets.cross_region_replication, backup.cross_region_copy and
    recovery.stack before the first deployment, because the backup KMS key depends on them. The
    others can be set later."""
    maintenance_day: Annotated[str, choice(*DAYS_OF_WEEK)] = by_environment("mon", "tue", "wed")
    """Day on which RDS and ElastiCache apply updates, from 03:30 to 04:30 UTC. Unless AWS releases
    an update between the windows of staging and prod, it reaches staging a day earlier."""
    domain: Annotated[
        str,
        string(
            r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}",
            'a domain such as "gatehouse.example.com"',
        ),
    ]
    """Domain of the stack, with the subdomains gateway, console and sharing. The stack creates a
    Route 53 hosted zone for it, which you delegate, or uses `existing_resources.zone_id`.
    """
    cores_domain: Annotated[
        str | None,
        optional(
            r"(?=.{1,126}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}",
            'a domain such as "cores.gatehouse.example.com"',
        ),
    ] = None
    """Domain below which each Core has a host name, in addition to its path at the gateway."""
    key_prefix: Annotated[
        str,
        string(
            r"(?=.{1,16}$)(?!(gh[pousr]|sk|pk|rk)(_|$)|xox)[a-z][a-z0-9]*(_[a-z0-9]+)*",
            "1 to 16 lowercase letters, digits and single underscores that do not start with the "
            "key prefix of another issuer (ghp, gho, ghu, ghs, ghr, sk, pk, rk, xox)",
        ),
    ] = "gtk"
    """Prefix of every API key. Secret scanners identify API keys by this prefix."""
    key_environment: Annotated[str, choice("test", "live"), prod_requires("live")] = by_environment(
        "test", "test", "live"
    )
    """Environment part of the API keys that the stack issues. Keys from the other environment are
    denied.
    """
    log_level: Annotated[str, choice("debug", "info", "warning", "error")] = by_environment(
        "debug", "info", "info"
    )
    """Log level of the processes. `info` writes one line for each request."""
    docs_url: Annotated[str | None, operations.SITE] = None
    """URL at which clients can read the site that `make site` builds. The `type` of each error is
    then the URL of its section in the page Errors. Without it, the `type` is a URN."""
    log_retention_days: Annotated[
        int, choice(*LOG_RETENTION_DAYS), prod_requires_at_least(365, "days")
    ] = by_environment(30, 90, 400)
    """Days to retain log events in CloudWatch Logs."""
    reserve_function_concurrency: Annotated[Flag, prod_requires(True)] = True
    """Reserve concurrency for each Lambda function. Disable it until AWS has raised the quota of a
    new account.
    """
    protection: data.ProtectionSettings
    network: NetworkSettings
    secrets: data.SecretsSettings
    database: data.DatabaseSettings
    cache: data.CacheSettings
    buckets: data.BucketsSettings
    backup: data.BackupSettings
    recovery: data.RecoverySettings
    image: workloads.ImageSettings
    services: workloads.ServicesSettings
    rollout: RolloutSettings
    telemetry: workloads.TelemetrySettings
    cores: Annotated[
        tuple[workloads.CoreSettings, ...],
        BeforeValidator(
            Allowed(
                "a list of 0 to 10 Cores",
                lambda value: isinstance(value, list | tuple) and len(value) <= 10,
            )
        ),
    ] = ()
    """Cores that run as ECS services of the stack. Only the gateway can connect to them."""
    sharing: workloads.SharingSettings
    oidc: operations.OidcSettings
    notifications: operations.NotificationsSettings
    legacy_files: Annotated[tuple[str, ...], operations.LEGACY_FILES] = ()
    """The files api_keys.json and ngrok_urls.json of a legacy deployment. The console can read and
    replace only these objects, and removes purged keys from them. The bucket must be in the stack's
    region, and the bucket policy and the KMS key must allow access by the console's task role."""
    environment_variables: Annotated[tuple[str, ...], operations.VARIABLES] = ()
    """Optional environment variables for the runtime ([list](settings-runtime.md#optional)), such
    as GATEHOUSE_LIMIT_ON_ERROR=deny. Variables that another setting sets are rejected. If a value
    is invalid, the new tasks do not start and the previous tasks keep running."""
    existing_resources: operations.ExistingResourcesSettings
    load_balancer: LoadBalancerSettings
    waf: WafSettings
    monitoring: operations.MonitoringSettings
    budget: operations.BudgetSettings
    delivery: operations.DeliverySettings

    _stack: str = PrivateAttr(default="")

    def model_post_init(self, context: Any) -> None:
        self._stack = (context or {}).get("stack", "")

    @property
    def stack(self) -> str:
        """Name of the stack: the second part of every physical name, and the value of the tag
        Environment.
        """
        return self._stack

    @property
    def maintenance_window(self) -> str:
        """Weekly window in UTC, in the format of RDS and ElastiCache. The windows of backups end
        before.
        """
        return f"{self.maintenance_day}:03:30-{self.maintenance_day}:04:30"

    @property
    def has_internet_gateway(self) -> bool:
        network = self.network
        uses_it = not self.load_balancer.internal or network.nat_count or network.has_public_tasks
        return bool(uses_it) and network.owns_subnets

    @property
    def replica_region(self) -> str:
        """The region for the copies, or "" if the stack creates no copies."""
        copies = (
            self.buckets.cross_region_replication
            or self.backup.cross_region_copy
            or self.recovery.stack
        )
        return self.second_region if copies else ""

    @property
    def recovery_region(self) -> str:
        """The region of the pepper's replica and of the replicated backups of the database, or ""
        without `recovery.stack`.
        """
        return self.second_region if self.recovery.stack else ""

    @property
    def replication_region(self) -> str:
        """The region of the data bucket's replica, or "" without replication."""
        return self.second_region if self.buckets.cross_region_replication else ""

    @property
    def heartbeat_region(self) -> str:
        """The region of the alarm on the heartbeat, or "" without the heartbeat."""
        monitoring = self.monitoring
        uses_it = monitoring.heartbeat and monitoring.probe and monitoring.creates_alarms
        return self.second_region if uses_it else ""

    @property
    def other_regions(self) -> list[str]:
        """The regions other than its own in which the stack has copies or the heartbeat."""
        return sorted({self.replica_region, self.heartbeat_region} - {""})

    def task_size(self, task: str) -> workloads.TaskSize:
        """CPU and memory of a task. Raises KeyError for an unknown task."""
        return self.core_tasks.get(task) or self.services.sizes[task]

    def scaling(self, task: str) -> workloads.ScalingSettings:
        """Auto scaling of an ECS service. Raises KeyError for a task that is not a service."""
        return self.core_tasks.get(task) or self.services.scaling[task]

    @property
    def core_tasks(self) -> dict[str, workloads.CoreSettings]:
        """The Cores, keyed by the name of their task."""
        return {core.process_name: core for core in self.cores}

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions in `runtime/functions` that the stack has."""
        unused = {"probe": not self.monitoring.probe, "smoke": not self.rollout.tests_traffic}
        return tuple(name for name in workloads.FUNCTION_CONCURRENCY if not unused.get(name))

    @property
    def probes_in_vpc(self) -> bool:
        """Whether functions request the services from the app subnets."""
        has_probes = self.monitoring.probe or self.rollout.tests_traffic
        return self.load_balancer.internal and has_probes

    @property
    def function_concurrency(self) -> dict[str, int]:
        """The reserved concurrency of each function of the stack, keyed by name. Empty if no
        concurrency is reserved.
        """
        if not self.reserve_function_concurrency:
            return {}
        functions = {name: workloads.FUNCTION_CONCURRENCY[name] for name in self.functions}
        return functions | dict.fromkeys(self.sharing.functions, workloads.SHARING_CONCURRENCY)

    @property
    def internet_access(self) -> tuple[str, ...]:
        """The settings that have a value and because of which the tasks need internet access."""
        reasons = {
            "telemetry.collector": self.telemetry.collector,
            "oidc.issuer": self.oidc.issuer and not self.oidc.issuer_networks,
            "notifications.public_webhooks": self.notifications.public_webhooks,
            "notifications.topic_arn": self.notifications.topic_arn,
            "notifications.email_sender": self.notifications.email_sender,
        }
        return tuple(key for key, reason in reasons.items() if reason)
