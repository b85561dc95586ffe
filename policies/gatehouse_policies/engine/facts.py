"""The facts of a finding: the values that its rule read.

A baseline stores them, so that it accepts the finding only while the values are the same or less.
Policy documents and networks are stored as they are, because a part of them is less. Other texts
are stored as a digest, and a text that may be a secret as a slow one. `SET` stands for a value of
which the rule only judges that it exists.
"""

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pulumi_local.type_tokens import class_name

from gatehouse_policies.analysis.iam.containment import allows_at_most
from gatehouse_policies.analysis.iam.grammar import DocumentError, parse
from gatehouse_policies.analysis.policy_holders import CIDR
from gatehouse_policies.analysis.properties import (
    IS_SET,
    UnknownPropertyError,
    is_policy,
    is_unknown,
    json_value,
    recorded_reads,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import ENVIRONMENT, is_secret_input, looks_secret
from gatehouse_policies.analysis.token_formats import has_secret_format
from gatehouse_policies.engine.rule import Rule, Undecided, Violation

VARIABLE = "GATEHOUSE_FACTS"
"""The environment variable with the file to which a pack writes the facts of its findings."""
SET, UNKNOWN = "set", "unknown"
_STEP = re.compile(r"\[\d+\]|[^.\[\]]+")
_LEAF, _ELEMENTS = object(), "[]"
_Reads = dict[Any, Any]
"""The paths that a rule read, as a tree. `_ELEMENTS` stands for all elements of a list."""
# Texts of any content, such as scripts, which can contain a secret.
_FREE_TEXT = re.compile(
    r"value|(.*\.)?(body|content|definition|\w*data|\w*script|command\w*)(\..*)?", re.IGNORECASE
)
_TAGS = re.compile(r"(.*\.)?tags(All)?(\..*)?")
# Keys that some use with a value that only the caller knows.
_CHOSEN_KEYS = ("aws:referer", "aws:useragent")
# The IDs and suffixes that a check derives from URNs (program/outputs/fake_outputs.py).
_DERIVED = re.compile(r"(?<![0-9a-f])[0-9a-f]{6,32}(?![0-9a-f])")
_DERIVED_MIN = 6
_RULES = ("ingress", "egress", "entries", "portInfos")
"""Lists of rules or networks, of which a part allows less. Those of a network ACL have an action:
without one that denies, it allows more."""


def facts_of(rule: Rule, resource: Resource, stack: Stack) -> dict[str, Any]:
    """The values that the rule reads, by the resource and their paths, for JSON. The resource
    itself is "".
    """
    words = set[str]()
    with recorded_reads() as reads:
        try:
            for result in rule.check(resource, stack):
                if not isinstance(result, Undecided):
                    text = result.message if isinstance(result, Violation) else result
                    words |= {*re.findall(r"[\w.\[\]]+", text)}
        except Exception:  # noqa: S110  the reads up to there
            pass
    for word in words:
        if word.partition(".")[0].partition("[")[0] in (resource.props.plain() or {}):
            reads[id(resource.props.root), word] = (resource.props.root, None)
    owners = _owners(stack)
    provider = id(resource.provider.root) if resource.provider else 0
    extract = _Extract(resource.urn.partition("::")[0].rpartition(":")[2], _derived(stack))
    by_root: dict[int, tuple[Any, dict[str, Any]]] = {}
    for (id_, path), (root, value) in reads.items():
        if id_ != provider:
            by_root.setdefault(id_, (root, {}))[1][path] = value
    facts: dict[str, Any] = {}
    for id_, (root, values) in by_root.items():
        if tree := extract.of(root, _tree(values), ""):
            owner = owners.get(id_, resource)
            own = root is resource.props.root or owner.urn == resource.urn
            facts.setdefault("" if own else _name(owner), {}).update(tree)
    return facts


@lru_cache(maxsize=1)
def _owners(stack: Stack) -> dict[int, Resource]:
    """The resource of each object of properties, by the ID of the object."""
    return {id(each.props.root): each for each in stack}


@lru_cache(maxsize=1)
def _derived(stack: Stack) -> dict[str, tuple[str, str]]:
    """The digits of the IDs of each resource, and its name, by the first digits."""
    digests = ((hashlib.sha256(each.urn.encode()).hexdigest(), each) for each in stack)
    return {digest[:_DERIVED_MIN]: (digest, each.name) for digest, each in digests}


@lru_cache(maxsize=4096)
def _slow_digest(text: str) -> str:
    """A digest with which a guess at a secret costs time: 20 ms each."""
    return hashlib.scrypt(text.encode(), salt=b"gatehouse facts", n=2**13, r=8, p=1, dklen=10).hex()


def _name(resource: Resource) -> str:
    return f"{class_name(resource.type)} {resource.name}"


def _tree(values: Mapping[str, Any]) -> _Reads:
    tree: _Reads = {}
    for path, value in values.items():
        node = tree
        for step in _STEP.findall(path):
            node = node.setdefault(_ELEMENTS if step.startswith("[") else step, {})
        node.setdefault(_LEAF, value)
        if value is not IS_SET:
            node[_LEAF] = value
    return tree


class _Extract:
    """Reads the values at the paths of a tree. stack: its name is not a part of a value. derived:
    see `_derived`.
    """

    def __init__(self, stack: str, derived: Mapping[str, tuple[str, str]]) -> None:
        self._derived = derived
        self._stack = re.compile(rf"(?<![^\W_]){re.escape(stack)}(?![^\W_])") if stack else None

    def of(self, value: Any, tree: _Reads, path: str) -> Any:
        children = {step: node for step, node in tree.items() if step is not _LEAF}
        if value is None and not children:
            # Properties that the rule derived from others, which are not at this path.
            recorded = tree.get(_LEAF)
            return None if recorded is IS_SET else self._value(recorded, path)
        if isinstance(value, str) and children and not is_unknown(value):
            value = json_value(value)
        recorded = tree.get(_LEAF)
        if not children or is_unknown(value) or isinstance(recorded, list | dict):
            is_set = recorded is IS_SET and not is_unknown(value)
            return (
                SET if is_set and not isinstance(value, list | dict) else self._value(value, path)
            )
        if isinstance(value, list):
            inner = children.get(_ELEMENTS, children)
            return _sorted(self.of(element, inner, path) for element in value)
        if isinstance(value, Mapping) and any("." in key for key in value):
            return self._value(value, path)  # A path does not say where such a key begins.
        if value is None or isinstance(value, Mapping):
            found = {
                step: self.of((value or {}).get(step), node, _path(path, step, value or {}))
                for step, node in children.items()
            }
            if _ELEMENTS in children and value:
                found[_ELEMENTS] = self.of(value, children[_ELEMENTS], path)
            return {key: inner for key, inner in sorted(found.items()) if inner not in (None, {})}
        return self._value(value, path)

    def _value(self, value: Any, path: str) -> Any:
        if is_unknown(value):
            return UNKNOWN
        if is_policy(value):
            return self._document(json_value(value) if isinstance(value, str) else value)
        if isinstance(value, Mapping):
            found = {
                key: self._value(inner, _path(path, key, value)) for key, inner in value.items()
            }
            return {key: inner for key, inner in sorted(found.items()) if inner is not None}
        if isinstance(value, list):
            return _sorted(self._value(element, path) for element in value)
        return self._scalar(value, path)

    def _scalar(self, value: Any, path: str) -> Any:
        name = path.rpartition(".")[2]
        if value is None or isinstance(value, bool) or str(value).lower() in ("true", "false"):
            return value
        text = str(value)
        if _TAGS.fullmatch(path) and not has_secret_format(text):
            return SET
        if any(map(ENVIRONMENT.fullmatch, path.split("."))):
            # Users change other variables, which no control judges by their values.
            return _slow_digest(text) if looks_secret(name, text) else SET
        if is_secret_input(name) or _FREE_TEXT.fullmatch(path) or has_secret_format(text):
            return _slow_digest(text)
        if not isinstance(value, str) or CIDR.fullmatch(value):
            return value
        return hashlib.sha256(self._plain(value).encode()).hexdigest()[:20]

    def _plain(self, text: str) -> str:
        def name(match: re.Match[str]) -> str:
            digest, name = self._derived.get(match[0][:_DERIVED_MIN], ("", ""))
            return f"<{name}>" if digest.startswith(match[0]) else match[0]

        text = _DERIVED.sub(name, text)
        return self._stack.sub("<stack>", text) if self._stack else text

    def _document(self, document: Mapping[str, Any]) -> dict[str, Any]:
        statements = document["Statement"]
        listed = statements if isinstance(statements, list) else [statements]
        return {"Statement": _sorted(self._element(each, "") for each in listed)}

    def _element(self, value: Any, key: str) -> Any:
        """An element of a statement, with lists in one order."""
        if isinstance(value, Mapping):
            return {
                name: self._element(inner, name)
                for name, inner in sorted(value.items())
                if name != "Sid"
            }
        if isinstance(value, list):
            values = _sorted(self._element(inner, key) for inner in value)
            return values[0] if len(values) == 1 else values
        if is_unknown(value):
            return UNKNOWN
        if isinstance(value, str):
            is_chosen = key.lower() in _CHOSEN_KEYS and "*" not in value
            is_secret = is_chosen or has_secret_format(value)
            return _slow_digest(value) if is_secret else self._plain(value)
        return value


def _path(path: str, key: str, parent: Mapping[str, Any]) -> str:
    """The path of a member. The value of a pair of a name and a value has its name."""
    name = parent.get("name", parent.get("Name")) if key.lower() == "value" else None
    return f"{path}.{name if isinstance(name, str) else key}".strip(".")


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=lambda value: json.dumps(value, sort_keys=True))


def unknown_paths(facts: Mapping[str, Any]) -> list[str]:
    """The paths of the values that contain an unknown one."""
    return sorted(
        f"{path} of {name}" if name else path
        for name, values in facts.items()
        for path, value in values.items()
        if f'"{UNKNOWN}"' in json.dumps(value)
    )


def changes(facts: Mapping[str, Any], accepted: Mapping[str, Any]) -> list[str]:
    """The paths of the values that are neither those of the accepted facts nor less, sorted."""
    paths = set[str]()
    for name in {*facts, *accepted}:
        own, other = facts.get(name, {}), accepted.get(name, {})
        paths |= {f"{path} of {name}" if name else path for path in _changes(own, other)}
    return sorted(paths)


def _changes(facts: Mapping[str, Any], accepted: Mapping[str, Any]) -> Iterator[str]:
    same = _PORTS if _ports_are_within(facts, accepted) else ()
    for key in {*facts, *accepted}.difference(same):
        value, other = facts.get(key), accepted.get(key)
        if not _is_within(value, other, key):
            if (
                isinstance(value, Mapping)
                and isinstance(other, Mapping)
                and "Statement" not in value
            ):
                yield from (f"{key}.{path}" for path in _changes(value, other))
            else:
                yield key


def _is_within(value: Any, other: Any, key: str) -> bool:
    if value == other:
        return True
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        if "Statement" in value and "Statement" in other:
            return _document_is_within(value, other)
        if value.keys() == other.keys():
            return all(_is_within(value[name], other[name], name) for name in value)
        return False
    if isinstance(value, list) and isinstance(other, list):
        if key in _RULES:
            return all(each in value for each in other if not _allows(each)) and all(
                each in other
                or (_allows(each) and any(_rule_is_within(each, one) for one in other))
                for each in value
            )
        return all(map(_network, value)) and all(
            any(_network_is_within(each, one) for one in other) for each in value
        )
    return _network_is_within(value, other)


_PORTS = ("fromPort", "toPort")
_ALLOW = hashlib.sha256(b"allow").hexdigest()[:20]
"""The action "allow" in facts."""


def _ports_are_within(rule: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    numbers = [each.get(port) for each in (rule, other) for port in _PORTS]
    if not all(isinstance(each, int | float) for each in numbers):
        return False
    return bool(rule["fromPort"] >= other["fromPort"] and rule["toPort"] <= other["toPort"])


def _allows(rule: Any) -> bool:
    """False for a rule of a network ACL with another action than allow."""
    return not isinstance(rule, Mapping) or rule.get("action", _ALLOW) == _ALLOW


def _rule_is_within(rule: Any, other: Any) -> bool:
    """True if a rule allows no other networks and ports than another."""
    if not isinstance(rule, Mapping) or not isinstance(other, Mapping):
        return bool(rule == other)
    same = _PORTS if _ports_are_within(rule, other) else ()
    return rule.keys() <= other.keys() and all(
        name in same or _is_within(value, other[name], name) for name, value in rule.items()
    )


def _network(value: Any) -> Any:
    try:
        return ipaddress.ip_network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        return None


def _network_is_within(value: Any, other: Any) -> bool:
    own, accepted = _network(value), _network(other)
    return bool(own and accepted and own.version == accepted.version and own.subnet_of(accepted))


def _document_is_within(value: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    if UNKNOWN in json.dumps([value, other]):
        return False
    try:
        return value["Statement"] == [] or allows_at_most(parse(dict(value)), parse(dict(other)))
    except (DocumentError, UnknownPropertyError):
        return False
