"""Reads the configuration file of a repository that uses the packs: its Regions, tags, public
routes, levels and stacks.

Values of the file replace the defaults of the rules. Values that the file does not set keep their
defaults.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatehouse_policies import catalogue
from gatehouse_policies.engine.rule import ENVIRONMENTS, Control, Level, Rule
from gatehouse_policies.errors import CheckError

LISTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "regions": (("GH-PUL-003", "regions"),),
    "required_tags": (("GH-TAG-001", "tags"),),
    "public_routes": (("GH-API-002", "public"),),
    "harmless_names": tuple(
        (rule, "harmless") for rule in ("GH-ECS-005", "GH-LAM-003", "GH-SM-008")
    ),
    "repositories": (("GH-IAM-005", "repositories"),),
    "load_balancer_groups": (("GH-VPC-004", "load_balancer_groups"),),
}
"""Keys of the file that are lists of strings, each with the rules and parameters that the list
replaces.
"""

_TABLES = ("levels", "stack_config")
_LEVELS = tuple(level.value for level in Level)
_REASON = "reason"

# The fix for each message of the TOML parser, found by a part of the message.
_TOML_FIXES = {
    "overwrite": "The key is set twice; delete one of the lines.",
    "twice": "The table is declared twice; move its keys into one table.",
    "Illegal character": "A string probably has no closing quotation mark; add it.",
    "Expected '='": "Write keys as key = value.",
    "Invalid value": "Write strings in quotation marks.",
}
# https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html and the Regions
# of the other partitions.
_REGION = re.compile(
    r"[a-z]{2,4}(-[a-z]{2,4})?-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9]"
)
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")

RuleConfig = Mapping[str, Any]


@dataclass(frozen=True)
class Configuration:
    """The contents of a configuration file.

    name: the file, for reports.
    rules: for each environment, the level and the parameters of each rule that the file changes, in
        the format of `--policy-pack-config`.
    reasons: for each environment, the reasons for the levels of rules, keyed by rule.
    stack_config: example values of configuration keys that are encrypted or in Pulumi ESC.
    """

    name: str = ""
    rules: Mapping[str, Mapping[str, RuleConfig]] = field(default_factory=dict)
    stack_config: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of_pack(self, pack: str, environment: str) -> dict[str, dict[str, Any]]:
        """The complete configuration of "security" or "resilience" in an environment: the defaults
        and the changes.
        """
        config = catalogue.level_config(pack, environment)
        changes = self.rules.get(environment, {})
        return {id: {**values, **changes.get(id, {})} for id, values in config.items()}


def read(file: Path | None) -> Configuration:
    """Reads a file; the defaults without a file. Raises CheckError for an invalid file."""
    if file is None:
        return Configuration()
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CheckError(
            f"{file} cannot be read: {error.strerror}. Specify a TOML file."
        ) from error
    except UnicodeDecodeError as error:
        raise CheckError(
            f"{file} is not UTF-8 text. Save the file with the encoding UTF-8."
        ) from error
    except ValueError as error:
        fix = next(
            (fix for text, fix in _TOML_FIXES.items() if text in str(error)), "Correct the line."
        )
        raise CheckError(f"{file} is not valid TOML: {error}. {fix}") from error
    place = file.name
    if unknown := sorted(set(document) - set(LISTS) - set(_TABLES)):
        raise CheckError(
            f"{place}: unknown key {unknown[0]!r}. Keys: {', '.join([*LISTS, *_TABLES])}."
        )
    for name in _TABLES:
        if not isinstance(document.get(name, {}), dict):
            raise CheckError(f"{place}: {name} must be a table. Write [{name}].")
    levels = document.get("levels", {})
    lists = _lists(document, place)
    common = {id: value for id, value in levels.items() if id not in ENVIRONMENTS}
    rules = {}
    for environment in ENVIRONMENTS:
        own = levels.get(environment, {})
        if not isinstance(own, dict):
            raise CheckError(
                f"{place}: levels.{environment} must be a table. Write [levels.{environment}]."
            )
        rules[environment] = _merged(
            lists,
            {id: _rule_config(id, value, f"{place}: levels.{id}") for id, value in common.items()},
            {
                id: _rule_config(id, value, f"{place}: levels.{environment}.{id}")
                for id, value in own.items()
            },
        )
    reasons = {
        environment: {id: config.pop(_REASON) for id, config in own.items() if _REASON in config}
        for environment, own in rules.items()
    }
    return Configuration(place, rules, document.get("stack_config", {}), reasons)


def _lists(document: Mapping[str, Any], place: str) -> dict[str, dict[str, Any]]:
    config: dict[str, dict[str, Any]] = {}
    for key, parameters in LISTS.items():
        if key not in document:
            continue
        _check_items(key, _strings(document[key], f"{place}: {key}"), f"{place}: {key}")
        for id, parameter in parameters:
            config.setdefault(id, {})[parameter] = _strings(document[key], f"{place}: {key}")
    return config


def _check_items(key: str, items: list[str], place: str) -> None:
    """Raises CheckError for a value that no Region or repository can have."""
    if key == "regions" and not items:
        raise CheckError(
            f"{place} is empty, so no Region is allowed. Add a Region, or delete the key."
        )
    for item in items:
        if key == "regions" and not _REGION.fullmatch(item):
            raise CheckError(
                f'{place}: {item!r} is not the code of a Region. Write a code such as "eu-west-1".'
            )
        if key == "repositories" and not _REPOSITORY.fullmatch(item):
            raise CheckError(
                f"{place}: {item!r} is not a repository. Write the owner and the name, such as "
                f'"acme/shop".'
            )


def _merged(*configs: Mapping[str, RuleConfig]) -> dict[str, dict[str, Any]]:
    merged: dict[str, dict[str, Any]] = {}
    for config in configs:
        for id, values in config.items():
            merged[id] = {**merged.get(id, {}), **values}
    return merged


def _rule_config(id: str, value: Any, place: str) -> dict[str, Any]:
    """The level and the parameters of one rule. A string is a level."""
    config = {"enforcementLevel": value} if isinstance(value, str) else value
    if not isinstance(config, dict):
        raise CheckError(
            f'{place} must be a level such as "advisory", or a table with enforcementLevel.'
        )
    if not config:
        raise CheckError(f'{place} is empty. Write a level such as "advisory", or a parameter.')
    if any(catalogue.find(name) for name in config):
        tables = ", ".join(f"[levels.{name}]" for name in ENVIRONMENTS)
        raise CheckError(f"{place}: {id!r} is not an environment. Write one of {tables}.")
    if config.get("enforcementLevel", "advisory") not in _LEVELS:
        raise CheckError(
            f"{place}: the level must be one of {', '.join(_LEVELS)}, not "
            f"{config['enforcementLevel']!r}."
        )
    control = catalogue.find(id)
    config = _with_reason(id, config, control, place)
    if control is not None:
        _check_parameters(id, control, config, place)
    elif id.startswith("GH-"):
        raise CheckError(f"{place}: there is no rule {id}. Copy the ID from a report.")
    elif catalogue.find(id.upper()) is not None:
        raise CheckError(f"{place}: there is no rule {id}. Write {id.upper()}.")
    return config


def _with_reason(
    id: str, config: RuleConfig, control: Control | None, place: str
) -> dict[str, Any]:
    """The values with the reason for the level, "" for a level without one, so that the level of an
    environment does not keep the reason of the common level.
    """
    reason = config.get(_REASON, "")
    if not isinstance(reason, str) or (_REASON in config and not reason.strip()):
        raise CheckError(f"{place}.{_REASON} must be a text that is not empty.")
    if _REASON in config and "enforcementLevel" not in config:
        raise CheckError(
            f"{place}: {_REASON} is the reason for a level. Add enforcementLevel, or delete it."
        )
    if config.get("enforcementLevel") == Level.DISABLED:
        if control is not None and not control.can_be_disabled:
            why = (
                "is critical and has no exemptions"
                if isinstance(control, Rule)
                else "reports what the other controls did not evaluate"
            )
            raise CheckError(
                f'{place}: {id} cannot be disabled, because it {why}. Write "advisory", or delete '
                f"the line."
            )
        if not reason:
            raise CheckError(
                f"{place}: a disabled control needs a reason, which every report shows. Write "
                f'{id} = {{ enforcementLevel = "disabled", reason = "..." }}.'
            )
    if "enforcementLevel" not in config:
        return dict(config)
    return {**config, _REASON: " ".join(reason.split())}


def _check_parameters(id: str, control: Control, config: Mapping[str, Any], place: str) -> None:
    numbers, lists = (control.settings, control.lists) if isinstance(control, Rule) else ({}, {})
    for name, parameter in config.items():
        if name in lists:
            _strings(parameter, f"{place}.{name}")
        elif name in numbers:
            is_number = isinstance(parameter, int | float) and not isinstance(parameter, bool)
            if not is_number or not 0 <= parameter < math.inf:
                raise CheckError(f"{place}.{name} must be a number that is not negative.")
        elif name not in ("enforcementLevel", _REASON):
            known = ", ".join(["enforcementLevel", *numbers, *lists])
            raise CheckError(f"{place}: {id} has no parameter {name!r}. Parameters: {known}.")


def _strings(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise CheckError(f'{place} must be a list of strings, such as ["a", "b"].')
    if padded := next((item for item in value if item != item.strip()), None):
        raise CheckError(f"{place}: {padded!r} begins or ends with a space. Delete the space.")
    return value
