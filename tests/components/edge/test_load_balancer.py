"""Listener rules, and the limits of requests per host name."""

import re
from typing import Any

import pytest

from components.settings.loader import parse
from tests.components.program import CLOUDFRONT, run
from tests.components.settings.stack_settings import each_stack, raw_settings


def waf_rules(stack: str) -> dict[str, dict[str, Any]]:
    (acl,) = run(stack).of_type("wafv2.WebAcl")
    rules = {rule["name"]: rule for rule in acl.inputs["rules"]}
    assert len({rule["priority"] for rule in rules.values()}) == len(rules)
    return rules


@pytest.mark.parametrize("service", ["console", "sharing"])
@each_stack
def test_waf_limits_requests_per_service(stack: str, service: str) -> None:
    rate = waf_rules(stack)[f"rate-{service}"]["statement"]["rateBasedStatement"]
    waf = parse(raw_settings(stack), stack).waf
    assert rate["limit"] == waf.service_requests_max()[service] < waf.requests_max
    match = rate["scopeDownStatement"]["regexMatchStatement"]
    host = run(stack).exports["urls"][service].removeprefix("https://")
    for sent, matched in (
        (host, True),
        (f"{host}:443", True),
        (f"{host}.acme.dev", False),
        (host.replace(".", "x"), False),
    ):
        assert bool(re.search(match["regexString"], sent)) is matched, sent
    assert match["fieldToMatch"] == {"singleHeader": {"name": "host"}}


def test_metrics_path_returns_404_before_other_rules() -> None:
    rules = run("prod").inputs("lb.ListenerRule")
    assert rules["metrics"]["priority"] < min(
        rules[f"forward-{service}"]["priority"] for service in ("gateway", "console", "sharing")
    )
    hosts = [f"{name}.gatehouse.example.com" for name in ("gateway", "console", "sharing")]
    assert rules["metrics"]["conditions"] == [
        {"pathPattern": {"values": ["/metrics", "/metrics/*"]}},
        {"hostHeader": {"values": hosts}},
    ]
    assert rules["metrics"]["actions"][0]["fixedResponse"]["statusCode"] == "404"


def test_grpc_requests_have_target_groups_with_http2() -> None:
    program = run("staging", changes=CLOUDFRONT)
    rules, groups = program.inputs("lb.ListenerRule"), program.inputs("lb.TargetGroup")
    versions = {name: group["protocolVersion"] for name, group in groups.items()}
    assert {name for name, version in versions.items() if version == "HTTP2"} == {
        "blue-grpc",
        "green-grpc",
    }
    assert set(versions.values()) == {"HTTP1", "HTTP2"}
    for kind in ("forward", "test"):
        grpc, other = rules[f"{kind}-grpc"], rules[f"{kind}-gateway"]
        assert grpc["priority"] < other["priority"]
        media_type = {"httpHeaderName": "Content-Type", "values": ["application/grpc*"]}
        assert {"httpHeader": media_type} in grpc["conditions"]
        for condition in other["conditions"]:
            assert condition in grpc["conditions"]
    assert rules["test-grpc"]["priority"] < rules["forward-grpc"]["priority"]
    service = program.inputs("ecs.Service")["gateway"]
    assert [row["containerPort"] for row in service["loadBalancers"]] == [8080, 8080]
    arns = [row["targetGroupArn"] for row in service["loadBalancers"]]
    assert len(set(arns)) == 2
    assert "blue-grpc" not in run("staging").inputs("lb.TargetGroup")


@each_stack
def test_health_checks_do_not_depend_on_data_stores(stack: str) -> None:
    """ECS replaces the tasks that fail the check."""
    groups = run(stack).inputs("lb.TargetGroup")
    assert groups
    assert {group["healthCheck"]["path"] for group in groups.values()} == {"/healthz"}
