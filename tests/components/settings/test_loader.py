"""Loading of a stack file."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi.runtime import Mocks, set_all_config, set_mocks

from components.settings.checks import CHECKS
from components.settings.fields import EnvironmentDefault, Production, Section
from components.settings.loader import SettingsError, load, parse
from components.settings.model import Settings
from tests.cases import cases
from tests.components.program import SUBNETS
from tests.components.settings.stack_settings import (
    CORE,
    DELIVERY,
    each_stack,
    mistakes,
    raw_settings,
    rejected_keys,
)

_CASES = cases(__file__)

STATE_KEY = "arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000"
CERTIFICATE = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
SECRET = CORE["token_secret_arn"]
SECRET_OF_PROD = SECRET.replace("/dev/", "/prod/")
OIDC = {
    "issuer": "https://login.example.com",
    "audience": "gatehouse",
    "roles": ["platform=owner", "on-call=operator"],
}


@each_stack
def test_stack_file_is_accepted(stack: str) -> None:
    assert parse(raw_settings(stack), stack).environment == stack


class NoResources(Mocks):
    def new_resource(self, args: Any) -> tuple[str | None, dict[Any, Any]]:
        return args.name, {}

    def call(self, args: Any) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError


def test_encrypted_setting_is_rejected_without_its_value() -> None:
    async def load_settings() -> None:
        raw = json.dumps(raw_settings("dev", {"owner": "hunter2"}))
        set_all_config({"gatehouse:settings": raw}, ["gatehouse:settings"])
        set_mocks(NoResources(), project="gatehouse", stack="dev")
        with pytest.raises(
            SettingsError, match="contains an encrypted value; allowed: plain values"
        ) as error:
            load()
        assert "hunter2" not in str(error.value)

    asyncio.run(load_settings())


def test_environment_is_the_name_of_the_stack_by_default() -> None:
    raw = raw_settings("staging")
    del raw["environment"]
    settings = parse(raw, "staging")
    assert (settings.environment, settings.stack, settings.log_retention_days) == (
        "staging",
        "staging",
        90,
    )


def test_stack_of_its_own_name_requires_an_environment() -> None:
    raw = raw_settings("dev")
    del raw["environment"]
    assert mistakes("pr12", raw) == ["environment is missing; allowed: dev, staging, prod"]


def test_stack_of_its_own_name_follows_the_rules_of_prod() -> None:
    raw = raw_settings("prod", {"protection.protect": False})
    assert mistakes("eu", raw) == ["protection.protect is false; allowed in prod: true"]


@pytest.mark.parametrize("stack", ["pr-12", "Alice", "a", "ninechars", "1a", "account", "pulumi"])
def test_invalid_stack_name_is_rejected(stack: str) -> None:
    words = (
        "2 to 8 lowercase letters and digits, starting with a letter, such as alice or "
        "pr12, but not account or pulumi"
    )
    assert mistakes(stack, raw_settings("dev")) == [
        f"the name of the stack is {stack!r}; allowed: {words}"
    ]


VALID: list[Any] = [
    *_CASES["valid"],
    {"cores": [CORE]},
    {"cores": [CORE, {**CORE, "name": "b", "port": 9001}]},
    {
        "oidc": {
            **OIDC,
            "client_id": "console",
            "client_secret_arn": SECRET,
            "scopes": "email openid",
        }
    },
    {"delivery": {**DELIVERY, "state_key_arn": STATE_KEY}},
]


@pytest.mark.parametrize("changes", VALID)
def test_valid_change_is_accepted(changes: dict[str, Any]) -> None:
    assert rejected_keys("dev", changes) == []


INVALID: dict[str, tuple[Any, ...]] = {
    "account": (123456789012, "1234"),
    "environment": ("test", "prod"),
    "region": ("ireland", "us-gov-west-1", "cn-north-1", "us-iso-east-1"),
    "key_prefix": ("GTK", "ghp_x"),
    "name_prefix": ("Acme", "acme-", "a--b", "1a", "aws-acme", "internal", "p" * 16),
    "log_retention_days": (31,),
    "protection.protect": ("yes", 1),
    "network.zones": (["eu-west-1a"], ["eu-west-1a", "eu-west-1a"], "eu-west-1a"),
    "secrets.rotation_schedule": ("rate(30 days)", "cron(0 22 1 * ? *)", "cron(5 9 1 * ? *)"),
    "secrets.recovery_window_days": (1, 6, 31, False),
    "database.engine_version": (17, "15", "17.4"),
    "database.storage_max_gib": (20.5,),
    "buckets.trail_retention_days": (None,),
    "services.gateway": (3,),
    "services.console.workers": (2,),
    "cores": ("files",),
    "oidc.issuer": ("http://login.example.com",),
    "oidc.roles": (["platform=king"],),
    "oidc.client_id": ("a b", ""),
    "oidc.scopes": ("profile", "openid  email", None),
    "legacy_files": (["s3://old-bucket/*.json"],),
    "environment_variables": (["PATH=/bin"],),
    "delivery.repository": ("https://github.com/example/gatehouse", "example/*"),
    "unknown": (True,),
}
"""Values that each kind of check rejects."""


@pytest.mark.parametrize(
    ("path", "value"), [(path, value) for path, values in INVALID.items() for value in values]
)
def test_invalid_value_is_rejected(path: str, value: Any) -> None:
    assert rejected_keys("dev", {path: value}) == [path]


def test_ciphertext_is_not_shown() -> None:
    (message,) = mistakes("dev", raw_settings("dev", {"owner": {"secure": "v1:canary"}}))
    assert message.startswith("owner is an encrypted value; allowed: ")


def setting(check: str, key: str, *values: Any) -> list[tuple[str, dict[str, Any], str]]:
    """Values of a setting that are rejected. A key that ends in ".0" is an item of a list."""
    name, first, _ = key.partition(".0")
    return [(check, {name: [value] if first else value}, key) for value in values]


def core(key: str, value: Any, check: str = "cores") -> tuple[str, dict[str, Any], str]:
    return check, {"cores": [{**CORE, key: value}]}, f"cores.0.{key}"


SUBNETS_OF_ZONES = {tier: SUBNETS[tier][:2] for tier in SUBNETS}
VPC_CHANGES: dict[str, Any] = {
    "network.nat": "none",
    "network.cidr": "",
    "existing_resources": {"vpc_id": "vpc-0123456789abcdef0"},
}
# Check, changes, rejected key. Values that are valid alone.
CONFLICTS: list[Any] = [
    *_CASES["conflicts"],
    *(
        (
            "internet_access",
            {"network.nat": "none", "notifications": {"public_webhooks": False}, **more},
            "network.nat",
        )
        for more in ({"oidc": OIDC}, {"cores": [CORE]})
    ),
    *(
        ("existing_subnets", {"network.subnets": subnets, **VPC_CHANGES, **more}, key)
        for subnets, more, key in (
            ({**SUBNETS_OF_ZONES, "data": ["subnet-00000000"]}, {}, "network.subnets.data"),
            (SUBNETS_OF_ZONES, {"existing_resources": {}}, "existing_resources.vpc_id"),
            (SUBNETS_OF_ZONES, {"network.nat": "one"}, "network.nat"),
            (SUBNETS_OF_ZONES, {"network.cidr": "10.20.0.0/16"}, "network.cidr"),
        )
    ),
    ("existing_subnets", {"network.cidr": ""}, "network.cidr"),
    (
        "internal_load_balancer",
        {
            "load_balancer": {"internal": True, "client_networks": ["10.0.0.0/8"]},
            "services.console.hosting": "cloudfront",
        },
        "services.console.hosting",
    ),
    ("task_sizes", {"cores": [{**CORE, "tasks_min": 3}]}, "cores.0.tasks_max"),
    core("memory_mib", 4096, "task_sizes"),
    core("name", "gateway"),
    ("cores", {"cores": [CORE, {**CORE, "port": 9001}]}, "cores.1.name"),
    core("port", 8081),
    ("cores", {"cores": [CORE, {**CORE, "name": "b"}]}, "cores.1.port"),
    core("token_secret_arn", SECRET_OF_PROD),
    (
        "existing_resources",
        {"existing_resources": {"certificate_arn": CERTIFICATE.replace("eu-west-1", "us-east-1")}},
        "existing_resources.certificate_arn",
    ),
    (
        "combinations",
        {"delivery": {"repository": "example/gatehouse", "state_key_arn": STATE_KEY}},
        "delivery.state_key_arn",
    ),
    ("combinations", {"oidc": {**OIDC, "audience": None}}, "oidc.audience"),
    ("combinations", {"oidc": {**OIDC, "client_secret_arn": SECRET}}, "oidc.client_secret_arn"),
    (
        "oidc",
        {"oidc": {**OIDC, "client_id": "c", "client_secret_arn": SECRET_OF_PROD}},
        "oidc.client_secret_arn",
    ),
]


@pytest.mark.parametrize(("check", "changes", "key"), CONFLICTS)
def test_conflict_between_settings_is_rejected(
    check: str, changes: dict[str, Any], key: str
) -> None:
    assert rejected_keys("dev", changes) == [key]


def test_every_check_has_a_case() -> None:
    assert {check.__name__ for check in CHECKS} == {check for check, *_ in CONFLICTS}


@pytest.mark.parametrize("environment", ["dev", "staging"])
def test_prod_requires_its_own_defaults(environment: str) -> None:
    rules = dict(production_rules())
    assert len(rules) > 25
    weaker = {
        path: default.of(environment)
        for path, (default, rule) in rules.items()
        if isinstance(default, EnvironmentDefault) and not rule.accepts(default.of(environment))
    }
    assert rejected_keys("prod", weaker) == list(weaker) != []


def production_rules(
    model: type[Section] = Settings, path: str = ""
) -> Iterator[tuple[str, tuple[Any, Production]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from production_rules(field.annotation, f"{path}{name}.")
        for rule in field.metadata:
            if isinstance(rule, Production):
                yield f"{path}{name}", (field.default, rule)


def test_all_mistakes_are_reported_at_once() -> None:
    changes = {
        "database.multi_az": False,
        "database.backup_retention_days": 34,
        "cache.replicas": 0,
        "monitoring.emails": [],
        "waf.console_requests_max": 300_000,
    }
    assert sorted(rejected_keys("prod", changes)) == sorted(changes)


MESSAGES: list[Any] = [
    *_CASES["messages"],
    ({"database.multi_az": None}, "database.multi_az is empty; allowed: true or false"),
    (
        {"waf.requets_max": 1},
        "waf.requets_max is not a setting; allowed here: console_networks, "
        "console_requests_max, enabled, requests_max, "
        "sharing_requests_max. Did you mean requests_max?",
    ),
    (
        {"waf": {1: 1}},
        "waf.1 is not a setting; allowed here: console_networks, "
        "console_requests_max, enabled, requests_max, "
        "sharing_requests_max",
    ),
    (
        {"owner": "x" * 500},
        f"owner is '{'x' * 56}...; allowed: the team responsible for the stack, 2 to 64 characters",
    ),
]


@pytest.mark.parametrize(("changes", "message"), MESSAGES)
def test_message_names_key_value_and_allowed_values(changes: dict[str, Any], message: str) -> None:
    assert mistakes("dev", raw_settings("dev", changes))[0] == message


def test_missing_keys_are_named_with_allowed_values() -> None:
    raw = raw_settings("dev")
    del raw["owner"], raw["budget"], raw["image"]["digest"]
    assert mistakes("dev", raw) == [
        "owner is missing; allowed: the team responsible for the stack, 2 to 64 characters",
        'image.digest is missing; allowed: "sha256:" and 64 hexadecimal digits, as printed by '
        "docker push",
        "budget.monthly_usd is missing; allowed: an integer from 1 to 1000000 (USD a month)",
    ]


@pytest.mark.parametrize(("raw", "value"), [(None, "empty"), ("dev", "'dev'"), ([], "[]")])
def test_settings_must_be_a_mapping(raw: Any, value: str) -> None:
    assert mistakes("dev", raw) == [
        f"gatehouse:settings is {value}; allowed: a mapping, as in Pulumi.dev.yaml"
    ]
