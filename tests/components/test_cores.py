"""ECS services of Cores: hardening, network and permissions."""

from typing import Any

import pytest

from tests.components.program import OPTIONS, Program, run
from tests.components.settings.stack_settings import CORE

TOKEN = CORE["token_secret_arn"]


def program() -> Program:
    return run("dev", changes=OPTIONS)


def container() -> dict[str, Any]:
    (definition,) = program().containers("core-files")
    return dict(definition)


@pytest.mark.requirement("ECS-14")
def test_core_container_has_hardening_of_the_gateway() -> None:
    (gateway,) = program().containers("gateway")
    core = container()
    for key in (
        "user",
        "privileged",
        "readonlyRootFilesystem",
        "linuxParameters",
        "mountPoints",
        "stopTimeout",
    ):
        assert core[key] == gateway[key], key
    assert core["image"].endswith(f"gatehouse-dev-core-files@{CORE['image_digest']}")
    assert core["logConfiguration"]["options"]["awslogs-group"] == "/gatehouse/dev/core-files"
    assert core["healthCheck"]["command"] == ["CMD", "python", "health.py"]
    assert "command" not in core


@pytest.mark.requirement("ECS-14")
def test_core_gets_registration_variables() -> None:
    assert program().variables("core-files") == {
        "CORE_NAME": "files",
        "CORE_URL": "http://files.cores.gatehouse-dev.internal:9000",
        "GATEHOUSE_GATEWAY_URL": "https://gateway.dev.gatehouse.example.com",
    }


@pytest.mark.requirement("ECS-14")
def test_core_has_no_public_address() -> None:
    service = program().get("ecs/service:Service", "core-files").inputs
    assert "loadBalancers" not in service
    assert service["serviceRegistries"]["registryArn"] == "arn:aws:mock:::files"
    assert service["networkConfiguration"]["assignPublicIp"] is False
    assert "deploymentConfiguration" not in service, "no load balancer"


@pytest.mark.requirement("ECS-14", "CG-18")
def test_key_of_core_is_decrypted_for_core_only() -> None:
    key = program().statements("kms/key:Key", "secrets")
    decrypt = [s for s in key.values() if TOKEN in str(s.get("Condition"))]
    assert [s["Principal"]["AWS"] for s in decrypt] == [
        ["arn:aws:iam::123456789012:role/gatehouse-dev-core-files-execution"]
    ]


def test_gateway_allows_app_subnets_as_core_networks() -> None:
    tier = {
        a.inputs["cidrBlock"]
        for a in program().of_type("ec2/subnet:Subnet")
        if a.name.startswith("app-")
    }
    assert set(program().variables("gateway")["GATEHOUSE_CORE_NETWORKS"].split(",")) == tier
    assert run("dev").variables("gateway")["GATEHOUSE_CORE_NETWORKS"] == ""
