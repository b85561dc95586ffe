"""Rules that involve more than one setting."""

import ipaddress
import re
from collections.abc import Callable, Iterator
from operator import attrgetter

from components import contract
from components.settings.fields import PREFIX_AND_STACK_MAX, PROD, Mistake
from components.settings.model import Settings
from components.settings.operations import PIPELINE_ROLES
from components.settings.workloads import ScalingSettings

_PRIVATE = [
    # RFC 1918, and the shared address space of RFC 6598, which transit VPCs and EKS pods use.
    *map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
]
TWO_ZONES = ("us-west-1",)
"""Regions in which an account can have two zones only (AWS Regions and Availability Zones, "AWS
Availability Zones", read 2026-11-30)."""
PROXY = re.compile(r"(?i)(GATEHOUSE_)?(https?|all|no)_proxy=")
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


REQUIRED = (
    ("oidc.audience", "the client ID at the issuer", "oidc.issuer"),
    ("oidc.roles", "at least one entry of the form value=role", "oidc.issuer"),
    ("delivery.repository_id", "the ID of the repository", "delivery.owner_id"),
    ("delivery.owner_id", "the ID of the owner", "delivery.repository_id"),
    ("load_balancer.client_networks", "1 to 10 IPv4 networks", "load_balancer.internal"),
    ("existing_resources.zone_id", "the hosted zone of that stack", "recovery.restore.stack"),
    (
        "existing_resources.certificate_arn",
        "the ARN of an ACM certificate",
        "existing_resources.foreign_zone",
    ),
)
"""Settings that another one requires, in words, and the other one."""
WITHOUT = (
    ("oidc.client_id", "oidc.issuer"),
    ("oidc.issuer_networks", "oidc.issuer"),
    ("oidc.client_secret_arn", "oidc.client_id"),
    ("delivery.create_oidc_provider", "delivery.repository"),
    ("delivery.state_bucket", "delivery.repository"),
    ("delivery.repository_id", "delivery.repository"),
    ("delivery.subjects", "delivery.repository"),
    ("delivery.state_key_arn", "delivery.state_bucket"),
    ("load_balancer.client_networks", "load_balancer.internal"),
    ("load_balancer.private_ca", "existing_resources.certificate_arn"),
    ("existing_resources.internet_gateway_id", "existing_resources.vpc_id"),
)
"""Settings that are empty or false without another one."""
EXCLUDED = (("existing_resources.zone_id", "empty", "existing_resources.foreign_zone"),)
"""Settings that cannot be set together, and the value of the first."""


def combinations(settings: Settings) -> Iterator[Mistake]:
    """Settings that need or exclude each other."""

    def has(key: str) -> bool:
        return bool(attrgetter(key)(settings))

    for key, allowed, other in REQUIRED:
        if has(other) and not has(key):
            yield Mistake(key, allowed, f"with {other}")
    for key, other in WITHOUT:
        if has(key) and not has(other):
            empty = "false" if attrgetter(key)(settings) is True else "empty"
            yield Mistake(key, empty, f"without {other}")
    for key, allowed, other in EXCLUDED:
        if has(key) and has(other):
            yield Mistake(key, allowed, f"with {other}")


def names(settings: Settings) -> Iterator[Mistake]:
    """Every name fits into the limit of AWS."""
    maximum = PREFIX_AND_STACK_MAX - len(settings.stack)
    if len(settings.name_prefix) > maximum:
        allowed = f"at most {maximum} characters, because names of target groups have at most 32"
        yield Mistake("name_prefix", allowed, f"in the stack {settings.stack}")


def key_environment(settings: Settings) -> Iterator[Mistake]:
    """Only prod issues live keys."""
    if settings.key_environment == "live" and settings.environment != PROD:
        yield Mistake("key_environment", "test", f"in {settings.environment}")


def zones(settings: Settings) -> Iterator[Mistake]:
    """The Availability Zones belong to `region`. In prod, there are three, or as many as the region
    has.
    """
    network, zones_min = settings.network, 2 if settings.region in TWO_ZONES else 3
    if settings.environment == PROD and len(network.zones) < zones_min:
        yield Mistake("network.zones", "three zones", f"in prod, outside {', '.join(TWO_ZONES)}")
    for index, zone in enumerate(settings.network.zones):
        if zone[:-1] != settings.region:
            yield Mistake(f"network.zones.{index}", f"zones of region {settings.region}")


def private_networks(settings: Settings) -> Iterator[Mistake]:
    """`network.cidr` and the networks of Cores, clients, webhooks and the issuer are private (RFC
    1918, RFC 6598).
    """
    lists = {
        "network.core_networks": settings.network.core_networks,
        "load_balancer.client_networks": settings.load_balancer.client_networks,
        "notifications.webhook_networks": settings.notifications.webhook_networks,
        "oidc.issuer_networks": settings.oidc.issuer_networks,
    }
    rows = [(f"{key}.{index}", cidr) for key in lists for index, cidr in enumerate(lists[key])]
    own = [("network.cidr", settings.network.cidr)] if settings.network.cidr else []
    for key, cidr in (*own, *rows):
        try:
            # Link-local addresses include the credentials of a task.
            private = any(map(ipaddress.IPv4Network(cidr).subnet_of, _PRIVATE))
        except ValueError:
            private = False
        if not private:
            allowed = (
                "a network of RFC 1918 or RFC 6598, written with the first address of the network"
            )
            yield Mistake(key, allowed)


def console_networks(settings: Settings) -> Iterator[Mistake]:
    """Each network in `waf.console_networks` is valid, and its prefix length is not 0, which AWS
    WAF does not support.
    """
    for index, cidr in enumerate(settings.waf.console_networks):
        try:
            accepted = ipaddress.ip_network(cidr).prefixlen > 0
        except ValueError:
            accepted = False
        if not accepted:
            allowed = "a network with a prefix of at least /1, written with its first address"
            yield Mistake(f"waf.console_networks.{index}", allowed)


def bounds(settings: Settings) -> Iterator[Mistake]:
    """`database.storage_max_gib` is at least 10 percent more than `database.storage_gib`, and
    `buckets.trail_retention_days` is at least `buckets.object_lock_days`."""
    database, buckets = settings.database, settings.buckets
    # RDS requires this difference (RDS User Guide, "Managing capacity automatically with Amazon RDS
    # storage autoscaling").
    minimum = -(-database.storage_gib * 11 // 10)
    if database.storage_max_gib < minimum:
        allowed = f"1.1 times database.storage_gib ({minimum}) or more"
        yield Mistake("database.storage_max_gib", allowed)
    if buckets.trail_retention_days < buckets.object_lock_days:
        allowed = f"buckets.object_lock_days ({buckets.object_lock_days}) or more"
        yield Mistake("buckets.trail_retention_days", allowed)


def internet_access(settings: Settings) -> Iterator[Mistake]:
    """Cores, the collector, OIDC and notifications outside the VPC require internet access, as do
    tasks without interface endpoints."""
    reasons = (*(("cores",) if settings.cores else ()), *settings.internet_access)
    if settings.network.nat == "none" and reasons and settings.network.owns_subnets:
        yield Mistake(
            "network.nat",
            "one, per_zone or public_addresses, which provide internet access",
            f"with {' and '.join(reasons)}",
        )
    if (
        settings.network.nat == "none"
        and settings.network.endpoint_zones == "none"
        and not settings.existing_resources.vpc_id
    ):
        yield Mistake("network.endpoint_zones", "one or all", "with network.nat none")


def probes(settings: Settings) -> Iterator[Mistake]:
    """Functions in the VPC have no public address: they reach AWS services through interface
    endpoints or NAT gateways, and other regions through NAT gateways."""
    network = settings.network
    if not settings.probes_in_vpc or not network.owns_subnets or network.nat_count:
        return
    if network.endpoint_zones == "none":
        yield Mistake("network.endpoint_zones", "one or all", "with load_balancer.internal")
    if settings.heartbeat_region:
        yield Mistake("monitoring.heartbeat", "false", f"with network.nat {network.nat}")


def existing_subnets(settings: Settings) -> Iterator[Mistake]:
    """`network.subnets` has a subnet of the existing VPC for each zone in each tier or none, and
    the owner of the subnets has the NAT gateways."""
    network, with_subnets = settings.network, "with network.subnets"
    tiers = dict(network.subnets)
    if not any(tiers.values()):
        if not network.cidr:
            yield Mistake("network.cidr", "an IPv4 network", "without network.subnets")
        return
    if network.cidr:
        yield Mistake("network.cidr", "empty", with_subnets)
    for tier, subnets in tiers.items():
        if len(subnets) != len(network.zones):
            allowed = f"a list of {len(network.zones)} subnets, one for each zone"
            yield Mistake(f"network.subnets.{tier}", allowed)
    if not settings.existing_resources.vpc_id:
        yield Mistake("existing_resources.vpc_id", "the VPC of the subnets", with_subnets)
    if network.nat != "none":
        yield Mistake("network.nat", "none", with_subnets)


def operators(settings: Settings) -> Iterator[Mistake]:
    """The IAM roles in `secrets.operators` belong to `account`."""
    for index, role in enumerate(settings.secrets.operators):
        if role.split(":")[4] != settings.account:
            yield Mistake(f"secrets.operators.{index}", f"roles of account {settings.account}")


def second_region(settings: Settings) -> Iterator[Mistake]:
    """`second_region` differs from `region`."""
    if settings.second_region == settings.region:
        yield Mistake("second_region", "a region other than region")


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
            yield Mistake(key, "the name of another stack")
    restored, with_stack = bool(restore.stack), "with recovery.restore.stack"
    for name, arn in restore:
        key = f"recovery.restore.{name}"
        if not name.endswith("_arn"):
            continue
        if restored and arn is None:
            output = "the value in the stack output recovery of that stack"
            yield Mistake(key, output, with_stack)
        elif arn and not restored:
            yield Mistake(key, "empty", "without recovery.restore.stack")
        elif arn and arn.split(":")[3:5] != [settings.region, settings.account]:
            yield Mistake(key, f"ARNs of {settings.region} and account {settings.account}")
    if restored and settings.services.cloudfront:
        yield Mistake("services.console.hosting", "container", with_stack)


def cores_domain(settings: Settings) -> Iterator[Mistake]:
    """No service has a host name below `cores_domain`, which is a subdomain of `domain` or, with
    `existing_resources.zone_id`, of the name of that zone.
    """
    domain, cores = settings.domain, settings.cores_domain
    if cores and f".{domain}".endswith(f".{cores}"):
        yield Mistake("cores_domain", "a domain that does not contain the hosts of the services")
    elif cores and not cores.endswith(f".{domain}") and not settings.existing_resources.zone_id:
        subdomain = f"a subdomain of domain ({domain})"
        yield Mistake("cores_domain", subdomain, "without existing_resources.zone_id")


def vault_lock(settings: Settings) -> Iterator[Mistake]:
    """A stack that empties its buckets on deletion does not lock its backup vault."""
    if settings.buckets.force_destroy and settings.backup.vault_lock != "none":
        yield Mistake(
            "backup.vault_lock",
            "none. A locked vault cannot be emptied",
            "with buckets.force_destroy",
        )


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
    for key, size in scaling.items():
        low, high = MEMORY_MIB[size.cpu]
        steps = size.memory_mib <= 1024 or size.memory_mib % 1024 == 0
        if not (low <= size.memory_mib <= high and steps):
            yield Mistake(
                f"{key}.memory_mib", f"{low} to {high} in steps of 1024", f"with cpu {size.cpu}"
            )
    for key, service in scaling.items():
        if service.tasks_max < service.tasks_min:
            yield Mistake(f"{key}.tasks_max", f"tasks_min ({service.tasks_min}) or more")


def waf_limits(settings: Settings) -> Iterator[Mistake]:
    """The rate limit of a service does not exceed `waf.requests_max`."""
    maximum = settings.waf.requests_max
    for service, requests in settings.waf.service_requests_max().items():
        if requests > maximum:
            yield Mistake(f"waf.{service}_requests_max", f"waf.requests_max ({maximum}) or less")


def sharing_mode(settings: Settings) -> Iterator[Mistake]:
    """Only a stack with a sharing API sets `sharing.api_gateway_log_role`."""
    sharing = settings.sharing
    if sharing.api_gateway_log_role and not sharing.functions:
        yield Mistake("sharing.api_gateway_log_role", "false", f"with sharing.mode {sharing.mode}")


def cores(settings: Settings) -> Iterator[Mistake]:
    """A Core has a unique name and port, and the secret with its token belongs to this stack."""
    runtime = contract.read()
    names = dict.fromkeys((*runtime.processes, *runtime.services), "Gatehouse")
    ports = {service.port: f"the {service.name} service" for service in runtime.services.values()}
    for index, core in enumerate(settings.cores):
        key = f"cores.{index}"
        if core.name in names:
            yield Mistake(f"{key}.name", f"a name that is not used by {names[core.name]}")
        if core.port in ports:
            yield Mistake(f"{key}.port", f"a port that is not used by {ports[core.port]}")
        names[core.name] = ports[core.port] = key
        yield from _own_secret(settings, f"{key}.token_secret_arn", core.token_secret_arn)


def internal_load_balancer(settings: Settings) -> Iterator[Mistake]:
    """CloudFront does not reach an internal load balancer."""
    if settings.load_balancer.internal and settings.services.cloudfront:
        yield Mistake("services.console.hosting", "container", "with load_balancer.internal")


def existing_resources(settings: Settings) -> Iterator[Mistake]:
    """An existing certificate belongs to `account` and `region`. An existing VPC has its internet
    gateway.
    """
    existing = settings.existing_resources
    owner = [settings.region, settings.account]
    if existing.certificate_arn and existing.certificate_arn.split(":")[3:5] != owner:
        allowed = f"ARNs of {settings.region} and account {settings.account}"
        yield Mistake("existing_resources.certificate_arn", allowed)
    key = "existing_resources.internet_gateway_id"
    if existing.vpc_id and not existing.internet_gateway_id and settings.has_internet_gateway:
        yield Mistake(key, "the VPC's internet gateway", "with existing_resources.vpc_id")


def delivery(settings: Settings) -> Iterator[Mistake]:
    """The name of the state bucket does not begin with those of the stack's buckets, whose policies
    the pipeline changes. Each role has a subject if one has, and with an issuer other than GitHub.
    """
    subjects, issuer = settings.delivery.subjects, settings.delivery.issuer
    is_github = issuer.startswith("token.actions.") or issuer.endswith("/_services/token")
    missing = {*PIPELINE_ROLES} - {entry.partition("=")[0] for entry in subjects}
    if missing and (subjects or not is_github):
        allowed = f"a subject of each role ({', '.join(sorted(missing))})"
        yield Mistake("delivery.subjects", allowed, f"with delivery.issuer {issuer}")
    prefix = f"{settings.name_prefix}-{settings.stack}-"
    if (settings.delivery.state_bucket or "").startswith(prefix):
        yield Mistake("delivery.state_bucket", f"a name that does not begin with {prefix}")


def oidc(settings: Settings) -> Iterator[Mistake]:
    """The secret of the OIDC client belongs to the stack."""
    if secret := settings.oidc.client_secret_arn:
        yield from _own_secret(settings, "oidc.client_secret_arn", secret)


def environment_variables(settings: Settings) -> Iterator[Mistake]:
    """Each entry of `environment_variables` sets a different optional variable of the runtime that
    has no dedicated setting.
    """
    known = contract.settable()
    for index, entry in enumerate(settings.environment_variables):
        if PROXY.match(entry):
            yield Mistake(
                f"environment_variables.{index}",
                "no proxy, because Envoy and the clients of PostgreSQL and Valkey use none, and "
                "webhooks compare the address that they connect to. Route the traffic instead, "
                "with network.subnets (docs/guides/deploy.md, section 9)",
            )
            return
    names = [entry.partition("=")[0] for entry in settings.environment_variables]
    for index, name in enumerate(names):
        if name not in known or name in names[:index]:
            yield Mistake(
                f"environment_variables.{index}", f"each once, {', '.join(sorted(known))}"
            )


def _own_secret(settings: Settings, key: str, arn: str) -> Iterator[Mistake]:
    """Yield a mistake if an operator created the secret for another stack."""
    owner = f"{settings.region}:{settings.account}"
    name = f"{settings.name_prefix}/{settings.stack}/"
    prefix = f"arn:aws:secretsmanager:{owner}:secret:{name}"
    if not arn.startswith(prefix):
        yield Mistake(key, f"a secret whose ARN starts with {prefix}")


CHECKS: tuple[Callable[[Settings], Iterator[Mistake]], ...] = (
    *(combinations, names, key_environment, zones, private_networks, bounds, internet_access),
    *(operators, existing_subnets),
    *(second_region, recovery, cores_domain, vault_lock, task_sizes, waf_limits),
    *(sharing_mode, cores, existing_resources, delivery, oidc, console_networks),
    *(environment_variables, internal_load_balancer, probes),
)
