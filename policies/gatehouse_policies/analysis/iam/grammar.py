"""Parses IAM policy documents: identity, resource, endpoint and trust policies.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pulumi_local.lists import leaves, listed, name_set
from pulumi_local.types import ELSEWHERE, UNKNOWN

from gatehouse_policies.analysis.properties import (
    ELEMENTS,
    DuplicateKeyError,
    is_unknown,
    known_value,
    unique_keys,
)

# The values of a condition, at the path of an operator and a key.
_CONDITION = re.compile(r"\.Condition\.\w+(:\w+)?\.")
_ELEMENTS = name_set(
    "Sid Effect Principal NotPrincipal Action NotAction Resource NotResource Condition"
)


class DocumentError(ValueError):
    """The document violates the policy grammar. The message contains the location and the rule,
    never a value.
    """


@dataclass(frozen=True)
class Condition:
    """One operator on one condition key.

    operator: name of the operator in lowercase, without quantifier and IfExists.
    key: condition key in lowercase.
    quantifier: "", "foranyvalue" or "forallvalues".
    """

    operator: str
    key: str
    values: tuple[str, ...]
    if_exists: bool = False
    quantifier: str = ""


Principals = tuple[tuple[str, str], ...]
"""Pairs of type (AWS, Service, Federated, CanonicalUser or *) and value."""


@dataclass(frozen=True)
class Statement:
    """One statement with every list as a tuple. An absent element is None; an empty one is an empty
    tuple.
    """

    allow: bool
    actions: tuple[str, ...] | None
    not_actions: tuple[str, ...] | None
    resources: tuple[str, ...] | None
    not_resources: tuple[str, ...] | None
    principals: Principals | None
    not_principals: Principals | None
    conditions: tuple[Condition, ...] = ()
    sid: str = ""

    def covers_action(self, action: str) -> bool:
        """True if the statement applies to this action. Actions are case-insensitive."""
        if self.actions is not None:
            return any(matches(action.lower(), pattern.lower()) for pattern in self.actions)
        if self.not_actions is not None:
            return not any(matches(action.lower(), pattern.lower()) for pattern in self.not_actions)
        return False

    def applies_to_everyone(self) -> bool:
        """True if the principal is "*", {"AWS": "*"} or NotPrincipal."""
        if self.not_principals is not None:
            return True
        return any(value == "*" for kind, value in self.principals or () if kind in ("*", "AWS"))


@dataclass(frozen=True)
class Document:
    """A parsed policy document. version: "" if absent, which AWS treats as 2008-10-17."""

    statements: tuple[Statement, ...]
    version: str = ""

    @property
    def allows(self) -> tuple[Statement, ...]:
        return tuple(statement for statement in self.statements if statement.allow)

    @property
    def denies(self) -> tuple[Statement, ...]:
        return tuple(statement for statement in self.statements if not statement.allow)

    def denies_everyone(self, action: str) -> bool:
        """True if a Deny statement for everyone applies to this action, under any condition."""
        return any(
            deny.applies_to_everyone() and deny.covers_action(action) for deny in self.denies
        )


def parse(document: Any) -> Document:
    """Parses a policy document from JSON text or from the decoded object.

    Raises DocumentError for a malformed document, and UnknownPropertyError for statements with
    unknown parts.
    """
    source = document
    if isinstance(document, str):
        try:
            document = json.loads(document, object_pairs_hook=unique_keys)
        except DuplicateKeyError:
            raise DocumentError(
                "an object in the policy document contains the same key twice"
            ) from None
        except ValueError:
            raise DocumentError("the policy document is not JSON") from None
    if not isinstance(document, Mapping):
        raise DocumentError("the policy document must be an object")
    if not document.keys() <= {"Version", "Id", "Statement"}:
        raise DocumentError("the policy document has an element that a policy cannot have")
    statements = document.get("Statement")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise DocumentError("the policy document has no Statement")
    version = document.get("Version", "")
    statements = _known_statements(source, statements)
    return Document(
        tuple(_statement(raw, f"Statement[{index}]") for index, raw in enumerate(statements)),
        version,
    )


def _known_statements(document: Any, statements: list[Any]) -> list[Any]:
    """The statements, with an assumed text for each unknown part, or without the statements that
    have unknown parts. An unknown value of a condition names a resource of the program, unless it
    comes from elsewhere.
    """
    unknown = [
        index
        for index, raw in enumerate(statements)
        if any(
            is_unknown(leaf) and (leaf == ELSEWHERE or not _CONDITION.match(path))
            for path, leaf in leaves(raw, "")
        )
    ]
    if not unknown:
        return statements
    path = f"Statement[{unknown[0]}]"
    assumed = known_value(document, "Statement", path, UNKNOWN, ELEMENTS)
    if not assumed:
        return [raw for index, raw in enumerate(statements) if index not in unknown]
    return [_with_text(raw, assumed) for raw in statements]


def _with_text(value: Any, text: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_text(item, text) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_text(item, text) for item in value]
    return text if is_unknown(value) else value


def raw_statements(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The statements of a document in their original form."""
    return listed(document.get("Statement"))


def _statement(raw: Any, path: str) -> Statement:
    if not isinstance(raw, Mapping):
        raise DocumentError(f"{path} must be an object")
    # Such as `action` in addition to `Action`, which would not be evaluated.
    if not _ELEMENTS.issuperset(raw):
        raise DocumentError(f"{path} has an element that a policy cannot have")
    if raw.get("Effect") not in ("Allow", "Deny"):
        raise DocumentError(f"{path}.Effect must be Allow or Deny")
    for element, negation in (
        ("Action", "NotAction"),
        ("Resource", "NotResource"),
        ("Principal", "NotPrincipal"),
    ):
        if element in raw and negation in raw:
            raise DocumentError(f"{path} has both {element} and {negation}")
    if "Action" not in raw and "NotAction" not in raw:
        raise DocumentError(f"{path} has neither Action nor NotAction")
    return Statement(
        allow=raw["Effect"] == "Allow",
        actions=_strings(raw, "Action", path),
        not_actions=_strings(raw, "NotAction", path),
        resources=_strings(raw, "Resource", path),
        not_resources=_strings(raw, "NotResource", path),
        principals=_principals(raw, "Principal", path),
        not_principals=_principals(raw, "NotPrincipal", path),
        conditions=parse_conditions(raw.get("Condition"), path),
        sid=raw["Sid"] if isinstance(raw.get("Sid"), str) else "",
    )


def _strings(raw: Mapping[str, Any], key: str, path: str) -> tuple[str, ...] | None:
    if key not in raw:
        return None
    values = [raw[key]] if isinstance(raw[key], str) else raw[key]
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DocumentError(f"{path}.{key} must be a string or a list of strings")
    return tuple(values)


def _principals(raw: Mapping[str, Any], key: str, path: str) -> Principals | None:
    if key not in raw:
        return None
    if raw[key] == "*":
        return (("*", "*"),)
    if not isinstance(raw[key], Mapping):
        raise DocumentError(f"{path}.{key} must be * or an object")
    return tuple(
        (kind, value)
        for kind in raw[key]
        for value in _strings(raw[key], kind, f"{path}.{key}") or ()
    )


def parse_conditions(raw: Any, path: str = "Statement") -> tuple[Condition, ...]:
    """Parses a Condition element. Raises DocumentError if it does not map operators to keys."""
    if raw is None:
        return ()
    if not isinstance(raw, Mapping) or not all(isinstance(keys, Mapping) for keys in raw.values()):
        raise DocumentError(f"{path}.Condition must map operators to keys")
    conditions = []
    for qualified, keys in raw.items():
        quantifier, _, operator = qualified.lower().rpartition(":")
        for key, values in keys.items():
            conditions.append(
                Condition(
                    operator=operator.removesuffix("ifexists"),
                    key=key.lower(),
                    values=tuple(
                        str(value).lower() if isinstance(value, bool) else str(value)
                        for value in ([None] if values is None else listed(values))
                    ),
                    if_exists=operator.endswith("ifexists"),
                    quantifier=quantifier,
                )
            )
    return tuple(conditions)


def matches(text: str, pattern: str) -> bool:
    """True if the text matches an IAM pattern: `*` is any text, `?` any character. Case-sensitive.

    `[*]` and `[?]`, which `escape` writes, match the literal characters.
    """
    return _compiled(pattern).fullmatch(text) is not None


def variables_of(text: str) -> set[str]:
    """The names of the policy variables in a text, in lowercase, without their default values."""
    return {name.strip().lower() for name in re.findall(r"\$\{([^},]*)", text)}


def escape(text: str) -> str:
    return re.sub(r"([*?])", r"[\1]", text)


def unescape(pattern: str) -> str:
    return pattern.replace("[*]", "*").replace("[?]", "?")


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    meanings = {"?": ".", "[*]": r"\*", "[?]": r"\?"}
    texts = [""]  # between the asterisks
    for part in re.split(r"(\[\*\]|\[\?\]|\*|\?)", pattern):
        if part == "*":
            texts.append("")
        else:
            texts[-1] += meanings.get(part, re.escape(part))
    first, *rest = texts
    if not rest:
        return re.compile(first, flags=re.DOTALL)
    # The first place of each text is final, so that many asterisks take no exponential time.
    found = "".join(f"(?>.*?{text})" for text in rest[:-1])
    return re.compile(f"{first}{found}.*{rest[-1]}", flags=re.DOTALL)
