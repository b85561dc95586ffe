"""Reads the configuration file of a repository that uses the packs: its Regions, tags, public
routes, levels, stacks, baseline and exemptions.

Values of the file replace the defaults of the rules. Values that the file does not set keep their
defaults.
"""

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from pulumi_local.errors import CommandError

from gatehouse_policies import catalogue
from gatehouse_policies.engine.exemptions import TOTAL_DAYS_MAX, reason_error
from gatehouse_policies.engine.rule import ENVIRONMENTS, Control, Level, Rule

LISTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "regions": (("GH-PUL-003", "regions"),),
    "required_tags": (("GH-TAG-001", "tags"),),
    "public_routes": (("GH-API-002", "public"),),
    "harmless_names": tuple(
        (rule, "harmless") for rule in ("GH-ECS-005", "GH-LAM-003", "GH-SM-008")
    ),
    "repositories": (("GH-IAM-005", "repositories"),),
    "accounts": tuple(
        (rule.id, "accounts") for rule in catalogue.RULES if "accounts" in rule.lists
    ),
    "hosts": (("GH-PUL-010", "hosts"), ("GH-SNS-001", "hosts")),
    "load_balancer_groups": (("GH-VPC-004", "load_balancer_groups"),),
    "account_stacks": tuple(
        (rule, "account_stacks")
        for rule in ("GH-ACC-001", "GH-COST-001", "GH-S3-002", "GH-VPC-011")
    ),
}
"""Keys of the file that are lists of strings, each with the rules and parameters that the list
replaces.
"""

FILE_NAME = "policies.toml"
"""The file that is read if none is specified."""
KEYS = (
    *(
        *LISTS,
        "strict",
        "environments",
        "levels",
        "new_controls",
        "stack_config",
        "lookups",
        "baseline",
        "exemption",
        "accepted_types",
    ),
    "no_code_exemptions",
)
_TABLES = ("accepted_types", "environments", "levels", "new_controls", "stack_config")
_ADVISORY_DAYS_MAX = 90
_LEVELS = tuple(level.value for level in Level)
_REASON, _UNTIL = "reason", "until"

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
_STACK = re.compile(r"[^/\s]+/[^/\s]+")
_ACCOUNT = re.compile(r"\d{12}|o-[a-z0-9]{10,32}|vpce?-[0-9a-f]{8,17}")
_REPOSITORY = re.compile(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+")

RuleConfig = Mapping[str, Any]


@dataclass(frozen=True)
class AcceptedType:
    """The reason for which no rule evaluates some inputs of a resource type, and its end."""

    reason: str
    expires: date


@dataclass(frozen=True)
class Configuration:
    """The contents of a configuration file.

    name: the file, for reports.
    rules: for each environment, the level and the parameters of each rule that the file changes, in
        the format of `--policy-pack-config`.
    reasons: for each environment, the reasons for the levels of rules, keyed by rule.
    stack_config: example values of configuration keys that are encrypted or in Pulumi ESC.
    lookups: example results of provider functions, each with its `function`, `result` and, for some
        calls only, `arguments`.
    baseline: file with the findings that do not fail a check.
    exemptions: the file, if it has exemptions.
    no_code_exemptions: patterns of the controls that comments in a program do not exempt.
    strict: True to evaluate the controls that most teams do not require.
    environments: the environment of stacks, by "project/stack" or by the name of the stack. If it
        is not None, stacks that are not in it have the levels of prod.
    accepted_types: resource types, such as aws.networkfirewall.RuleGroup, of which no rule
        evaluates some inputs. Without those that have expired.
    """

    name: str = ""
    rules: Mapping[str, Mapping[str, RuleConfig]] = field(default_factory=dict)
    stack_config: Mapping[str, Any] = field(default_factory=dict)
    lookups: tuple[Mapping[str, Any], ...] = ()
    reasons: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    baseline: Path | None = None
    exemptions: Path | None = None
    no_code_exemptions: tuple[str, ...] = ()
    strict: bool = False
    environments: Mapping[str, str] | None = None
    accepted_types: Mapping[str, AcceptedType] = field(default_factory=dict)

    def of_pack(self, pack: str, environment: str) -> dict[str, dict[str, Any]]:
        """The complete configuration of "security" or "resilience" in an environment: the defaults
        and the changes.
        """
        config = catalogue.level_config(pack, environment)
        changes = self.rules.get(environment, {})
        skipped = {
            rule.id: {"enforcementLevel": Level.DISABLED.value}
            for rule in catalogue.of_pack(pack)
            if self._skips(rule, changes)
        }
        return {
            id: {**values, **changes.get(id, {}), **skipped.get(id, {})}
            for id, values in config.items()
        }

    def environment(self, project: str, stack: str, declared: str) -> str:
        """The environment of a stack. declared: the one that the configuration of the stack sets,
        which the owners of a program can change.
        """
        if self.environments is None:
            return declared
        names = (f"{project}/{stack}", stack)
        found = (self.environments[name] for name in names if name in self.environments)
        return next(found, ENVIRONMENTS[-1])

    def not_configured(self, environment: str) -> dict[str, str]:
        """The key that each rule needs which evaluates nothing without values of the file. A level
        in the file enables a strict rule as well.
        """
        changes = self.rules.get(environment, {})
        rules = (rule.configured(changes.get(rule.id, {})) for rule in catalogue.RULES)
        needs = {rule.id: rule.needs for rule in rules if not rule.is_configured}
        return needs | {rule.id: "strict" for rule in catalogue.RULES if self._skips(rule, changes)}

    def _skips(self, rule: Rule, changes: Mapping[str, RuleConfig]) -> bool:
        enabled = self.strict or "enforcementLevel" in changes.get(rule.id, {})
        return rule.strict and not enabled

    def applied(self, rule: Rule, environment: str) -> Rule:
        """The rule with the level and parameters of the file."""
        changes = self.rules.get(environment, {})
        config = changes.get(rule.id, {})
        if self._skips(rule, changes):
            config = {**config, "enforcementLevel": Level.DISABLED.value}
        return rule.configured(config)


def find(folder: Path) -> Path | None:
    """The file of a program: in its folder, or in a folder above it in the same repository."""
    folders = [folder.resolve(), *folder.resolve().parents]
    top = next((index for index, each in enumerate(folders) if (each / ".git").exists()), 0)
    files = (each / FILE_NAME for each in folders[: top + 1])
    return next((file for file in files if file.is_file()), None)


def read(file: Path | None) -> Configuration:
    """Reads a file; the defaults without a file. Raises CommandError for an invalid file."""
    if file is None:
        return Configuration()
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CommandError(
            f"{file} cannot be read: {error.strerror}. Specify a TOML file."
        ) from error
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{file} is not UTF-8 text. Save the file with the encoding UTF-8."
        ) from error
    except ValueError as error:
        fix = next(
            (fix for text, fix in _TOML_FIXES.items() if text in str(error)), "Correct the line."
        )
        raise CommandError(f"{file} is not valid TOML: {error}. {fix}") from error
    place = file.name
    if unknown := sorted(set(document) - set(KEYS)):
        raise CommandError(f"{place}: unknown key {unknown[0]!r}. Keys: {', '.join(KEYS)}.")
    for name in _TABLES:
        if not isinstance(document.get(name, {}), dict):
            raise CommandError(f"{place}: {name} must be a table. Write [{name}].")
    levels = document.get("levels", {})
    added = new_controls(
        document.get("new_controls", {}),
        f"{place}: new_controls",
        catalogue.RULES,
        datetime.now(UTC).date(),
    )
    lists = _lists(document, place)
    common = {id: value for id, value in levels.items() if id not in ENVIRONMENTS}
    rules = {}
    for environment in ENVIRONMENTS:
        own = levels.get(environment, {})
        if not isinstance(own, dict):
            raise CommandError(
                f"{place}: levels.{environment} must be a table. Write [levels.{environment}]."
            )
        rules[environment] = _merged(
            lists,
            {id: _rule_config(id, value, place) for id, value in added.items()},
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
    baseline = document.get("baseline", "")
    if not isinstance(baseline, str):
        raise CommandError(
            f'{place}: baseline must be the path of a file, such as "baseline.json".'
        )
    for stack, environment in document.get("environments", {}).items():
        if environment not in ENVIRONMENTS:
            raise CommandError(
                f"{place}: environments.{stack} must be {', '.join(ENVIRONMENTS)}, not "
                f"{environment!r}."
            )
    if not isinstance(document.get("strict", False), bool):
        raise CommandError(f"{place}: strict must be true or false.")
    lookups = document.get("lookups", [])
    if not isinstance(lookups, list) or not all(map(_is_lookup, lookups)):
        raise CommandError(
            f"{place}: each entry of lookups must have a function and a result. Write [[lookups]], "
            f'function = "aws.ssm.get_parameter", result = {{ value = "8080" }}, and '
            f'arguments = {{ name = "/shop/port" }} for some calls only.'
        )
    return Configuration(
        place,
        rules,
        document.get("stack_config", {}),
        tuple(lookups),
        reasons,
        file.parent / baseline if baseline else None,
        file if "exemption" in document else None,
        tuple(_strings(document.get("no_code_exemptions", []), f"{place}: no_code_exemptions")),
        document.get("strict", False),
        document.get("environments"),
        _accepted_types(document.get("accepted_types", {}), f"{place}: accepted_types"),
    )


def _accepted_types(table: Mapping[str, Any], place: str) -> dict[str, AcceptedType]:
    today = datetime.now(UTC).date()
    accepted = {}
    for name, entry in table.items():
        if not isinstance(entry, dict) or {*entry} != {"reason", "expires"}:
            raise CommandError(
                f'{place}."{name}" must have a reason and an end. Write {{ reason = "...", expires '
                f"= 2027-01-31 }}."
            )
        if error := reason_error(entry["reason"]):
            raise CommandError(f'{place}."{name}" {error}.')
        if type(entry["expires"]) is not date:
            raise CommandError(
                f'{place}."{name}".expires must be a date. Write expires = 2027-01-31, without '
                f"quotes."
            )
        if (entry["expires"] - today).days > TOTAL_DAYS_MAX:
            raise CommandError(
                f'{place}."{name}".expires is more than {TOTAL_DAYS_MAX} days from now. Write an '
                f"earlier date."
            )
        if entry["expires"] >= today:
            accepted[name] = AcceptedType(entry["reason"], entry["expires"])
    return accepted


def _is_lookup(entry: Any) -> bool:
    types = {"function": str, "result": dict, "arguments": dict}
    return (
        isinstance(entry, dict)
        and {"function", "result"} <= entry.keys() <= types.keys()
        and all(isinstance(value, types[key]) for key, value in entry.items())
    )


def new_controls(
    table: Mapping[str, Any], place: str, rules: Sequence[Rule], today: date
) -> dict[str, dict[str, Any]]:
    """The level of each rule that was added after a date, until another date, with its reason.

    Rules that are added with a new version of the packs therefore do not fail a check at once.
    Raises CommandError for a table without two dates, or for an end that is too late.
    """
    if not table:
        return {}
    if table.keys() != {"after", "advisory_until"} or {type(day) for day in table.values()} != {
        date
    }:
        raise CommandError(
            f"{place} must have the two dates after and advisory_until. Write after = 2026-12-01, "
            f"without quotes."
        )
    after, until = table["after"], table["advisory_until"]
    if (until - today).days > _ADVISORY_DAYS_MAX:
        raise CommandError(
            f"{place}.advisory_until is more than {_ADVISORY_DAYS_MAX} days from now. Write an "
            f"earlier date."
        )
    return {
        rule.id: {
            "enforcementLevel": Level.ADVISORY.value,
            _REASON: f"added on {rule.introduced}",
            _UNTIL: until,
        }
        for rule in rules
        if rule.introduced and rule.introduced > after and until >= today
    }


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
    """Raises CommandError for a value that no Region or repository can have."""
    if key == "regions" and not items:
        raise CommandError(
            f"{place} is empty, so no Region is allowed. Add a Region, or delete the key."
        )
    for item in items:
        if key == "regions" and not _REGION.fullmatch(item):
            raise CommandError(
                f'{place}: {item!r} is not the code of a Region. Write a code such as "eu-west-1".'
            )
        if key == "account_stacks" and not _STACK.fullmatch(item):
            raise CommandError(
                f"{place}: {item!r} is not a stack. Write the project and the stack, such as "
                f'"account/main".'
            )
        if key == "accounts" and not _ACCOUNT.fullmatch(item):
            raise CommandError(
                f"{place}: {item!r} is not an account. Write its 12 digits in quotation marks, or "
                f"the ID of an organization, a VPC or a VPC endpoint."
            )
        if key == "repositories" and not _REPOSITORY.fullmatch(item):
            raise CommandError(
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
        raise CommandError(
            f'{place} must be a level such as "advisory", or a table with enforcementLevel.'
        )
    if not config:
        raise CommandError(f'{place} is empty. Write a level such as "advisory", or a parameter.')
    if any(catalogue.find(name) for name in config):
        tables = ", ".join(f"[levels.{name}]" for name in ENVIRONMENTS)
        raise CommandError(f"{place}: {id!r} is not an environment. Write one of {tables}.")
    if config.get("enforcementLevel", "advisory") not in _LEVELS:
        raise CommandError(
            f"{place}: the level must be one of {', '.join(_LEVELS)}, not "
            f"{config['enforcementLevel']!r}."
        )
    control = catalogue.find(id)
    config = _with_reason(id, config, control, place)
    if control is not None:
        _check_parameters(id, control, config, place)
    elif id.startswith("GH-"):
        raise CommandError(f"{place}: there is no rule {id}. Copy the ID from a report.")
    elif catalogue.find(id.upper()) is not None:
        raise CommandError(f"{place}: there is no rule {id}. Write {id.upper()}.")
    return config


def _with_reason(
    id: str, config: RuleConfig, control: Control | None, place: str
) -> dict[str, Any]:
    """The values with the reason for the level and its end, "" for a level without one, so that the
    level of an environment does not keep the reason of the common level. Without the level after
    its end.
    """
    reason = config.get(_REASON, "")
    if not isinstance(reason, str) or (_REASON in config and not reason.strip()):
        raise CommandError(f"{place}.{_REASON} must be a text that is not empty.")
    for name, noun in ((_REASON, "reason for"), (_UNTIL, "end of")):
        if name in config and "enforcementLevel" not in config:
            raise CommandError(
                f"{place}: {name} is the {noun} a level. Add enforcementLevel, or delete it."
            )
    can_be_disabled = control is None or control.can_be_disabled
    form = f'{id} = {{ enforcementLevel = "advisory", reason = "...", until = 2027-01-31 }}'
    if config.get("enforcementLevel") == Level.DISABLED:
        if not can_be_disabled:
            why = (
                "is critical and has no exemptions"
                if isinstance(control, Rule)
                else "reports what the other controls did not evaluate"
            )
            raise CommandError(
                f"{place}: {id} cannot be disabled, because it {why}. Write {form}, or delete the "
                f"line."
            )
        if not reason:
            raise CommandError(
                f"{place}: a disabled control needs a reason, which every report shows. Write "
                f'{id} = {{ enforcementLevel = "disabled", reason = "..." }}.'
            )
    if "enforcementLevel" not in config:
        return dict(config)
    is_lowered = config["enforcementLevel"] == Level.ADVISORY and isinstance(control, Rule)
    if is_lowered and not can_be_disabled and not (reason and _UNTIL in config):
        raise CommandError(
            f"{place}: {id} is critical and has no exemptions, so an advisory level needs a reason "
            f"and an end. Write {form}."
        )
    config = {**config, _REASON: " ".join(reason.split())}
    return _without_end(config, place) if _UNTIL in config else config


def _without_end(config: dict[str, Any], place: str) -> dict[str, Any]:
    """The values with the end of the level in its reason; without the level after its end."""
    until, today = config.pop(_UNTIL), datetime.now(UTC).date()
    if type(until) is not date or (until - today).days > _ADVISORY_DAYS_MAX:
        raise CommandError(
            f"{place}.{_UNTIL} must be a date at most {_ADVISORY_DAYS_MAX} days from now. Write "
            f"{today + timedelta(_ADVISORY_DAYS_MAX)} or an earlier date, without quotes."
        )
    if until < today:
        return {key: config[key] for key in config.keys() - {"enforcementLevel", _REASON}}
    return {**config, _REASON: f"{config[_REASON]}, until {until}".removeprefix(", ")}


def _check_parameters(id: str, control: Control, config: Mapping[str, Any], place: str) -> None:
    numbers, lists = (control.settings, control.lists) if isinstance(control, Rule) else ({}, {})
    for name, parameter in config.items():
        if name in lists:
            _strings(parameter, f"{place}.{name}")
        elif name in numbers:
            is_number = isinstance(parameter, int | float) and not isinstance(parameter, bool)
            if not is_number or not 0 <= parameter < math.inf:
                raise CommandError(f"{place}.{name} must be a number that is not negative.")
        elif name not in ("enforcementLevel", _REASON):
            known = ", ".join(["enforcementLevel", *numbers, *lists])
            raise CommandError(f"{place}: {id} has no parameter {name!r}. Parameters: {known}.")


def _strings(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise CommandError(f'{place} must be a list of strings, such as ["a", "b"].')
    if padded := next((item for item in value if item != item.strip()), None):
        raise CommandError(f"{place}: {padded!r} begins or ends with a space. Delete the space.")
    return value
