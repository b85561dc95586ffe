"""Web ACL: requests with secrets pass the rules for bodies, and all other requests do not.

The test evaluates the program's rules as documented by AWS WAF (AWS WAF Developer Guide, "Rule and rule group priority",
"Label match rule statement", "Overriding rule group actions").
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.components.program import run
from tests.components.settings.stack_settings import STACKS

BODY_RULES = {
    "AWSManagedRulesCommonRuleSet": (
        "awswaf:managed:aws:core-rule-set",
        ("SizeRestrictions", "EC2MetaDataSSRF", "GenericLFI", "GenericRFI", "CrossSiteScripting"),
    ),
    "AWSManagedRulesKnownBadInputsRuleSet": (
        "awswaf:managed:aws:known-bad-inputs",
        ("JavaDeserializationRCE", "Log4JRCE", "ReactJSRCE"),
    ),
}
"""The rules that inspect bodies. Source: AWS WAF Developer Guide, "Baseline rule groups"."""
OTHER_RULES = {
    "AWSManagedRulesCommonRuleSet": ("GenericLFI_URIPATH", "CrossSiteScripting_QUERYARGUMENTS", "EC2MetaDataSSRF_COOKIE"),
    "AWSManagedRulesKnownBadInputsRuleSet": ("Log4JRCE_HEADER", "ExploitablePaths_URIPATH"),
}
"""Some of the rules that inspect other parts of a request."""
BODY_NAMES = [f"{name}_BODY" for _, names in BODY_RULES.values() for name in names]
OTHER_NAMES = [name for names in OTHER_RULES.values() for name in names]
SECRETS = [
    *(("console", path) for path in ("/v1/secrets", "/v1/secrets/5tRw0aB9xK2m7HqYc1dZ8e/content", "/v1/secret-requests")),
    *(("sharing", path) for path in ("/", "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU", "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU/items/0")),
    *(
        ("sharing", path)
        for path in ("/v1/links/open", "/v1/links/acknowledge", "/r/5tRw0aB9xK2m7HqYc1dZ8e", "/v1/requests/submit")
    ),
]
OTHERS = [
    *(("console", path) for path in ("/", "/v1/keys", "/v1/secretsx", "/console/v1/secrets", "/v1/keys/v1/secrets", "/s/x")),
    *(("sharing", path) for path in ("/style.css", "/v1/secrets", "/v1/linksx", "/x/s/")),
    *(("gateway", path) for path in ("/v1/secrets", "/s/x", "/cores/files/")),
]


@dataclass(frozen=True)
class Request:
    """A request for which these managed rules match."""

    host: str
    path: str
    matched: frozenset[str]


class WebAcl:
    """Evaluates requests below the rate limits from IP addresses with a good reputation."""

    def __init__(self, stack: str) -> None:
        (acl,) = run(stack).of_type("wafv2/webAcl:WebAcl")
        self._rules = sorted(acl.inputs["rules"], key=lambda rule: rule["priority"])
        self._hosts = {service: url.removeprefix("https://") for service, url in run(stack).exports["urls"].items()}
        assert acl.inputs["defaultAction"] == {"allow": {}}

    def blocked_by(self, service: str, path: str, matched: Iterable[str]) -> str | None:
        """Name of the rule that blocks a request."""
        request, labels = Request(self._hosts[service], path, frozenset(matched)), set[str]()
        for rule in self._rules:
            statement = rule["statement"]
            if "rateBasedStatement" in statement:
                continue
            if "managedRuleGroupStatement" in statement:
                assert rule["overrideAction"] == {"none": {}}
                if _group_blocks(statement["managedRuleGroupStatement"], request, labels):
                    return str(rule["name"])
            elif _matches(statement, request, labels):
                assert "block" in rule["action"]
                return str(rule["name"])
        return None


def _group_blocks(group: dict[str, Any], request: Request, labels: set[str]) -> bool:
    namespace, bodies = BODY_RULES.get(group["name"], ("", ()))
    counted = {override["name"] for override in group.get("ruleActionOverrides", ())}
    assert counted <= {f"{name}_BODY" for name in bodies}, "the rule group has no such rule for bodies"
    assert all(override["actionToUse"] == {"count": {}} for override in group.get("ruleActionOverrides", ()))
    matched = [f"{name}_BODY" for name in bodies if f"{name}_BODY" in request.matched]
    matched += request.matched.intersection(OTHER_RULES.get(group["name"], ()))
    labels |= {f"{namespace}:{name}_Body" for name in bodies if f"{name}_BODY" in request.matched}
    return not counted.issuperset(matched)


def _matches(statement: dict[str, Any], request: Request, labels: set[str]) -> bool:
    ((kind, value),) = statement.items()
    if kind == "andStatement":
        return all(_matches(inner, request, labels) for inner in value["statements"])
    if kind == "orStatement":
        return any(_matches(inner, request, labels) for inner in value["statements"])
    if kind == "notStatement":
        return not _matches(value["statement"], request, labels)
    if kind == "labelMatchStatement":
        assert value["scope"] == "LABEL"
        return value["key"] in labels
    field = request.path if "uriPath" in value["fieldToMatch"] else request.host
    assert value["fieldToMatch"] in ({"uriPath": {}}, {"singleHeader": {"name": "host"}})
    if kind == "regexMatchStatement":
        return re.search(value["regexString"], field) is not None
    assert kind == "byteMatchStatement"
    text = str(value["searchString"])
    tests = {"EXACTLY": field == text, "STARTS_WITH": field.startswith(text)}
    return tests[value["positionalConstraint"]]


@pytest.mark.requirement("ECS-04", "SS-06")
@pytest.mark.parametrize("stack", STACKS)
def test_secrets_are_arbitrary_text(stack: str) -> None:
    acl = WebAcl(stack)
    assert {where: acl.blocked_by(*where, BODY_NAMES) for where in SECRETS} == dict.fromkeys(SECRETS)


@pytest.mark.requirement("ECS-04")
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("name", BODY_NAMES)
def test_body_rules_block_all_other_requests(stack: str, name: str) -> None:
    acl = WebAcl(stack)
    size = name == "SizeRestrictions_BODY"
    blocked = {where: acl.blocked_by(*where, [name]) for where in OTHERS}
    assert blocked == {(service, path): _expected(service, size=size) for service, path in OTHERS}


def _expected(service: str, *, size: bool) -> str | None:
    if size:
        return None if service == "gateway" else "body-size"  # uploads to Cores
    return "body-content"


@pytest.mark.requirement("ECS-04")
@pytest.mark.parametrize("name", OTHER_NAMES)
def test_rules_for_other_parts_block_requests_with_secrets(name: str) -> None:
    acl = WebAcl("prod")
    assert None not in {acl.blocked_by(*where, [name]) for where in (*SECRETS, *OTHERS)}
    assert acl.blocked_by("sharing", "/metrics", ()) == "metrics"


def test_blocked_bodies_have_their_own_status() -> None:
    (acl,) = run("prod").of_type("wafv2/webAcl:WebAcl")
    status = {
        rule["name"]: rule["action"]["block"]["customResponse"]["responseCode"]
        for rule in acl.inputs["rules"]
        if "action" in rule
    }
    assert (status["body-size"], status["body-content"]) == (413, 403)
