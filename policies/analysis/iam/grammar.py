"""Parses IAM policy documents once: identity, bucket, key, secret, endpoint and trust policies alike; pure.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


class DocumentError(Exception):
    """The document breaks the policy grammar. Names the place and the rule, never a value."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one key. `operator` is lower case and bare; set operators and IfExists are flags."""

    operator: str
    key: str  # lower case
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""  # "", "foranyvalue", "forallvalues"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, every list normalised to a tuple. `None` tells an absent element from an empty one."""

    allow: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: tuple[tuple[str, str], ...] | None  # (AWS | Service | Federated | CanonicalUser | *, value)
    not_principals: tuple[tuple[str, str], ...] | None
    conditions: tuple[Condition, ...] = ()
    sid: str = ""

    def covers_action(self, action: str) -> bool:
        """True when the statement speaks about this action, wildcards and NotAction applied (actions ignore case)."""
        if self.actions is not None:
            return any(matches(action.lower(), pattern.lower()) for pattern in self.actions)
        if self.not_actions is not None:
            return not any(matches(action.lower(), pattern.lower()) for pattern in self.not_actions)
        return False

    def covers_resource(self, arn: str) -> bool:
        """True when the statement speaks about this ARN, or about every ARN that this pattern stands for."""
        if self.resources is not None:
            return any(matches(arn, pattern) for pattern in self.resources)
        if self.not_resources is not None:
            return not any(matches(arn, pattern) or matches(pattern, arn) for pattern in self.not_resources)
        return True  # Trust, key and endpoint policies may leave Resource out: the thing they are attached to.

    def is_for_everyone(self) -> bool:
        """True when the principal is anyone at all: "*", {"AWS": "*"} or NotPrincipal."""
        if self.not_principals is not None:
            return True
        return any(value == "*" for kind, value in self.principals or () if kind in ("*", "AWS"))


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed policy document."""

    statements: tuple[Statement, ...]

    @property
    def allows(self) -> tuple[Statement, ...]:
        return tuple(statement for statement in self.statements if statement.allow)

    @property
    def denies(self) -> tuple[Statement, ...]:
        return tuple(statement for statement in self.statements if not statement.allow)


# --- Parsing
# -------------------------------------------------------------------------------------------------------------


def parse(document: Any) -> Document:
    """Parses a policy document from JSON text or from the object itself.

    Raises DocumentError when it is not one. Element names are matched as AWS writes them; lists of one may be bare.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            raise DocumentError("the policy document is not JSON") from None
    if not isinstance(document, Mapping):
        raise DocumentError("the policy document must be an object")
    statements = document.get("Statement")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise DocumentError("the policy document needs a Statement")
    return Document(tuple(_statement(statement, at) for at, statement in enumerate(statements)))


def _statement(raw: Any, at: int) -> Statement:
    where = f"Statement[{at}]"
    if not isinstance(raw, Mapping):
        raise DocumentError(f"{where} must be an object")
    effect = raw.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise DocumentError(f"{where}.Effect must be Allow or Deny")
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal")):
        if one in raw and other in raw:
            raise DocumentError(f"{where} has both {one} and {other}")
    if "Action" not in raw and "NotAction" not in raw:
        raise DocumentError(f"{where} needs Action or NotAction")
    return Statement(
        allow=effect == "Allow",
        actions=_texts(raw, "Action", where),
        not_actions=_texts(raw, "NotAction", where),
        resources=_texts(raw, "Resource", where),
        not_resources=_texts(raw, "NotResource", where),
        principals=_principals(raw, "Principal", where),
        not_principals=_principals(raw, "NotPrincipal", where),
        conditions=_conditions(raw.get("Condition"), where),
        sid=raw["Sid"] if isinstance(raw.get("Sid"), str) else "",
    )


def _texts(raw: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    if key not in raw:
        return None
    values = [raw[key]] if isinstance(raw[key], str) else raw[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DocumentError(f"{where}.{key} must be a string or a list of strings")
    return tuple(values)


def _principals(raw: Mapping[str, Any], key: str, where: str) -> tuple[tuple[str, str], ...] | None:
    if key not in raw:
        return None
    if raw[key] == "*":
        return (("*", "*"),)
    if not isinstance(raw[key], Mapping):
        raise DocumentError(f"{where}.{key} must be * or an object")
    return tuple((kind, value) for kind in raw[key] for value in _texts(raw[key], kind, f"{where}.{key}") or ())


def _conditions(raw: Any, where: str) -> tuple[Condition, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Mapping) or not all(isinstance(keys, Mapping) for keys in raw.values()):
        raise DocumentError(f"{where}.Condition must map operators to keys")
    found = []
    for operator, keys in raw.items():
        quantifier, _, bare = operator.lower().rpartition(":")
        for key, values in keys.items():
            if_exists = bare.endswith("ifexists")
            found.append(
                Condition(
                    operator=bare.removesuffix("ifexists"),
                    key=key.lower(),
                    values=tuple(_scalar(value) for value in (values if isinstance(values, list) else [values])),
                    if_exists=if_exists,
                    quantifier=quantifier,
                )
            )
    return tuple(found)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches(text: str, pattern: str) -> bool:
    """True when the text fits an IAM pattern, in which * is any run of characters and ? any one."""
    # fnmatch knows one thing more than IAM: character classes.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
