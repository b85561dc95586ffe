"""Declares a rule: the control that the rule implements, the enforcement levels and the check.

The policy packs, the catalogue, the level files, the reports and the tests use the same declaration
in `rules`.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import urljoin

from pulumi_local.type_tokens import STACK

from gatehouse_policies.analysis.properties import UnknownPropertyError
from gatehouse_policies.analysis.resources import Resource, Stack

ENVIRONMENTS = ("dev", "staging", "prod")


class Level(StrEnum):
    ADVISORY = "advisory"
    MANDATORY = "mandatory"
    DISABLED = "disabled"


#: Severity of a violation. It determines the order of findings in reports and the default levels.
Severity = Literal["low", "medium", "high", "critical"]


SEVERITIES: tuple[str, ...] = get_args(Severity)
"""From the lowest to the highest."""

Pack = Literal["security", "resilience"]

_LEVELS = {"M": Level.MANDATORY, "A": Level.ADVISORY, "-": Level.DISABLED}
_CIS = re.compile(r"\d+(\.\d+)+")  # CIS AWS Foundations, version 7.0 of the benchmark


@dataclass(frozen=True)
class Violation:
    """A defect in one resource. remedy, severity: replace those of the rule."""

    message: str
    remedy: str = ""
    severity: str = ""

    def __post_init__(self) -> None:
        if self.severity not in ("", *SEVERITIES):
            raise ValueError(f"severity must be {', '.join(SEVERITIES)}")


@dataclass(frozen=True)
class Undecided:
    """A property that is required for the evaluation and unknown at preview.

    error: the error of the reader, if the check continues after an unknown property.
    """

    path: str
    error: UnknownPropertyError | None = field(default=None, compare=False)


# A check yields one message (or Violation) per defect and nothing for a compliant resource.
CheckResults = Iterator[str | Violation | Undecided]
ResourceCheck = Callable[[Resource], CheckResults]
StackCheck = Callable[[Resource, Stack], CheckResults]


@dataclass(frozen=True)
class Control:
    """Metadata of a rule.

    id: stable ID, such as "GH-S3-001".
    title: the required state, as a statement. The controls of this distribution have their texts
        and classification (title, remedy, rationale, url, upstream, severity, levels, pack,
        introduced) in controls.toml.
    remedy: the change that fixes a violation, in the imperative. Default: the remedies of the
        requirements.
    rationale: what happens if the control is not met.
    severity: impact of a violation. Default: medium.
    types: type tokens of the resources to evaluate, one at a time. If empty, the rule evaluates
        every resource.
    levels: enforcement levels in dev, staging and prod, such as "-AM": M is mandatory, A is
        advisory, and - is disabled. Default: mandatory, except in dev, where severities medium and
        low are advisory.
    url: documentation of the AWS or Pulumi feature.
    upstream: space-separated IDs of the same control in other catalogues (Security Hub, CIS,
        Checkov, cdk-nag).
    exemptible: False if no exemption is allowed.
    settings: numeric parameters per environment, such as {"days_min": {"dev": 7, "staging": 7,
        "prod": 35}}.
    lists: parameters that are lists of strings, the same in every environment. Pack configuration
        overrides settings and lists.
    needs: the list without whose values the control evaluates nothing, such as "regions".
    strict: True for a practice that most teams do not require. It is evaluated if the configuration
        file sets `strict`.
    introduced: the date on which a control was added after the first version, such as 2026-12-01.
    unknown_allowed: properties that may be unknown at preview, each with the reason. Includes the
        nested properties.
    decided_by_name: pattern of the paths of unknown properties, such as
        environment.variables.DB_PASSWORD, whose names decide the rule when no preview of the
        program can know the values.
    """

    id: str
    _: KW_ONLY
    title: str = ""
    remedy: str = ""
    rationale: str = ""
    severity: Severity = "medium"
    types: tuple[str, ...]
    url: str = ""
    levels: str = ""
    upstream: str = ""
    pack: Pack = "security"
    exemptible: bool = True
    settings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: str = ""
    strict: bool = False
    introduced: date | None = None
    unknown_allowed: Mapping[str, str] = field(default_factory=dict)
    decided_by_name: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch("([MA-]{3})?", self.levels):
            raise ValueError(f'{self.id}: levels must be three of M, A and -, such as "-AM"')
        if self.severity not in SEVERITIES:
            raise ValueError(f"{self.id}: severity must be {', '.join(SEVERITIES)}")
        if self.pack not in get_args(Pack):
            raise ValueError(f"{self.id}: pack must be {' or '.join(get_args(Pack))}")

    def level(self, environment: str) -> Level:
        default = "MMM" if self.severity in {"critical", "high"} else "AMM"
        return _LEVELS[(self.levels or default)[ENVIRONMENTS.index(environment)]]

    @property
    def can_be_disabled(self) -> bool:
        """False for a control about rules and exemptions, whose findings say what was not
        evaluated.
        """
        return False

    def upstream_ids(self) -> list[str]:
        return [f"CIS {id}" if _CIS.fullmatch(id) else id for id in self.upstream.split()]

    def defaults(self, environment: str) -> dict[str, float]:
        return {name: values[environment] for name, values in self.settings.items()}


@dataclass(frozen=True, kw_only=True)
class Rule(Control):
    """A control with its check. The check of a rule with scope "stack" also reads the other
    resources of the program.
    """

    scope: Literal["resource", "stack"]
    check: StackCheck

    @property
    def can_be_disabled(self) -> bool:
        """False for a critical rule that has no exemptions."""
        return self.exemptible or self.severity != "critical"

    @property
    def is_configured(self) -> bool:
        return not self.needs or bool(self.lists[self.needs])

    def configured(self, config: Mapping[str, Any]) -> "Rule":
        """The rule with a level and parameters in the format of `--policy-pack-config`."""
        levels = {level.value: letter for letter, level in _LEVELS.items()}
        return replace(
            self,
            levels=levels[config["enforcementLevel"]] * len(ENVIRONMENTS)
            if "enforcementLevel" in config
            else self.levels,
            lists={name: tuple(config.get(name, values)) for name, values in self.lists.items()},
            settings={
                name: dict.fromkeys(ENVIRONMENTS, config[name]) if name in config else values
                for name, values in self.settings.items()
            },
        )


@dataclass(frozen=True)
class Requirement:
    """A required state of a resource, from `engine/requirements.py`.

    check: yields a message if the resource is in another state.
    remedy: the change to the program that meets the requirement.
    """

    check: StackCheck
    remedy: str

    def violations(self, resource: Resource, stack: Stack) -> CheckResults:
        """The results of the check. A violation has the remedy of the requirement."""
        for result in self.check(resource, stack):
            result = Violation(result) if isinstance(result, str) else result
            if isinstance(result, Violation) and not result.remedy:
                result = replace(result, remedy=self.remedy)
            yield result


def joined_remedies(requirements: Iterable[Requirement]) -> str:
    *others, last = (requirement.remedy for requirement in requirements)
    return f"{', '.join(others)} and {last}" if others else last


_DOCUMENTATION = "https://docs.aws.amazon.com/"
#: Properties of controls of this distribution that only controls.toml has, also by default.
_CLASSIFICATION = ("severity", "pack", "levels", "introduced")


@cache
def _rows() -> dict[str, dict[str, Any]]:
    """The texts and the classification of the controls of this distribution, by ID."""
    text = Path(__file__).parents[1].joinpath("controls.toml").read_text("utf-8")
    rows = tomllib.loads(text)
    return {id: row | {"url": urljoin(_DOCUMENTATION, row["url"])} for id, row in rows.items()}


class _Declaration(Control):
    """A control whose check is a decorated function, or requirements."""

    scope: ClassVar[Literal["resource", "stack"]]

    def rule(self, check: StackCheck) -> Rule:
        metadata = {item.name: getattr(self, item.name) for item in fields(self)}
        row = _rows().get(self.id, {})
        if "title" not in row and (row or not self.title):
            raise ValueError(
                f"{self.id}: title is missing; a control of this distribution has it in "
                "controls.toml"
            )
        defaults = {item.name: item.default for item in fields(self)}
        for name in row:
            if name not in defaults:
                raise ValueError(f"{self.id}: {name} in controls.toml is no property of a control")
        for name in (*row, *_CLASSIFICATION) if row else ():
            if metadata[name] != defaults[name]:
                raise ValueError(f"{self.id}: remove {name}, which is in controls.toml")
        return Rule(**metadata | row, scope=self.scope, check=check)

    def requires(
        self, *requirements: Requirement, when: Callable[[Resource], bool] | None = None
    ) -> Rule:
        """Declares a rule without a check function. The requirements provide the check, and the
        remedy of each violation unless the rule has its own.

        when: limits the rule to some resources of its types.
        """

        def check_all(resource: Resource, stack: Stack) -> CheckResults:
            for requirement in requirements if when is None or when(resource) else ():
                check = requirement.check if rule.remedy else requirement.violations
                yield from check(resource, stack)

        rule = self.rule(check_all)
        return rule if rule.remedy else replace(rule, remedy=joined_remedies(requirements))


class resource_rule(_Declaration):  # a decorator
    scope = "resource"

    def __post_init__(self) -> None:
        super().__post_init__()
        if STACK in self.types:
            raise ValueError(f"{self.id}: only a stack rule receives the outputs of the stack")

    def __call__(self, check: ResourceCheck) -> Rule:
        return self.rule(lambda resource, _stack: check(resource))


class stack_rule(_Declaration):  # a decorator
    """Declares a rule whose check also reads other resources of the stack."""

    scope = "stack"

    def __call__(self, check: StackCheck) -> Rule:
        return self.rule(check)
