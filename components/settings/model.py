"""What a stack file may say under `gatehouse:settings`, the rules between its values, and the one message for each
mistake."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, get_args

import pulumi
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from components.settings import checks, connections, sections, workloads
from components.settings.validators import Allowed, listed, shown, text, word

ENVIRONMENTS = ("dev", "staging", "prod")
LOG_RETENTION_DAYS = (
    1,
    3,
    5,
    7,
    14,
    30,
    60,
    90,
    120,
    150,
    180,
    365,
    400,
    545,
    731,
    1096,
    1827,
    2192,
    2557,
    2922,
    3288,
    3653,
)
"""The only periods CloudWatch Logs takes (PutRetentionPolicy API)."""

MEMORY_MIB = {256: (512, 2048), 512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720)}
"""Fargate: memory that goes with a number of CPU units (ECS developer guide, "Fargate task definition parameters")."""


class Settings(sections.Section):
    """All of one stack."""

    environment: Annotated[
        str,
        word(*ENVIRONMENTS),
        Field(description="Name of the stack, and the second part of every physical name. In prod the rules are stricter."),
    ]
    owner: Annotated[
        str,
        text(r"[A-Za-z0-9 ._@-]{2,64}", "the team that answers for the stack, 2 to 64 letters"),
        Field(description="The team that answers for the stack: the tag Owner of every resource."),
    ]
    cost_centre: Annotated[
        str,
        text(r"[A-Za-z0-9-]{2,32}", "2 to 32 letters, digits or hyphens, in quotes"),
        Field(description="Who pays: the tag CostCentre of every resource."),
    ]
    account: Annotated[
        str,
        text(r"\d{12}", "the 12 digits of the AWS account, in quotes"),
        Field(description="The AWS account. The provider refuses any other, and ARNs are built from it before anything exists."),
    ]
    region: Annotated[
        str,
        text(r"[a-z]{2}(-[a-z]+)+-\d", 'an AWS region such as "eu-west-1"'),
        Field(description="The AWS region of every resource but the copies in second_region."),
    ]
    second_region: Annotated[
        str,
        text(r"[a-z]{2}(-[a-z]+)+-\d", 'an AWS region such as "eu-central-1"'),
        Field(
            description="Where copies of buckets and backups go, when buckets.replicate or backup.copy_away asks for them. "
            "Settle it, and whether there are copies at all, before the first deployment: both decide what the backup key is."
        ),
    ]
    domain: Annotated[
        str,
        text(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}", 'a domain such as "gatehouse.example.com"'),
        Field(
            description="The DNS zone that the stack makes; its parent must delegate it once. The services are gateway, console "
            "and share below it."
        ),
    ]
    key_prefix: Annotated[
        str,
        text(
            r"(?=.{1,16}$)(?!(gh[pousr]|sk|pk|rk)(_|$)|xox)[a-z][a-z0-9]*(_[a-z0-9]+)*",
            "1 to 16 lower-case letters, digits and single underscores that do not begin like the keys of another issuer "
            "(ghp, gho, ghu, ghs, ghr, sk, pk, rk, xox)",
        ),
        Field(description="The brand in front of every key, so that scanners and people know where it belongs."),
    ]
    key_environment: Annotated[
        str, word("test", "live"), Field(description="Which keys the stack issues and takes. A key of the other one is refused.")
    ]
    log_level: Annotated[
        str,
        word("debug", "info", "warning", "error"),
        Field(description="How much the processes say. info is one line a request; debug is for finding a fault."),
    ]
    log_retention_days: Annotated[
        int, word(*LOG_RETENTION_DAYS), Field(description="Days that CloudWatch keeps every log group of the stack.")
    ]
    keep: sections.Keep
    network: sections.Network
    keys: sections.Keys
    secrets: sections.Secrets
    database: sections.Database
    cache: sections.Cache
    tokens: sections.Tokens
    buckets: sections.Buckets
    image: sections.Image
    services: sections.Services
    rollout: workloads.Rollout
    telemetry: workloads.Telemetry
    cores: Annotated[
        tuple[workloads.Core, ...],
        BeforeValidator(Allowed("a list of 0 to 10 Cores", lambda value: isinstance(value, list | tuple) and len(value) <= 10)),
        Field(description="Cores of your own that run beside the gateway, reached by it alone. Each has the keys below."),
    ]
    sharing: workloads.Sharing
    sign_in: connections.SignIn
    webhooks: connections.Webhooks
    leaks: connections.Leaks
    moving: connections.Moving
    variables: Annotated[
        tuple[str, ...],
        listed(connections.SETTABLE, 0, 30, "entries of the form VARIABLE=value"),
        Field(
            description="Optional variables of docs/settings-runtime.md for the processes that read them, such as "
            "GATEHOUSE_LIMIT_ON_ERROR=refuse; those that a key here sets are set there. A wrong value stops the new tasks, and "
            "the old ones stay."
        ),
    ]
    edge: sections.Edge
    watch: sections.Watch
    backup: sections.Backup
    budget: sections.Budget
    baseline: sections.Baseline
    deployer: workloads.Deployer

    @property
    def away(self) -> str:
        """The region of the copies; "" when the stack makes none."""
        return self.second_region if self.buckets.replicate or self.backup.copy_away else ""


class SettingsError(pulumi.RunError):
    """The stack file is wrong. The message has one line for each mistake: key, what is wrong, what is allowed."""


def load() -> Settings:
    """The settings of the selected stack.

    Raises SettingsError with every mistake found; Pulumi prints it without a traceback.
    """
    raw = pulumi.Config().get_object("settings")
    return parse(raw, pulumi.get_stack())


def parse(raw: Any, stack: str) -> Settings:
    """Settings from the plain value of `gatehouse:settings` in the file of `stack`."""
    found = []
    settings = None
    if not isinstance(raw, Mapping):
        found = [f"gatehouse:settings is {shown(raw)}; allowed: a mapping, as in Pulumi.{ENVIRONMENTS[0]}.yaml"]
    else:
        try:
            settings = Settings.model_validate(raw)
            found = [f"{key} {wrong}" for key, wrong in _disagreements(settings, stack)]
        except ValidationError as exc:
            found = [_message(dict(error)) for error in exc.errors(include_url=False)]
    if settings is None or found:
        lines = "\n".join(f"  - {line}" for line in found)
        raise SettingsError(f"Pulumi.{stack}.yaml has {len(found)} mistake{'s' if len(found) > 1 else ''}:\n{lines}")
    return settings


def _message(error: dict[str, Any]) -> str:
    """One of pydantic's errors in our words."""
    path = [str(part) for part in error["loc"]]
    key = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"{key} is not a setting; allowed here: {', '.join(sorted(_section(path[:-1]).model_fields))}"
    if error["type"] == "missing":
        return f"{key} is missing; allowed: {_words(path)}"
    if error["type"] == "value_error":
        return f"{key} {error['ctx']['error']}"
    return f"{key} is {shown(error['input'])}; allowed: {_words(path)}"


def _section(path: list[str]) -> type[BaseModel]:
    """The model at a path of keys."""
    model: type[BaseModel] = Settings
    for part in path:
        if part.isdigit():  # A place in a list of sections.
            continue
        annotation = model.model_fields[part].annotation
        inner = next((kind for kind in (annotation, *get_args(annotation)) if _is_section(kind)), None)
        if inner is None:
            break
        model = inner
    return model


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _words(path: list[str]) -> str:
    """What is allowed at a path of keys, in words."""
    if path[-1].isdigit():
        return f"a mapping with {', '.join(sorted(_section(path).model_fields))}"
    field = _section(path[:-1]).model_fields[path[-1]]
    for item in field.metadata:
        check = getattr(item, "func", None)
        if isinstance(check, Allowed):
            return check.words
    return f"a mapping with {', '.join(sorted(_section(path).model_fields))}"


_LIVE: tuple[tuple[str, Callable[[Settings], Any], Callable[[Any], bool], str], ...] = (
    # key, where it is, whether it will do, what is allowed instead. What real users' keys and secrets ask for.
    ("keep.protect", lambda s: s.keep.protect, bool, "true"),
    ("keep.retain", lambda s: s.keep.retain, bool, "true"),
    ("network.zones", lambda s: list(s.network.zones), lambda v: len(v) == 3, "three zones"),
    (
        "network.nat",
        lambda s: s.network.nat,
        lambda v: v != "one",
        "none or per_zone: one NAT gateway falls with its zone",
    ),
    ("network.endpoint_zones", lambda s: s.network.endpoint_zones, lambda v: v == "all", "all: endpoints fall with their zone"),
    ("keys.deletion_window_days", lambda s: s.keys.deletion_window_days, lambda v: v == 30, "30 days"),
    ("secrets.recovery_window_days", lambda s: s.secrets.recovery_window_days, lambda v: v == 30, "30 days"),
    ("database.multi_az", lambda s: s.database.multi_az, bool, "true"),
    ("database.recovery_days", lambda s: s.database.recovery_days, lambda v: v == 35, "35 days"),
    ("database.deletion_protection", lambda s: s.database.deletion_protection, bool, "true"),
    ("database.final_snapshot", lambda s: s.database.final_snapshot, bool, "true"),
    (
        "database.monitoring_interval_s",
        lambda s: s.database.monitoring_interval_s,
        lambda v: v > 0,
        "1, 5, 10, 15, 30 or 60",
    ),
    (
        "network.exec_endpoints",
        lambda s: s.network.exec_endpoints,
        lambda v: not v,
        "false: nobody opens a shell beside live keys",
    ),
    ("database.insights", lambda s: s.database.insights, lambda v: v == "advanced", "advanced"),
    ("cache.replicas", lambda s: s.cache.replicas, lambda v: v >= 1, "1 or more replicas"),
    ("cache.snapshot_days", lambda s: s.cache.snapshot_days, lambda v: v >= 7, "7 or more days"),
    ("tokens.recovery_days", lambda s: s.tokens.recovery_days, lambda v: v == 35, "35 days"),
    ("tokens.deletion_protection", lambda s: s.tokens.deletion_protection, bool, "true"),
    ("buckets.force_destroy", lambda s: s.buckets.force_destroy, lambda v: not v, "false"),
    ("buckets.lock_days", lambda s: s.buckets.lock_days, lambda v: v >= 365, "365 or more days"),
    ("buckets.replicate", lambda s: s.buckets.replicate, bool, "true"),
    ("backup.days", lambda s: s.backup.days, lambda v: v >= 35, "35 or more days"),
    ("backup.copy_away", lambda s: s.backup.copy_away, bool, "true"),
    ("backup.lock", lambda s: s.backup.lock, lambda v: v != "none", "GOVERNANCE or COMPLIANCE"),
    ("log_retention_days", lambda s: s.log_retention_days, lambda v: v >= 365, "365 or more days"),
    ("services.gateway.tasks_min", lambda s: s.services.gateway.tasks_min, lambda v: v >= 2, "2 or more tasks"),
    ("services.console.tasks_min", lambda s: s.services.console.tasks_min, lambda v: v >= 2, "2 or more tasks"),
    ("rollout.strategy", lambda s: s.rollout.strategy, lambda v: v != workloads.ROLLING, "blue_green, canary or linear"),
    ("edge.deletion_protection", lambda s: s.edge.deletion_protection, bool, "true"),
    ("watch.emails", lambda s: list(s.watch.emails), bool, "at least one address: somebody must hear an alarm"),
    ("watch.probe_minutes", lambda s: s.watch.probe_minutes, lambda v: 0 < v <= 5, "1, 2 or 5"),
    ("key_environment", lambda s: s.key_environment, lambda v: v == "live", "live"),
)


def _disagreements(settings: Settings, stack: str) -> Iterator[tuple[str, str]]:
    """Key and message of each value that is possible alone, but not with the others."""
    live = ENVIRONMENTS[-1]
    if settings.environment != stack:
        yield "environment", f"is {shown(settings.environment)}; allowed: {stack}, the name of the stack"
        return  # The other rules would speak of the wrong environment.
    if settings.environment == live:
        for key, value, will_do, words in _LIVE:
            if not will_do(value(settings)):
                yield key, f"is {shown(value(settings))}; allowed in {live}: {words}"
    elif settings.key_environment == "live":
        yield "key_environment", f"is 'live'; allowed in {settings.environment}: test, for only {live} issues live keys"
    yield from _network(settings)
    if settings.second_region == settings.region:
        yield "second_region", f"is {shown(settings.second_region)}; allowed: another region than region"
    if settings.baseline.block_public_vpcs and not settings.baseline.enabled:
        yield "baseline.block_public_vpcs", "is true; allowed without baseline.enabled: false"
    if settings.baseline.kept_by and settings.baseline.enabled:
        yield "baseline.kept_by", f'is {shown(settings.baseline.kept_by)}; allowed with baseline.enabled: ""'
    if settings.buckets.force_destroy and settings.backup.lock != "none":
        yield (
            "backup.lock",
            f"is {settings.backup.lock}; allowed with buckets.force_destroy: none, for a locked vault cannot be emptied",
        )
    yield from checks.disagreements(settings)
    database, buckets = settings.database, settings.buckets
    if database.storage_gib_max < database.storage_gib:
        yield (
            "database.storage_gib_max",
            f"is {database.storage_gib_max}; allowed: database.storage_gib ({database.storage_gib}) or more",
        )
    if buckets.trail_days < buckets.lock_days:
        yield "buckets.trail_days", f"is {buckets.trail_days}; allowed: buckets.lock_days ({buckets.lock_days}) or more"
    services = settings.services
    sizes: dict[str, sections.Size] = {
        "services.gateway": services.gateway,
        "services.console": services.console,
        "services.migrate": services.migrate,
        **{f"cores.{index}": core for index, core in enumerate(settings.cores)},
    }
    for key, size in sizes.items():
        low, high = MEMORY_MIB[size.cpu]
        if not low <= size.memory_mib <= high or (size.memory_mib > 1024 and size.memory_mib % 1024):
            yield (
                f"{key}.memory_mib",
                f"is {size.memory_mib}; allowed with cpu {size.cpu}: {low} to {high} in steps of 1024",
            )
    for name, scale in (("gateway", services.gateway), ("console", services.console)):
        if scale.tasks_max < scale.tasks_min:
            yield f"services.{name}.tasks_max", f"is {scale.tasks_max}; allowed: tasks_min ({scale.tasks_min}) or more"


def _network(settings: Settings) -> Iterator[tuple[str, str]]:
    """The same for network and account."""
    network = settings.network
    for index, zone in enumerate(network.zones):
        if zone[:-1] != settings.region:
            yield f"network.zones.{index}", f"is {shown(zone)}; allowed: zones of region {settings.region}"
    for key, cidr in (
        ("network.cidr", network.cidr),
        *((f"network.core_networks.{i}", c) for i, c in enumerate(network.core_networks)),
        *((f"webhooks.networks.{i}", c) for i, c in enumerate(settings.webhooks.networks)),
    ):
        try:
            inside = ipaddress.IPv4Network(cidr).is_private
        except ValueError:
            inside = False
        if not inside:
            yield key, f"is {shown(cidr)}; allowed: a private network (RFC 1918) written with its first address"
    if network.core_port_last < network.core_port_first:
        yield (
            "network.core_port_last",
            f"is {network.core_port_last}; allowed: core_port_first ({network.core_port_first}) or more",
        )
    for index, role in enumerate(settings.secrets.operators):
        if role.split(":")[4] != settings.account:
            yield f"secrets.operators.{index}", f"is {shown(role)}; allowed: roles of account {settings.account}"
