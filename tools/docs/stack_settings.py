"""docs/settings.md: every key of a stack file, from the model that loads it."""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic.fields import FieldInfo

from components.settings import model, sections
from components.settings.validators import Allowed
from tools.docs.markdown import prose, table

STACK = "dev"
EXAMPLE = """\
config:
  pulumi:disable-default-providers: ["*"]
  gatehouse:settings:
    environment: dev
    owner: platform
    cost_centre: "4200"
    account: "123456789012"
    region: eu-west-1
    second_region: eu-central-1
    domain: dev.gatehouse.example.com
    key_prefix: gtk
    key_environment: test
    log_level: info
    log_retention_days: 30
    keep: {protect: false, retain: false}
    network:
      cidr: "10.20.0.0/16"
      zones: [eu-west-1a, eu-west-1b]
      nat: one
      core_networks: ["10.99.0.0/16"]
      core_port_first: 8000
      core_port_last: 8999
      endpoint_zones: one
      exec_endpoints: false
    keys: {rotation_days: 365, deletion_window_days: 7}
    secrets:
      rotation_days: 30
      recovery_window_days: 7
      operators: ["arn:aws:iam::123456789012:role/gatehouse-dev-operator"]
    database:
      engine_version: "17"
      instance_class: db.t4g.micro
      storage_gib: 20
      storage_gib_max: 50
      multi_az: false
      recovery_days: 7
      deletion_protection: false
      final_snapshot: false
      monitoring_interval_s: 0
      slow_query_threshold_ms: 500
      insights: standard
      proxy: false
    cache: {engine_version: "8.0", node_type: cache.t4g.micro, replicas: 0, snapshot_days: 1}
    tokens: {recovery_days: 7, deletion_protection: false}
    buckets:
      noncurrent_days: 7
      log_days: 30
      trail_days: 90
      lock_days: 1
      lock_mode: GOVERNANCE
      force_destroy: true
      replicate: false
    image: {digest: "sha256:0000000000000000000000000000000000000000000000000000000000000000", kept: 10}
    services:
      gateway: {cpu: 256, memory_mib: 1024, tasks_min: 1, tasks_max: 2, workers: 1, cpu_target_percent: 60, requests_target: 60000}
      console: {cpu: 256, memory_mib: 1024, tasks_min: 1, tasks_max: 2, cpu_target_percent: 60, requests_target: 6000}
      migrate: {cpu: 256, memory_mib: 512}
    rollout: {strategy: rolling, bake_minutes: 0, step_percent: 10, step_minutes: 1}
    telemetry: {collector: none}
    cores:
      - name: files
        image: "sha256:1111111111111111111111111111111111111111111111111111111111111111"
        port: 9000
        cpu: 256
        memory_mib: 512
        tasks_min: 1
        tasks_max: 2
        cpu_target_percent: 60
        health: [python, health.py]
        token_arn: arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/core-files-token-AbCdEf
    sharing: {form: container, memory_mib: 1024, concurrency: 10, requests_s_max: 50, log_role: false}
    sign_in:
      issuer: https://login.example.com
      audience: gatehouse
      jwks_url: none
      claim: groups
      roles: [platform=owner, on-call=operator]
    webhooks: {public: true, topic_arn: none, networks: []}
    leaks: {secret_arn: none}
    moving: {legacy_files: ["s3://old-bucket/api_keys.json"]}
    variables: ["GATEHOUSE_LIMIT_ON_ERROR=refuse"]
    edge: {deletion_protection: false, requests_max: 20000, console_requests_max: 2000, sharing_requests_max: 1000}
    watch:
      emails: []
      rejected_max: 1000
      runbooks_url: https://github.com/example/gatehouse/blob/main/docs/runbooks
      probe_minutes: 5
      latency_s_max: 1
      errors_max: 50
    backup: {days: 7, copy_away: false, lock: none}
    budget: {monthly_usd: 200, anomaly_usd: 20}
    baseline: {enabled: false, kept_by: gatehouse/prod, block_public_vpcs: false}
    deployer: {repository: example/gatehouse, provider: true, state_bucket: gatehouse-pulumi-state, state_key: none}
"""
RULES: tuple[tuple[str, str, Any], ...] = (
    # what must hold, then a value that breaks it in the example: the loader's own answer stands beside it
    ("`environment` is the name of the stack", "environment", "prod"),
    ("only prod has live keys", "key_environment", "live"),
    ("zones lie in `region`", "network.zones", ["eu-west-1a", "eu-central-1a"]),
    ("`network.cidr` and `network.core_networks` are private", "network.core_networks", ["8.8.8.0/24"]),
    ("copies go to another region", "second_region", "eu-west-1"),
    ("a vault that may be emptied is not locked", "backup.lock", "GOVERNANCE"),
    ("one switch turns the account's guards on", "baseline.block_public_vpcs", True),
    ("one stack sets them, another says which", "baseline.enabled", True),
    ("the range of Core ports is not empty", "network.core_port_last", 7999),
    ("operators belong to `account`", "secrets.operators", ["arn:aws:iam::210987654321:role/ops"]),
    ("storage grows, it does not shrink", "database.storage_gib", 100),
    ("the trail is kept for as long as it is locked", "buckets.lock_days", 91),
    ("Fargate sells that much memory with that `cpu`", "services.gateway.memory_mib", 8192),
    (
        "a rollout ends within a working day",
        "rollout",
        {"strategy": "linear", "bake_minutes": 30, "step_percent": 3, "step_minutes": 60},
    ),
    ("a Core has a name of its own", "cores.0.name", "gateway"),
    ("a Core has a port of its own", "cores.0.port", 8081),
    ("there is room between a Core's `tasks_min` and `tasks_max`", "cores.0.tasks_min", 3),
    (
        "a Core's key lies in this environment",
        "cores.0.token_arn",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/prod/files-AbCdEf",
    ),
    ("Cores, the collector, webhooks and sign-in have a way out", "network.nat", "none"),
    ("whoever signs in does so with a token for us", "sign_in.audience", "none"),
    ("whoever signs in gets a role", "sign_in.roles", []),
    (
        "the secret of leak reports lies in this environment",
        "leaks.secret_arn",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/prod/leaks-AbCdEf",
    ),
    ("a variable is one of the runtime that no key sets", "variables", ["GATEHOUSE_PEPPER=x"]),
    ("a door's own rate is below the common one", "edge.sharing_requests_max", 30000),
    ("a function answers what its API lets pass", "sharing.requests_s_max", 101),
    ("only a stack with an API sets the role of its logs", "sharing.log_role", True),
    ("there is room between `tasks_min` and `tasks_max`", "services.gateway.tasks_min", 3),
    (
        "whoever trusts GitHub says which repository",
        "deployer",
        {"repository": "none", "provider": True, "state_bucket": "none", "state_key": "none"},
    ),
    (
        "a bucket of state is for the pipeline's roles",
        "deployer",
        {"repository": "none", "provider": False, "state_bucket": "state", "state_key": "none"},
    ),
    (
        "a key of state belongs to a bucket of state",
        "deployer",
        {
            "repository": "example/gatehouse",
            "provider": False,
            "state_bucket": "none",
            "state_key": "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000",
        },
    ),
)
HEAD = """# Settings of a stack

Every key under `gatehouse:settings` in a stack file (`Pulumi.dev.yaml`, `Pulumi.staging.yaml`, `Pulumi.prod.yaml`). All of them
must be written, none has a default, so that the file alone says what is deployed; a missing, unknown or wrong key is refused
before anything is planned. "Prod" in a row is what the stack prod must say.
"""
TYPES = {str: "text", int: "number", bool: "flag"}


def leaves(section: type[sections.Section] = model.Settings, path: str = "") -> Iterator[tuple[str, str, FieldInfo, str]]:
    """Path of the section, key, field and meaning of everything that can be written in a stack file."""
    for name, field in section.model_fields.items():
        inner = _section(field)
        if inner is None:
            yield path, name, field, _meaning(section, name)
    for name, field in section.model_fields.items():
        inner = _section(field)
        if inner is not None:
            yield from leaves(inner, f"{path}{name}.")


def about(path: str) -> str:
    """Description of a section: that of the field that holds it, or else the docstring of its class."""
    section: type[sections.Section] = model.Settings
    text = inspect.getdoc(section) or ""
    for name in path.split(".")[:-1]:
        field = section.model_fields[name]
        section = _section(field) or section
        text = field.description or inspect.getdoc(section) or ""
    return text


def example() -> dict[str, Any]:
    """The settings of the example, as YAML reads them."""
    return dict(yaml.safe_load(EXAMPLE)["config"]["gatehouse:settings"])


def answer(key: str, value: Any) -> list[str]:
    """What the loader says to the example with one value replaced; empty when it takes it."""
    raw = copy.deepcopy(example())
    *parts, last = key.split(".")
    target: Any = raw
    for part in parts:
        target = target[int(part)] if part.isdigit() else target[part]
    target[last] = value
    try:
        model.parse(raw, STACK)
    except model.SettingsError as refused:
        return [line.removeprefix("  - ") for line in str(refused).splitlines()[1:]]
    return []


def page() -> str:
    """The whole text of docs/settings.md."""
    live = {key: words for key, _, _, words in model._LIVE}
    rows: dict[str, list[tuple[str, ...]]] = {}
    for path, name, field, meaning in leaves():
        prod = f". Prod: {live[path + name]}" if path + name in live else ""
        rows.setdefault(path, []).append((f"`{path}{name}`", _type(field), prose(allowed(field) + prod), prose(meaning)))
    parts = [HEAD]
    for path, lines in rows.items():
        title = f"## `{path[:-1]}`" if path else "## The stack"
        parts.append(f"{title}\n\n{prose(about(path))}\n\n{table(('key', 'type', 'allowed', 'meaning'), lines)}\n")
    sizes = ((str(cpu), f"{low} to {high}") for cpu, (low, high) in model.MEMORY_MIB.items())
    broken = ((rule, f"`{line}`") for rule, key, value in RULES for line in answer(key, value))
    parts += [
        "## Rules between values\n\nEach is shown with the answer to a value that breaks it in the example below.\n",
        table(("rule", "answer"), broken) + "\n",
        "Memory that goes with a number of CPU units, above 1024 MiB in steps of 1024:\n",
        table(("cpu", "memory_mib"), sizes) + "\n",
        f"## A complete example\n\n`Pulumi.{STACK}.yaml`:\n\n```yaml\n{EXAMPLE}```\n",
    ]
    return "\n".join(parts)


def allowed(field: FieldInfo) -> str:
    """What a value may be, in the words with which the loader refuses another."""
    checks = (getattr(item, "func", None) for item in field.metadata)
    return next((check.words for check in checks if isinstance(check, Allowed)), "")


def _section(field: FieldInfo) -> type[sections.Section] | None:
    """The section of a field, or that of each entry of a list."""
    kinds = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, sections.Section)), None)


def _type(field: FieldInfo) -> str:
    return next((word for kind, word in TYPES.items() if kind is field.annotation), "list")


def _meaning(model: type[sections.Section], name: str) -> str:
    """The field's description, or the text that stands under the field, in the class that declares it."""
    owner = next(base for base in model.__mro__ if name in inspect.get_annotations(base))
    return model.model_fields[name].description or _texts_below(owner).get(name, "")


def _texts_below(owner: type) -> dict[str, str]:
    declared = ast.parse(inspect.getsource(owner)).body[0]
    if not isinstance(declared, ast.ClassDef):
        raise TypeError(owner)
    return {
        field.target.id: str(below.value.value)
        for field, below in zip(declared.body, declared.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
    }
