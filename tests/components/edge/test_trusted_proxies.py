"""The trusted proxies of each form of deployment are exactly the subnets of its load balancer."""

from typing import Any

import pytest

from tests.components.program import (
    CLOSED,
    CLOUDFRONT,
    COMPANY,
    OPTIONS,
    SUBNETS,
    Program,
    run,
    subnet_cidr,
)
from tests.components.settings.stack_settings import CORE

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "small": ("dev", {"profile": "small"}),
    "own subnets": ("prod", {}),
    "own subnets in an existing VPC": ("dev", CLOSED),
    "with Cores": ("dev", OPTIONS),
    "existing subnets": ("prod", COMPANY),
    "cloudfront": ("staging", CLOUDFRONT),
    "cloudfront and functions": ("staging", {**CLOUDFRONT, "sharing.mode": "serverless"}),
}


def balancer_networks(program: Program, service: str) -> set[str]:
    """The blocks of the subnets of the load balancers that forward to an ECS service."""
    balancers = program.inputs("lb.LoadBalancer")
    own = {row.name: row.inputs["cidrBlock"] for row in program.of_type("ec2.Subnet")}
    ports = {
        row["containerPort"] for row in program.get("ecs.Service", service).inputs["loadBalancers"]
    }
    names = {"origin" if port == 8081 and "origin" in balancers else "edge" for port in ports}
    return {
        own.get(subnet.removesuffix("-id")) or subnet_cidr(subnet)
        for name in names
        for subnet in balancers[name]["subnets"]
    }


@pytest.mark.parametrize("form", FORMS)
def test_only_the_load_balancer_is_trusted(form: str) -> None:
    stack, changes = FORMS[form]
    program = run(stack, changes=changes)
    services = [task.name for task in program.of_type("ecs.Service")]
    assert {"gateway", "console"} <= set(services)
    for service in services:
        trusted = program.variables(service).get("GATEHOUSE_TRUSTED_PROXIES")
        if trusted is not None:  # a Core has no such variable
            assert set(trusted.split(",")) == balancer_networks(program, service), service


def test_cores_of_the_stack_are_in_the_app_subnets_only() -> None:
    secret = CORE["token_secret_arn"].replace("gatehouse/", f"{COMPANY['name_prefix']}/")
    core = {**CORE, "token_secret_arn": secret}
    program = run("dev", changes={**COMPANY, "cores": [core]})
    networks = [subnet_cidr(subnet) for subnet in SUBNETS["app"]]
    assert program.variables("gateway")["GATEHOUSE_CORE_NETWORKS"] == ",".join(networks)
