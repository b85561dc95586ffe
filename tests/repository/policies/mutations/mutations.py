"""Mutations: weakened variants of a resource, changed in one place, also inside JSON text such as
IAM policies and container definitions.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FOREIGN_ACCOUNT = "999999999999"
HUGE = 2_000_000_000
REMOVED = object()

Path = tuple[str | int, ...]

_CIDR = re.compile(r"\d+\.\d+\.\d+\.\d+/\d+|[0-9a-f:]+::/\d+")
_ACCOUNT = re.compile(r"(?<![0-9A-Za-z-])\d{12}(?![0-9A-Za-z-])")
# Values that AWS accepts in the same property and that protect less.
_WEAKER = {
    "Enabled": "Disabled",
    "ENABLED": "DISABLED",
    "enabled": "disabled",
    "HTTPS": "HTTP",
    "TLS": "TLS_PLAINTEXT",
    "required": "preferred",
    "aws:kms": "AES256",
    "KMS": "AES256",
    "IMMUTABLE": "MUTABLE",
    "GOVERNANCE": "NONE",
    "COMPLIANCE": "GOVERNANCE",
    "BucketOwnerEnforced": "ObjectWriter",
    "ALL": "REJECT",
    "block-bidirectional": "off",
    "SYMMETRIC_DEFAULT": "RSA_2048",
    "true": "false",
    "false": "true",
    "1": "0",
    "append": "preserve",
    "allow-egress": "allow-bidirectional",
    "iam": "no-password-required",
    "BLOCK": "ALLOW",
    "KEEP": "DROP",
    "awsvpc": "host",
    "rds-ca-rsa2048-g1": "rds-ca-2019",
}
_STRANGER = {"AWS": f"arn:aws:iam::{FOREIGN_ACCOUNT}:root"}
_CANONICAL_USER = {"CanonicalUser": "9" * 64}


@dataclass(frozen=True)
class Mutation:
    """A change of one place in the properties of a resource.

    place: dotted path, with `*` for the index in a list. A statement of an IAM policy is described
        instead of numbered: "policy.Statement.Allow-Service-if" allows a service principal under a
        condition.
    kind: the change, such as "removed".
    properties: all properties after the change.
    """

    place: str
    kind: str
    properties: Mapping[str, Any]

    @property
    def property(self) -> str:
        return self.place.partition(".")[0]


def mutations(properties: Mapping[str, Any]) -> Iterator[Mutation]:
    for path, names, value, weakened in _places(properties):
        for kind, replacement in weakened(value):
            if replacement != value:
                yield Mutation(".".join(names), kind, _replaced(properties, path, replacement))


Weaken = Callable[[Any], Iterator[tuple[str, Any]]]
"""Yields the weakened values of a place, each with the kind of the mutation."""


def _places(
    value: Any, path: Path = (), names: tuple[str, ...] = ()
) -> Iterator[tuple[Path, tuple[str, ...], Any, Weaken]]:
    """The path, name and value of everything below a value, including inside of JSON text."""
    decoded = _decoded(value)
    if isinstance(decoded, dict) and decoded.get("Effect") in ("Allow", "Deny"):
        named = (*names[:-1], _description(decoded))
        yield path, named, decoded, _weakened_statement
        for operator, keys in decoded.get("Condition", {}).items():
            for key in keys:
                yield (
                    (*path, "Condition", operator, key),
                    (*named, key),
                    keys[key],
                    _weakened_condition,
                )
        return
    if path:
        yield path, names, value, _weakened
    items: Any = (
        decoded.items()
        if isinstance(decoded, dict)
        else enumerate(decoded)
        if isinstance(decoded, list)
        else ()
    )
    for key, inner in items:
        yield from _places(inner, (*path, key), (*names, "*" if isinstance(key, int) else key))


def _description(statement: dict[str, Any]) -> str:
    """Effect and kind of principal of a statement, and "if" for a condition: "Allow-AWS-if"."""
    principal = statement.get("Principal")
    kinds = ["everyone"] if principal in ("*", {"AWS": "*"}) else sorted(principal or ())
    return "-".join((statement["Effect"], *kinds, *(["if"] if "Condition" in statement else [])))


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _replaced(value: Any, path: Path, replacement: Any) -> Any:
    decoded = _decoded(value)
    items = decoded.items() if isinstance(decoded, Mapping) else enumerate(decoded)
    changed = []
    for key, inner in items:
        result = inner
        if key == path[0]:
            result = replacement if len(path) == 1 else _replaced(inner, path[1:], replacement)
        if result is not REMOVED:
            changed.append((key, result))
    container: Any = (
        dict(changed) if isinstance(decoded, Mapping) else [inner for _, inner in changed]
    )
    return json.dumps(container) if isinstance(value, str) else container


def _weakened(value: Any) -> Iterator[tuple[str, Any]]:
    yield "removed", REMOVED
    decoded = _decoded(value)
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int | float):
        yield from ((str(number), number) for number in (0, 1, HUGE) if number != value)
    elif isinstance(value, list):
        yield from _weakened_list(value)
    elif isinstance(decoded, str):
        yield from _weakened_text(decoded)


def _weakened_text(value: str) -> Iterator[tuple[str, Any]]:
    if value:
        yield "emptied", ""
    yield "replaced", _WEAKER.get(value, "other")
    if _CIDR.fullmatch(value):
        yield "widened", "::/0" if ":" in value else "0.0.0.0/0"
    if value.startswith("arn:"):
        yield "widened", f"{value.rpartition(':')[0]}:*"
    if _ACCOUNT.search(value):
        yield "foreign", _ACCOUNT.sub(FOREIGN_ACCOUNT, value)


def _weakened_list(value: list[Any]) -> Iterator[tuple[str, Any]]:
    if len(value) > 1:
        yield "emptied", []
    if value and all(isinstance(element, str) for element in value):
        yield "widened", [*value, "0.0.0.0/0" if any(map(_CIDR.fullmatch, value)) else "*"]


def _weakened_statement(statement: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Weakened statements of an IAM policy. A Deny statement is weakened by removal only."""
    yield "removed", REMOVED
    if statement["Effect"] == "Deny":
        yield "effect", {**statement, "Effect": "Allow"}
        return
    if "Principal" in statement:
        yield "principal foreign", {**statement, "Principal": _STRANGER}
        yield "principal canonical", {**statement, "Principal": _CANONICAL_USER}
        yield "principal any", {**statement, "Principal": "*"}
    if "Condition" in statement:
        yield (
            "condition removed",
            {key: value for key, value in statement.items() if key != "Condition"},
        )
    yield "action any", {**statement, "Action": "*"}
    if "Resource" in statement:
        yield "resource any", {**statement, "Resource": "*"}
        yield "action and resource any", {**statement, "Action": "*", "Resource": "*"}


def _weakened_condition(value: Any) -> Iterator[tuple[str, Any]]:
    yield "removed", REMOVED
    yield "widened", "*"
    changed = _ACCOUNT.sub(FOREIGN_ACCOUNT, json.dumps(value))
    if changed != json.dumps(value):
        yield "foreign", json.loads(changed)
