"""Deployment strategies, rollback and auto scaling."""

import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.components.program import CLOSED, CLOUDFRONT, CONSOLE_NETWORKS, OPTIONS, run
from tests.components.settings.stack_settings import each_stack

SERVICES = ("gateway", "console")


def service(stack: str, name: str) -> dict[str, Any]:
    return run(stack).get("ecs.Service", name).inputs


def details(stack: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    inputs = run(stack, changes=changes).get("ecs.Service", name).inputs
    (hook,) = inputs["deploymentConfiguration"]["lifecycleHooks"]
    return dict(json.loads(hook["hookDetails"]))


def checks(stack: str, name: str, changes: dict[str, Any]) -> list[dict[str, Any]]:
    return list(details(stack, name, changes)["checks"])


def test_traffic_shifts_in_the_steps_of_the_environment() -> None:
    assert "deploymentConfiguration" not in service("dev", "gateway")
    for stack in ("staging", "prod"):
        canary = service(stack, "gateway")["deploymentConfiguration"]
        assert (canary["strategy"], canary["bakeTimeInMinutes"]) == ("CANARY", "15")
        steps = {"canaryPercent": 10, "canaryBakeTimeInMinutes": "10"}
        assert canary["canaryConfiguration"] == steps


@pytest.mark.parametrize("stack", ["staging", "prod"])
def test_smoke_test_runs_before_production_traffic_shifts(stack: str) -> None:
    program = run(stack)
    for name in SERVICES:
        (hook,) = service(stack, name)["deploymentConfiguration"]["lifecycleHooks"]
        assert hook["lifecycleStages"] == ["POST_TEST_TRAFFIC_SHIFT"]
        assert (hook["hookTargetArn"], hook["roleArn"]) == (
            "arn:aws:mock:::smoke",
            "arn:aws:mock:::ecs-hooks",
        )
        details = json.loads(hook["hookDetails"])
        services = [
            balanced["targetGroupArn"].rpartition(":")[2].removeprefix("blue-")
            for balanced in service(stack, name)["loadBalancers"]
        ]
        hosts = [urlsplit(check["url"]).hostname or "" for check in details["checks"]]
        assert {host.partition(".")[0] for host in hosts} == set(services)
        assert {check["status"] for check in details["checks"]} == {200, 401}
        for balanced, target in zip(service(stack, name)["loadBalancers"], services, strict=True):
            rule = program.get("lb.ListenerRule", f"test-{target}")
            assert (
                balanced["advancedConfiguration"]["testListenerRule"]
                == f"arn:aws:mock:::test-{target}"
            )
            production = program.get("lb.ListenerRule", f"forward-{target}").inputs
            assert rule.inputs["priority"] < production["priority"]
            assert rule.inputs["actions"] == production["actions"], (
                "the first deployment has only one group of tasks"
            )
            assert rule.inputs["conditions"][0] == production["conditions"][0]
            header = rule.inputs["conditions"][1]["httpHeader"]
            assert {"name": header["httpHeaderName"], "value": header["values"][0]} == details[
                "header"
            ]


def test_stack_without_smoke_test_has_no_test_traffic() -> None:
    program = run("dev", changes=CLOSED)
    names = {resource.name for resource in program.resources}
    assert not {"smoke", "ecs-hooks", "test-gateway"} & names
    inputs = program.get("ecs.Service", "gateway").inputs
    assert "lifecycleHooks" not in inputs["deploymentConfiguration"]
    assert "testListenerRule" not in inputs["loadBalancers"][0]["advancedConfiguration"]


@each_stack
@pytest.mark.parametrize("name", SERVICES)
def test_deployment_rolls_back_on_service_alarms(stack: str, name: str) -> None:
    alarms = service(stack, name)["alarms"]
    rises = {"gateway": ("core-errors", "edge-5xx", "canary-key"), "console": ("edge-5xx",)}
    services = {"gateway": ["gateway"], "console": ["console", "sharing"]}[name]
    services = [service for service in services if service not in run(stack).exports["functions"]]
    assert (alarms["enable"], alarms["rollback"]) == (True, True)
    assert alarms["alarmNames"] == [
        f"gatehouse-{stack}-{service}-{what}"
        for service in services
        for what in ("errors-5m", "latency-5m", "unhealthy", "restarts")
    ] + [f"gatehouse-{stack}-{alarm}" for alarm in rises[name]]
    assert service(stack, name)["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


def test_smoke_test_of_the_gateway_uses_the_canary_key() -> None:
    url = "https://gateway.gatehouse.example.com"
    found = details("prod", "gateway", {})
    assert found["canary"] == {
        "name": "gatehouse/prod/canary-key",
        "verify": f"{url}/v1/keys/verify",
        "echo": f"{url}/cores/gatehouse-echo/check",
        "address": found["checks"][0]["address"],
    }
    assert "canary" not in details("prod", "console", {})


def test_canary_key_is_only_verified_without_the_proxy() -> None:
    off = {"environment_variables": ["GATEHOUSE_FEATURES=webhooks=off,proxy=off"]}
    assert details("prod", "gateway", off)["canary"].keys() == {"name", "verify", "address"}
    probe = json.loads(
        run("prod", changes=off).get("cloudwatch.EventTarget", "probe").inputs["input"]
    )
    assert probe["canary"].keys() == {"name", "verify"}


def test_smoke_test_needs_no_feature() -> None:
    for name in SERVICES:
        assert {check["status"] for check in checks("dev", name, OPTIONS)} == {200}


def test_smoke_test_of_a_console_with_networks_requests_its_readiness_only() -> None:
    found = checks("staging", "console", {"waf.console_networks": CONSOLE_NETWORKS})
    assert [urlsplit(check["url"]).path for check in found] == ["/readyz"]


def test_smoke_test_reaches_a_console_behind_cloudfront() -> None:
    found = checks("staging", "console", CLOUDFRONT)
    addresses = {urlsplit(check["url"]).hostname: check["address"] for check in found}
    assert addresses["console.staging.gatehouse.example.com"] != "load-balancer.example.internal"


def test_functions_reserve_concurrency_by_setting() -> None:
    reserved, unreserved = (
        {
            function.name: function.inputs.get("reservedConcurrentExecutions")
            for function in program.of_type("lambda.Function")
        }
        for program in (run("dev"), run("dev", changes=CLOSED))
    )
    assert reserved == {"rotate": 5, "restart": 1, "migration": 1, "probe": 1}
    assert unreserved == {"rotate": None, "restart": None, "migration": None, "sharing": None}
