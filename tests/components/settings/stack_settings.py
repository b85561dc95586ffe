"""Settings of the stacks in the repository, with changes, and the mistakes that the loader reports."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.loader import SettingsError, parse
from components.settings.operations import AccountBaselineSettings

ROOT = Path(__file__).resolve().parents[3]
STACKS = ("dev", "staging", "prod")


def raw_settings(stack: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """`gatehouse:settings` of a stack file, with the value at each dotted path replaced or added."""
    document = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))
    settings: dict[str, Any] = copy.deepcopy(document["config"]["gatehouse:settings"])
    for path, value in (changes or {}).items():
        *sections, key = path.split(".")
        target = settings
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return settings


def mistakes(stack: str, raw: Any) -> list[str]:
    """The messages of the SettingsError, without the first line; empty if the settings are accepted."""
    try:
        parse(raw, stack)
    except SettingsError as error:
        head, *lines = str(error).splitlines()
        assert head == f"Pulumi.{stack}.yaml has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:"
        return [line.removeprefix("  - ") for line in lines]
    return []


def rejected_keys(stack: str, changes: dict[str, Any]) -> list[str]:
    """The keys that the loader rejects in the changed settings."""
    return [message.partition(" ")[0] for message in mistakes(stack, raw_settings(stack, changes))]


CORE: dict[str, Any] = {
    "name": "files",
    "image_digest": "sha256:" + "1" * 64,
    "port": 9000,
    "cpu": 256,
    "memory_mib": 512,
    "tasks_min": 1,
    "tasks_max": 2,
    "health_command": ["python", "health.py"],
    "token_secret_arn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/core-files-token-AbCdEf",
}
"""An entry of the setting `cores`."""
GUARDS = tuple(name for name, field in AccountBaselineSettings.model_fields.items() if field.annotation is bool)
"""Names of the guards in `account_baseline`."""
DELIVERY = {"repository": "acme/gatehouse", "create_oidc_provider": True, "state_bucket": "acme-pulumi-state"}
"""The setting `delivery` of a stack with a pipeline. The stack files have none."""
ACCOUNT_RESOURCES: dict[str, Any] = {
    "account_baseline": dict.fromkeys(GUARDS, True),
    "budget.anomalies": "tag",
    "delivery": DELIVERY,
}
"""Changes with which a stack creates all resources of the account that no stack file enables."""
each_stack = pytest.mark.parametrize("stack", STACKS)
