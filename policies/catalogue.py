"""All rules in one place, with look-ups by id and pack, and the levels and settings that each environment runs with."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from policies.engine.remediation import REMEDIES
from policies.engine.rule import ENVIRONMENTS, Level, Levels, Rule, Severity, levels
from policies.rules import (
    account,
    acm,
    alb,
    apigateway,
    backup,
    cloudtrail,
    cloudwatch,
    dynamodb,
    ecr,
    ecs,
    elasticache,
    iam,
    kms,
    lambda_functions,
    program,
    rds,
    s3,
    secretsmanager,
    sns,
    vpc,
    waf,
)

PACKS = {"security": "gatehouse-security", "resilience": "gatehouse-resilience"}
_DOCS = "https://www.pulumi.com/docs/iac/using-pulumi/crossguard"

_MODULES: tuple[ModuleType, ...] = (
    account,
    acm,
    alb,
    apigateway,
    backup,
    cloudtrail,
    cloudwatch,
    dynamodb,
    ecr,
    ecs,
    elasticache,
    iam,
    kms,
    lambda_functions,
    program,
    rds,
    s3,
    secretsmanager,
    sns,
    vpc,
    waf,
)


@dataclass(frozen=True, slots=True)
class Companion:
    """A policy that each pack carries beside its rules, to report what the guard saw rather than what a resource
    lacks.
    """

    id: str
    title: str
    remedy: str
    severity: Severity
    levels: Levels
    url: str = _DOCS


UNDECIDED = Companion(
    id="GH-UNDECIDED",
    title="Every rule could be decided",
    remedy="give the property a value that is known before the deployment",
    severity=Severity.MEDIUM,
    levels=levels("A", "A", "M"),
)
UNDECIDED_ALLOWED = Companion(
    id="GH-UNDECIDED-ALLOWED",
    title="What may stay open until the deployment is in sight",
    remedy="nothing to do: the engine asks again, with the value, before it makes the resource",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)
BROKEN = Companion(
    id="GH-BROKEN",
    title="Every rule works",
    remedy="mend the rule in policies/rules; until then the resource is not judged",
    severity=Severity.HIGH,
    levels=levels("M", "M", "M"),
)
REMEDIATED = Companion(
    id="GH-REMEDIATED",
    title="What a rule changed by itself is in sight",
    remedy="write it in the program, so that it says what is made",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)
EXEMPT_USED = Companion(
    id="GH-EXEMPT-USED",
    title="Exemptions in use are in sight",
    remedy="remove the entry from policies/exemptions.toml",
    severity=Severity.LOW,
    levels=levels("A", "A", "A"),
)
EXEMPT_INVALID = Companion(
    id="GH-EXEMPT-INVALID",
    title="Every exemption is valid",
    remedy="correct the entry in policies/exemptions.toml",
    severity=Severity.HIGH,
    levels=levels("M", "M", "M"),
)
COMPANIONS = (BROKEN, REMEDIATED, EXEMPT_USED, EXEMPT_INVALID, UNDECIDED, UNDECIDED_ALLOWED)


def _declared() -> tuple[Rule, ...]:
    found = (value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule))
    return tuple(sorted(found, key=lambda rule: rule.id))


RULES = _declared()
_BY_ID: dict[str, Rule] = {rule.id: rule for rule in RULES}
_COMPANION_BY_ID = {companion.id: companion for companion in COMPANIONS}


def rule(id: str) -> Rule:
    """The rule with this id. Raises KeyError for an unknown id."""
    return _BY_ID[id]


def find(id: str) -> Rule | Companion | None:
    """The rule or companion policy with this id, or None."""
    return _BY_ID.get(id) or _COMPANION_BY_ID.get(id)


def of_pack(pack: str) -> tuple[Rule, ...]:
    """The rules of "security" or "resilience", in the order of their ids."""
    return tuple(rule for rule in RULES if rule.pack == pack)


def enabled(environment: str) -> tuple[Rule, ...]:
    """The rules that an environment looks for."""
    return tuple(rule for rule in RULES if rule.levels[environment] is not Level.DISABLED)


def remediating(pack: str, environment: str) -> dict[str, Any]:
    """The levels of an environment with every rule that can change inputs told to do so.

    Raises ValueError outside dev: elsewhere the program must say itself what is made.
    """
    if environment != "dev":
        raise ValueError(f"rules change inputs in dev alone, not in {environment}; write it in the program")
    config = level_config(pack, environment)
    return {id: {**values, "enforcementLevel": "remediate"} if id in REMEDIES else values for id, values in config.items()}


def level_config(pack: str, environment: str) -> dict[str, Any]:
    """What the engine's --policy-pack-config wants: {"GH-S3-001": {"enforcementLevel": "mandatory", "days_min": 35}}.

    Raises KeyError for an unknown environment.
    """
    if environment not in ENVIRONMENTS:
        raise KeyError(environment)
    config: dict[str, Any] = {}
    for one in of_pack(pack):
        config[one.id] = {"enforcementLevel": one.levels[environment].value, **one.defaults(environment)}
        config[one.id] |= {name: list(words) for name, words in one.lists.items()}
    for companion in COMPANIONS:
        config[companion.id] = {"enforcementLevel": companion.levels[environment].value}
    return config
