"""Rules that involve more than one setting. docs/settings.md lists the docstring of each rule."""

import ipaddress
from collections.abc import Callable, Iterator

from components import contract
from components.settings.fields import PROD, Mistake, shown
from components.settings.model import Settings
from components.settings.workloads import ScalingSettings, TaskSize

ROLLOUT_MAX_MINUTES = 720
"""Maximum duration of a rollout, during which the stack's state is locked."""
DELIVERY_ROLLOUT_MAX_MINUTES = 75
"""Maximum duration of a rollout by the pipeline, whose AWS credentials are valid for two hours. The
other steps of a deployment take up to 45 minutes."""
REQUESTS_PER_SECOND_EACH = 10
"""Requests per second for each unit of a function's concurrency, at 100 ms for a request."""
_WITHOUT_RESTORE = "allowed without recovery.restore.stack: empty"
MEMORY_MIB = {
    256: (512, 2048),
    512: (1024, 4096),
    1024: (2048, 8192),
    2048: (4096, 16384),
    4096: (8192, 30720),
}
"""Memory range that Fargate supports for each number of CPU units (ECS Developer Guide, "Fargate
task definition parameters").
"""


def key_environment(settings: Settings) -> Iterator[Mistake]:
    """Only prod issues live keys."""
    if settings.key_environment == "live" and settings.environment != PROD:
        yield "key_environment", f"is 'live'; allowed in {settings.environment}: test"


def zones(settings: Settings) -> Iterator[Mistake]:
    """The Availability Zones belong to `region`."""
    for index, zone in enumerate(settings.network.zones):
        if zone[:-1] != settings.region:
            yield (
                f"network.zones.{index}",
                f"is {shown(zone)}; allowed: zones of region {settings.region}",
            )


def private_networks(settings: Settings) -> Iterator[Mistake]:
    """`network.cidr`, `network.core_networks` and `notifications.webhook_networks` are private
    networks.
    """
    networks = {
        "network.cidr": settings.network.cidr,
        **{
            f"network.core_networks.{index}": cidr
            for index, cidr in enumerate(settings.network.core_networks)
        },
        **{
            f"notifications.webhook_networks.{index}": c
            for index, c in enumerate(settings.notifications.webhook_networks)
        },
    }
    for key, cidr in networks.items():
        try:
            private = ipaddress.IPv4Network(cidr).is_private
        except ValueError:
            private = False
        if not private:
            yield (
                key,
                (
                    f"is {shown(cidr)}; allowed: a private network (RFC 1918), written with the "
                    f"first address of the network"
                ),
            )


def bounds(settings: Settings) -> Iterator[Mistake]:
    """`network.core_port_max` is at least `network.core_port_min`, `database.storage_max_gib` is at
    least 10 percent more than `database.storage_gib`, and `buckets.trail_retention_days` is at
    least `buckets.object_lock_days`."""
    network, database, buckets = settings.network, settings.database, settings.buckets
    for key, value, minimum_key, minimum in (
        ("network.core_port_max", network.core_port_max, "core_port_min", network.core_port_min),
        # RDS requires this difference (RDS User Guide, "Managing capacity automatically with Amazon
        # RDS storage autoscaling").
        (
            "database.storage_max_gib",
            database.storage_max_gib,
            "1.1 times database.storage_gib",
            -(-database.storage_gib * 11 // 10),
        ),
        (
            "buckets.trail_retention_days",
            buckets.trail_retention_days,
            "buckets.object_lock_days",
            buckets.object_lock_days,
        ),
    ):
        if value < minimum:
            yield key, f"is {value}; allowed: {minimum_key} ({minimum}) or more"


def internet_access(settings: Settings) -> Iterator[Mistake]:
    """Cores, the collector, OIDC, public webhooks and the SNS topic require a NAT gateway."""
    reasons = (*(("cores",) if settings.cores else ()), *settings.internet_access)
    if settings.network.nat == "none" and reasons:
        yield (
            "network.nat",
            (
                f"is 'none'; allowed with {' and '.join(reasons)}: one or per_zone, which provide "
                f"internet access"
            ),
        )


def operators(settings: Settings) -> Iterator[Mistake]:
    """The IAM roles in `secrets.operators` belong to `account`."""
    for index, role in enumerate(settings.secrets.operators):
        if role.split(":")[4] != settings.account:
            yield (
                f"secrets.operators.{index}",
                f"is {shown(role)}; allowed: roles of account {settings.account}",
            )


def second_region(settings: Settings) -> Iterator[Mistake]:
    """`second_region` differs from `region`."""
    if settings.second_region == settings.region:
        yield (
            "second_region",
            f"is {shown(settings.second_region)}; allowed: a region other than region",
        )


def recovery(settings: Settings) -> Iterator[Mistake]:
    """`recovery.stack` and `recovery.restore.stack` are other stacks. The settings in
    `recovery.restore` are set together, and their ARNs belong to `account` and `region`. A restored
    stack uses the hosted zone of the other stack (`existing_resources.zone_id`), and
    `services.console.hosting` is `container`, because CloudFront accepts a host name in one
    distribution only."""
    restore = settings.recovery.restore
    for key, stack in (
        ("recovery.stack", settings.recovery.stack),
        ("recovery.restore.stack", restore.stack),
    ):
        if stack == settings.stack:
            yield key, f"is {shown(stack)}; allowed: the name of another stack"
    arns = {name: value for name, value in restore if name.endswith("_arn")}
    for name, arn in arns.items():
        if (arn is None) == bool(restore.stack):
            allowed = (
                "allowed with recovery.restore.stack: the value in the stack output "
                "recovery of that stack"
            )
            yield (
                f"recovery.restore.{name}",
                f"is empty; {allowed}" if arn is None else f"is {shown(arn)}; {_WITHOUT_RESTORE}",
            )
        elif arn and arn.split(":")[3:5] != [settings.region, settings.account]:
            yield (
                f"recovery.restore.{name}",
                (
                    f"is {shown(arn)}; allowed: ARNs of {settings.region} and account "
                    f"{settings.account}"
                ),
            )
    if restore.stack and not settings.existing_resources.zone_id:
        yield (
            "existing_resources.zone_id",
            "is empty; allowed with recovery.restore.stack: the hosted zone of that stack",
        )
    if restore.stack and settings.services.cloudfront:
        yield (
            "services.console.hosting",
            "is 'cloudfront'; allowed with recovery.restore.stack: container",
        )


def vault_lock(settings: Settings) -> Iterator[Mistake]:
    """A stack that empties its buckets on deletion does not lock its backup vault."""
    if settings.buckets.force_destroy and settings.backup.vault_lock != "none":
        allowed = "allowed with buckets.force_destroy: none. A locked vault cannot be emptied"
        yield "backup.vault_lock", f"is {settings.backup.vault_lock}; {allowed}"


def task_sizes(settings: Settings) -> Iterator[Mistake]:
    """Fargate supports the combination of CPU and memory, and `tasks_max` is at least
    `tasks_min`.
    """
    services = settings.services
    scaling: dict[str, ScalingSettings] = {
        "services.gateway": services.gateway,
        "services.console": services.console,
    }
    scaling |= {f"cores.{index}": core for index, core in enumerate(settings.cores)}
    sizes: dict[str, TaskSize] = {**scaling, "services.migrate": services.migrate}
    for key, size in sizes.items():
        low, high = MEMORY_MIB[size.cpu]
        if not low <= size.memory_mib <= high or (
            size.memory_mib > 1024 and size.memory_mib % 1024
        ):
            yield (
                f"{key}.memory_mib",
                (
                    f"is {size.memory_mib}; allowed with cpu {size.cpu}: {low} to {high} in steps "
                    f"of 1024"
                ),
            )
    for key, service in scaling.items():
        if service.tasks_max < service.tasks_min:
            yield (
                f"{key}.tasks_max",
                f"is {service.tasks_max}; allowed: tasks_min ({service.tasks_min}) or more",
            )


def rollout_duration(settings: Settings) -> Iterator[Mistake]:
    """A rollout takes at most 12 hours or, with `delivery.repository`, 75 minutes: the credentials
    of the pipeline expire after two hours."""
    rollout, by_pipeline = settings.rollout, bool(settings.delivery.repository)
    maximum = DELIVERY_ROLLOUT_MAX_MINUTES if by_pipeline else ROLLOUT_MAX_MINUTES
    if rollout.minutes > maximum:
        condition = " with delivery.repository" if by_pipeline else ""
        allowed = (
            f"a rollout of at most {maximum} minutes, including the steps. The rollout "
            f"takes {rollout.minutes}"
        )
        yield "rollout.bake_minutes", f"is {rollout.bake_minutes}; allowed{condition}: {allowed}"


def waf_limits(settings: Settings) -> Iterator[Mistake]:
    """The rate limit of a service does not exceed `waf.requests_max`."""
    for service, requests in settings.waf.service_requests_max().items():
        if requests > settings.waf.requests_max:
            yield (
                f"waf.{service}_requests_max",
                f"is {requests}; allowed: waf.requests_max ({settings.waf.requests_max}) or less",
            )


def sharing_capacity(settings: Settings) -> Iterator[Mistake]:
    """The sharing API admits no more requests than its function can serve. Only a stack with a
    sharing API sets `sharing.api_gateway_log_role`."""
    sharing = settings.sharing
    capacity = sharing.reserved_concurrency * REQUESTS_PER_SECOND_EACH
    if sharing.requests_per_second_max > capacity:
        maximum = (
            f"{REQUESTS_PER_SECOND_EACH} times sharing.reserved_concurrency ({capacity}) "
            f"or less, the capacity of the function"
        )
        yield (
            "sharing.requests_per_second_max",
            f"is {sharing.requests_per_second_max}; allowed: {maximum}",
        )
    if sharing.api_gateway_log_role and not sharing.functions:
        yield (
            "sharing.api_gateway_log_role",
            f"is true; allowed with sharing.mode {sharing.mode}: false",
        )


def cores(settings: Settings) -> Iterator[Mistake]:
    """A Core has a unique name and port, and the secret with its token belongs to this stack."""
    runtime = contract.read()
    names = dict.fromkeys((*runtime.processes, *runtime.services), "Gatehouse")
    ports = {service.port: f"the {service.name} service" for service in runtime.services.values()}
    for index, core in enumerate(settings.cores):
        key = f"cores.{index}"
        if core.name in names:
            yield (
                f"{key}.name",
                f"is {shown(core.name)}; allowed: a name that is not used by {names[core.name]}",
            )
        if core.port in ports:
            yield (
                f"{key}.port",
                f"is {core.port}; allowed: a port that is not used by {ports[core.port]}",
            )
        names[core.name] = ports[core.port] = key
        yield from _own_secret(settings, f"{key}.token_secret_arn", core.token_secret_arn)


def existing_resources(settings: Settings) -> Iterator[Mistake]:
    """Existing certificates and KMS keys belong to `account` and to the region in which the stack
    uses them. The certificate for CloudFront requires `services.console.hosting: cloudfront`."""
    existing = settings.existing_resources
    regions = {"certificate_arn": settings.region, "cloudfront_certificate_arn": "us-east-1"}
    for name, value in existing:
        if name.endswith("_arn") and value:
            owner = f"{regions.get(name, settings.region)}:{settings.account}"
            if value.split(":")[3:5] != owner.split(":"):
                allowed = f"ARNs of {owner.replace(':', ' and account ')}"
                yield f"existing_resources.{name}", f"is {shown(value)}; allowed: {allowed}"
    if existing.cloudfront_certificate_arn and not settings.services.cloudfront:
        allowed = (
            f"allowed with services.console.hosting {settings.services.console.hosting}: empty"
        )
        yield (
            "existing_resources.cloudfront_certificate_arn",
            f"is {shown(existing.cloudfront_certificate_arn)}; {allowed}",
        )


def existing_vpc(settings: Settings) -> Iterator[Mistake]:
    """`existing_resources.vpc_id` and `existing_resources.internet_gateway_id` are set together."""
    existing = settings.existing_resources
    if existing.vpc_id and not existing.internet_gateway_id:
        yield (
            "existing_resources.internet_gateway_id",
            "is empty; allowed with existing_resources.vpc_id: the VPC's internet gateway",
        )
    if existing.internet_gateway_id and not existing.vpc_id:
        allowed = "allowed without existing_resources.vpc_id: empty"
        yield (
            "existing_resources.internet_gateway_id",
            f"is {shown(existing.internet_gateway_id)}; {allowed}",
        )


def delivery(settings: Settings) -> Iterator[Mistake]:
    """The delivery settings require `delivery.repository`, and `delivery.state_key_arn` requires
    `delivery.state_bucket`.
    """
    roles = settings.delivery
    if roles.create_oidc_provider and not roles.repository:
        yield "delivery.create_oidc_provider", "is true; allowed without delivery.repository: false"
    if roles.state_bucket and not roles.repository:
        yield (
            "delivery.state_bucket",
            f"is {shown(roles.state_bucket)}; allowed without delivery.repository: empty",
        )
    if roles.state_key_arn and not roles.state_bucket:
        yield (
            "delivery.state_key_arn",
            f"is {shown(roles.state_key_arn)}; allowed without delivery.state_bucket: empty",
        )


def oidc(settings: Settings) -> Iterator[Mistake]:
    """An OIDC issuer requires an audience and at least one role. An OIDC client requires an issuer,
    and its secret belongs to the stack."""
    if settings.oidc.issuer and not settings.oidc.audience:
        yield "oidc.audience", "is empty; allowed with oidc.issuer: the client ID at the issuer"
    if settings.oidc.issuer and not settings.oidc.roles:
        yield (
            "oidc.roles",
            "is empty; allowed with oidc.issuer: at least one entry of the form value=role",
        )
    if settings.oidc.client_id and not settings.oidc.issuer:
        yield (
            "oidc.client_id",
            f"is {shown(settings.oidc.client_id)}; allowed without oidc.issuer: empty",
        )
    if settings.oidc.client_secret_arn and not settings.oidc.client_id:
        yield (
            "oidc.client_secret_arn",
            f"is {shown(settings.oidc.client_secret_arn)}; allowed without oidc.client_id: empty",
        )
    elif settings.oidc.client_secret_arn:
        yield from _own_secret(settings, "oidc.client_secret_arn", settings.oidc.client_secret_arn)


def leak_report_secret(settings: Settings) -> Iterator[Mistake]:
    """The signing secret of leak reports belongs to this stack."""
    if settings.leak_reports.secret_arn:
        yield from _own_secret(
            settings, "leak_reports.secret_arn", settings.leak_reports.secret_arn
        )


def environment_variables(settings: Settings) -> Iterator[Mistake]:
    """Each entry of `environment_variables` sets a different optional variable of the runtime that
    has no dedicated setting.
    """
    known = contract.settable()
    names = [entry.partition("=")[0] for entry in settings.environment_variables]
    for index, name in enumerate(names):
        if name not in known or name in names[:index]:
            yield (
                f"environment_variables.{index}",
                f"is {name}; allowed, each once: {', '.join(sorted(known))}",
            )


def _own_secret(settings: Settings, key: str, arn: str) -> Iterator[Mistake]:
    """Yield a mistake if an operator created the secret for another stack."""
    owner = f"{settings.region}:{settings.account}"
    prefix = f"arn:aws:secretsmanager:{owner}:secret:gatehouse/{settings.stack}/"
    if not arn.startswith(prefix):
        yield key, f"is {shown(arn)}; allowed: a secret whose ARN starts with {prefix}"


CHECKS: tuple[Callable[[Settings], Iterator[Mistake]], ...] = (
    *(
        key_environment,
        zones,
        private_networks,
        bounds,
        internet_access,
        operators,
        second_region,
        recovery,
    ),
    *(
        vault_lock,
        task_sizes,
        rollout_duration,
        waf_limits,
        sharing_capacity,
        cores,
        existing_resources,
        existing_vpc,
    ),
    *(delivery, oidc, leak_report_secret, environment_variables),
)
