"""Evaluates a web ACL with the documented rules of the AWS managed rule groups. Source: AWS WAF
Developer Guide. Rate-based rules are not evaluated.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

INSPECTED_BODY_BYTES = 8192
"""Load balancers forward this much of a request body to AWS WAF."""
BROWSER = {"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0"}
_MATCH_WCU = {"EXACTLY": 2, "STARTS_WITH": 2}
_REGEX_WCU = 3
_TRANSFORMATION_WCU = 10
_RATE_WCU = 2
_TRANSFORMATIONS: dict[str, Callable[[str], str]] = {
    "NONE": str,
    "LOWERCASE": str.lower,
    "URL_DECODE": unquote_plus,
    "NORMALIZE_PATH": lambda path: path,
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """ip_sets: ARNs of the IP sets with the client's address. listed: on the IP reputation list."""

    host: str
    path: str
    method: str = "GET"
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: BROWSER)
    body: bytes = b""
    ip_sets: frozenset[str] = frozenset()
    listed: bool = False

    def part(self, name: str) -> str | None:
        texts = {
            "path": unquote_plus(self.path),
            "query": unquote_plus(self.query),
            "method": self.method,
            "host": self.host,
            "address": "listed" if self.listed else "",
            "body": self.body[:INSPECTED_BODY_BYTES].decode("utf-8", "replace"),
            "headers": "\n".join(f"{name}: {value}" for name, value in self.headers.items()),
        }
        return texts.get(name) if name in texts else self.headers.get(name)

    def size(self, name: str) -> int:
        if name == "body":
            return len(self.body)
        return len(
            self.query
            if name == "query"
            else self.path
            if name == "path"
            else self.headers.get(name, "")
        )


@cache
def managed_rule_groups() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("waf_rule_groups.toml").read_text())


class WebAcl:
    def __init__(self, inputs: Mapping[str, Any]) -> None:
        self.rules = sorted(inputs["rules"], key=lambda rule: rule["priority"])
        assert inputs["defaultAction"] == {"allow": {}}

    def blocked_by(self, request: Request) -> str | None:
        """Name of the rule that blocks a request: a rule of the web ACL, or group/rule."""
        labels = set[str]()
        for rule in self.rules:
            statement = rule["statement"]
            if "rateBasedStatement" in statement:
                continue
            if "managedRuleGroupStatement" in statement:
                assert rule["overrideAction"] == {"none": {}}
                blocking = _group_blocks(statement["managedRuleGroupStatement"], request, labels)
                if blocking is not None:
                    return f"{rule['name']}/{blocking}"
            elif _matches(statement, request, labels):
                assert "block" in rule["action"]
                return str(rule["name"])
        return None

    def capacity(self) -> int:
        return sum(_capacity(rule["statement"]) for rule in self.rules)


def _group_blocks(group: Mapping[str, Any], request: Request, labels: set[str]) -> str | None:
    scope = group.get("scopeDownStatement")
    if scope is not None and not _matches(scope, request, labels):
        return None
    documented = managed_rule_groups()[group["name"]]
    overrides = {
        override["name"]: override["actionToUse"]
        for override in group.get("ruleActionOverrides", ())
    }
    assert overrides.keys() <= {rule["name"] for rule in documented["rules"]}, (
        "the rule group has no such rule"
    )
    assert all(action == {"count": {}} for action in overrides.values())
    for rule in documented["rules"]:
        if _rule_matches(rule, request):
            labels.add(f"{documented['namespace']}:{rule['label']}")
            if rule["name"] not in overrides:
                return str(rule["name"])
    return None


def _rule_matches(rule: Mapping[str, Any], request: Request) -> bool:
    text = request.part(rule["part"])
    if "missing" in rule:
        return text is None
    if "bytes_over" in rule:
        return request.size(rule["part"]) > int(rule["bytes_over"])
    return text is not None and re.search(rule["matches"], text, re.IGNORECASE) is not None


def _matches(statement: Mapping[str, Any], request: Request, labels: set[str]) -> bool:
    ((kind, value),) = statement.items()
    if kind == "andStatement":
        assert len(value["statements"]) >= 2
        return all(_matches(inner, request, labels) for inner in value["statements"])
    if kind == "orStatement":
        assert len(value["statements"]) >= 2
        return any(_matches(inner, request, labels) for inner in value["statements"])
    if kind == "notStatement":
        return not _matches(value["statement"], request, labels)
    if kind == "labelMatchStatement":
        assert value["scope"] == "LABEL"
        return str(value["key"]) in labels
    if kind == "ipSetReferenceStatement":
        return value["arn"] in request.ip_sets
    assert value["fieldToMatch"] in ({"uriPath": {}}, {"singleHeader": {"name": "host"}})
    text = request.path if "uriPath" in value["fieldToMatch"] else request.host
    for transformation in sorted(value["textTransformations"], key=lambda item: item["priority"]):
        text = _TRANSFORMATIONS[transformation["type"]](text)
    if kind == "regexMatchStatement":
        return re.search(value["regexString"], text) is not None
    assert kind == "byteMatchStatement"
    assert value["positionalConstraint"] in _MATCH_WCU
    searched = str(value["searchString"])
    return (
        text == searched
        if value["positionalConstraint"] == "EXACTLY"
        else text.startswith(searched)
    )


def _capacity(statement: Mapping[str, Any]) -> int:
    ((kind, value),) = statement.items()
    if kind == "managedRuleGroupStatement":
        scope = value.get("scopeDownStatement")
        return int(managed_rule_groups()[value["name"]]["wcu"]) + (_capacity(scope) if scope else 0)
    if kind == "rateBasedStatement":
        scope = value.get("scopeDownStatement")
        return _RATE_WCU + (_capacity(scope) if scope else 0)
    if kind in {"andStatement", "orStatement"}:
        return sum(_capacity(inner) for inner in value["statements"])
    if kind == "notStatement":
        return _capacity(value["statement"])
    if kind in {"labelMatchStatement", "ipSetReferenceStatement"}:
        return 1
    base = (
        _REGEX_WCU if kind == "regexMatchStatement" else _MATCH_WCU[value["positionalConstraint"]]
    )
    return base + _TRANSFORMATION_WCU * len(value["textTransformations"])
