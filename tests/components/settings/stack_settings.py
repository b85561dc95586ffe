"""Settings of the repository's stacks with changes, and mistakes."""

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings.account import GuardsSettings
from components.settings.loader import SettingsError, parse, parse_account

ROOT = Path(__file__).resolve().parents[3]
STACKS = ("dev", "staging", "prod")


def raw_settings(stack: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return _changed(ROOT / f"Pulumi.{stack}.yaml", "gatehouse:settings", changes)


def raw_account_settings(
    changes: dict[str, Any] | None = None, *, guards: bool = False
) -> dict[str, Any]:
    """`gatehouse-account:settings`, with or without all guards, and with changes."""
    changes = {"guards": dict.fromkeys(GUARDS, guards), **(changes or {})}
    return _changed(ROOT / "account" / "Pulumi.main.yaml", "gatehouse-account:settings", changes)


def _changed(file: Path, key: str, changes: dict[str, Any] | None) -> dict[str, Any]:
    settings: dict[str, Any] = copy.deepcopy(_document(file)["config"][key])
    for path, value in (changes or {}).items():
        *sections, name = path.split(".")
        target = settings
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = copy.deepcopy(value)
    return settings


@functools.cache
def _document(file: Path) -> dict[str, Any]:
    """Parsing a stack file takes 20 ms, and hundreds of tests change its settings."""
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


def mistakes(stack: str, raw: Any) -> list[str]:
    return _messages(f"Pulumi.{stack}.yaml", lambda: parse(raw, stack))


def account_mistakes(raw: Any) -> list[str]:
    return _messages("account/Pulumi.main.yaml", lambda: parse_account(raw, "main"))


def _messages(file: str, parse_file: Callable[[], object]) -> list[str]:
    try:
        parse_file()
    except SettingsError as error:
        head, *lines = str(error).splitlines()
        assert head == f"{file} has {len(lines)} mistake{'s' if len(lines) > 1 else ''}:"
        return [line.removeprefix("  - ") for line in lines]
    return []


def rejected_keys(stack: str, changes: dict[str, Any]) -> list[str]:
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
    "token_secret_arn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"
    "gatehouse/dev/core-files-token-AbCdEf",
}
"""An entry of the setting `cores`."""
GUARDS = tuple(GuardsSettings.model_fields)
"""Names of the guards of the account."""
DELIVERY = {
    "repository": "acme/gatehouse",
    "create_oidc_provider": True,
    "state_bucket": "acme-pulumi-state",
}
"""The setting `delivery` of a stack with a pipeline. The stack files have none."""
ACCOUNT_RESOURCES: dict[str, Any] = {"delivery": DELIVERY}
"""Changes with which a stack creates the resources of the account that no stack file enables,
except the guards.
"""
each_stack = pytest.mark.parametrize("stack", STACKS)
