"""Building blocks of the settings model: sections, defaults per environment, production rules and
validators.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, model_validator

PROD = "prod"
STANDARD, SMALL = "standard", "small"
"""Profiles of a stack."""
ENVIRONMENTS = ("dev", "staging", PROD)
NAME_PREFIX = "gatehouse"
"""Beginning of every name, unless the setting name_prefix is set."""
PREFIX_AND_STACK_MAX = 32 - len("--green-gateway")
"""Maximum length of the prefix and the name of the stack together. Of all names, those of target
groups such as `gatehouse-<stack>-green-gateway` have the fewest characters left: AWS allows 32
(CreateTargetGroup API, read 2026-11-29)."""
STACK_NAME = r"(?!(account|pulumi)$)[a-z][a-z0-9]{1,7}"
"""Stack names contain no hyphens, so that a pattern such as `gatehouse-dev-*` in an IAM policy does
not match the resources of another stack. The resources of the project `account` have the names of a
stack `account`, and the state bucket and its key those of a stack `pulumi`."""
STACK_NAME_WORDS = (
    "2 to 8 lowercase letters and digits, starting with a letter, such as alice "
    "or pr12, but not account or pulumi"
)

ARN = "arn:aws"
"""Pattern of the beginning of an ARN. Stacks are in the partition `aws`."""

T = TypeVar("T")


class Mistake(NamedTuple):
    """A setting whose value is not allowed.

    key: Key of the setting.
    allowed: Allowed values.
    condition: Why only these values are allowed, such as "in prod"; "" if they always are.
    """

    key: str
    allowed: str
    condition: str = ""


@dataclass(frozen=True)
class EnvironmentDefault:
    """The default of a setting in each environment, and in the profile `small` of any environment;
    None: the profile has the default of the environment."""

    dev: Any
    staging: Any
    prod: Any
    small: Any = None

    def of(self, environment: str, profile: str = STANDARD) -> Any:
        """The default in `environment`. Raises AttributeError for an unknown environment."""
        is_small = profile == SMALL and self.small is not None
        return self.small if is_small else getattr(self, environment)


def by_environment(dev: T, staging: T, prod: T, *, small: T | None = None) -> T:
    """The default of a field in each environment and, if it differs, in the profile `small`."""
    return cast(T, EnvironmentDefault(dev, staging, prod, small))


def by_profile(standard: T, *, small: T) -> T:
    """The default of a field in each profile."""
    return by_environment(standard, standard, standard, small=small)


class Section(BaseModel):
    """A section of the settings. Unknown keys are rejected, and values are immutable.

    The defaults are those for `environment` and `profile` in the validation context, or those for
    prod if there is no context.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any, info: ValidationInfo) -> Any:
        """Add the environment's default of each missing field, and an empty mapping for each
        missing section.
        """
        if not isinstance(values, dict):
            return values
        context = info.context or {}
        environment, profile = context.get("environment", PROD), context.get("profile", STANDARD)
        defaults: dict[str, Any] = {}
        for name, field in cls.model_fields.items():
            if isinstance(field.default, EnvironmentDefault):
                defaults[name] = field.default.of(environment, profile)
            elif isinstance(field.annotation, type) and issubclass(field.annotation, Section):
                defaults[name] = {}
        return defaults | values


@dataclass(frozen=True)
class Production:
    """The values that prod accepts for a setting.

    allowed: Accepted values in words, the end of the message "<key> is <value>; allowed in prod:
        <allowed>".
    accepts: Returns whether prod accepts a valid value.
    """

    allowed: str
    accepts: Callable[[Any], bool]


def prod_requires(value: Any, unit: str = "") -> Production:
    """Return the rule that prod accepts only this value."""
    return Production(f"{shown(value)} {unit}".strip(), lambda current: bool(current == value))


def prod_requires_at_least(minimum: int, unit: str) -> Production:
    """Return the rule that prod accepts only this value or a greater one."""
    return Production(f"{minimum} or more {unit}", lambda value: bool(value >= minimum))


@dataclass(frozen=True)
class Allowed:
    """A check of the raw value of the stack file, before Pydantic converts it.

    words: Allowed values, the end of the message "<key> is <value>; allowed: <words>".
    accepts: Returns whether the value is allowed.
    """

    words: str
    accepts: Callable[[Any], bool]

    def __call__(self, value: Any) -> Any:
        if not self.accepts(value):
            raise ValueError(f"is {shown(value)}; allowed: {self.words}{self._quotes(value)}")
        return value

    def _quotes(self, value: Any) -> str:
        """The end of the message if the value is a number, true or false in quotes."""
        if not isinstance(value, str):
            return ""
        plain = (
            int(value)
            if re.fullmatch(r"[0-9]{1,9}", value)
            else {"true": True, "false": False}.get(value)
        )
        return (
            f". Write {value} without quotes" if plain is not None and self.accepts(plain) else ""
        )


def shown(value: Any) -> str:
    """Return a value as it is written in YAML, truncated to 60 characters. The ciphertext of an
    encrypted value is omitted.
    """
    match value:
        case {"secure": str(), **others} if not others:
            written = "an encrypted value"
        case None:
            written = "empty"
        case bool():
            written = str(value).lower()
        case tuple():
            written = repr(list(value))
        case _:
            written = repr(value)
    return written if len(written) <= 60 else f"{written[:57]}..."


def string(pattern: str, words: str) -> BeforeValidator:
    """A string that matches the whole pattern."""
    return BeforeValidator(Allowed(words, lambda value: _matches(pattern, value)))


def optional(pattern: str, words: str) -> BeforeValidator:
    """A string that matches the whole pattern, or an empty value (None)."""
    return BeforeValidator(
        Allowed(f"{words}, or empty", lambda value: value is None or _matches(pattern, value))
    )


def integer(low: int, high: int, unit: str) -> BeforeValidator:
    """An integer from `low` to `high`. A boolean is not an integer."""

    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high

    return BeforeValidator(Allowed(f"an integer from {low} to {high} ({unit})", accepts))


def choice(*choices: str | int, words: str = "") -> BeforeValidator:
    """One of a few values. words: description of the values, by default a list."""

    def accepts(value: Any) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in choices)

    return BeforeValidator(Allowed(words or ", ".join(str(choice) for choice in choices), accepts))


def strings(pattern: str, low: int, high: int, words: str) -> BeforeValidator:
    """A list of `low` to `high` unique strings, each of which matches the whole pattern."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, list | tuple) or not low <= len(value) <= high:
            return False
        return all(_matches(pattern, item) for item in value) and len(set(value)) == len(value)

    return BeforeValidator(Allowed(f"a list of {low} to {high} unique {words}", accepts))


def _matches(pattern: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(pattern, value) is not None


Flag = Annotated[
    bool, BeforeValidator(Allowed("true or false", lambda value: isinstance(value, bool)))
]

_PREFIX_MAX = PREFIX_AND_STACK_MAX - 2
PREFIX = string(
    # Names of load balancers do not begin with internal-, nor those of buckets with sthree- or
    # amzn-s3-demo- (CreateLoadBalancer API; S3 User Guide, "Bucket naming rules"; read 2026-11-29).
    # Log groups /aws/* belong to AWS services. IDs in ElastiCache have no two hyphens in a row.
    rf"(?=.{{2,{_PREFIX_MAX}}}$)(?!aws|amzn|internal|sthree)[a-z][a-z0-9]*(-[a-z0-9]+)*",
    f"2 to {_PREFIX_MAX} lowercase letters, digits and single hyphens, starting with a letter, but "
    "not with aws, amzn, internal or sthree",
)
OWNER = string(r"[A-Za-z0-9 ._@-]{2,64}", "the team responsible for the stack, 2 to 64 characters")
TAGS = strings(
    r"(?!aws:|(Project|Environment|Owner|CostCentre|ManagedBy|DataClass)=)"
    r"[\w .:/+@-]{1,128}=[\w .:/=+@-]{0,256}",
    0,
    20,
    "entries of the form Key=Value, except the tags of Gatehouse",
)
COST_CENTRE = string(r"[A-Za-z0-9-]{2,32}", "2 to 32 letters, digits or hyphens, in quotes")
ACCOUNT_ID = string(r"\d{12}", "the 12 digits of the AWS account, in quotes")
STATE_BUCKET = optional(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "the name of an S3 bucket")
KMS_KEY = optional(
    rf"{ARN}:kms:[a-z0-9-]+:\d{{12}}:key/[A-Za-z0-9-]{{36,40}}",
    "the ARN of a KMS key (not of an alias)",
)
EMAILS = strings(r"[^@\s]+@[^@\s]+\.[^@\s]+", 0, 10, "e-mail addresses")


def aws_region(example: str) -> BeforeValidator:
    """A region of the partition `aws`. Other partitions have names such as us-gov-west-1 and
    cn-north-1.
    """
    return string(
        r"(?!cn-)[a-z]{2}-[a-z]{4,}-\d",
        f'an AWS region such as "{example}", outside GovCloud (US) and China',
    )
