"""ECS services of Cores: hardening, network and permissions."""

from typing import Any

import pytest

from tests.components.program import Program, run
from tests.components.settings.stack_settings import CORE

TOKEN = CORE["token_secret_arn"]


def program() -> Program:
    return run("dev", changes={"cores": [CORE]})


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
def test_core_gets_registration_variables_and_key_by_arn() -> None:
    assert program().variables("core-files") == {
        "CORE_NAME": "files",
        "CORE_URL": "http://files.cores.gatehouse-dev.internal:9000",
        "GATEHOUSE_GATEWAY_URL": "https://gateway.dev.gatehouse.example.com",
    }
    assert container()["secrets"] == [{"name": "GATEHOUSE_CORE_TOKEN", "valueFrom": TOKEN}]


@pytest.mark.requirement("ECS-14")
def test_core_accepts_connections_of_gateway_only() -> None:
    rules = program().of_type("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    ingress = [rule.inputs for rule in rules if rule.inputs["securityGroupId"] == "core-files-id"]
    assert [
        (rule["referencedSecurityGroupId"], rule["fromPort"], rule["toPort"]) for rule in ingress
    ] == [("gateway-id", 9000, 9000)]
    service = program().get("ecs/service:Service", "core-files").inputs
    assert "loadBalancers" not in service
    assert service["serviceRegistries"]["registryArn"] == "arn:aws:mock:::files"
    assert service["networkConfiguration"]["assignPublicIp"] is False
    assert "deploymentConfiguration" not in service, "no load balancer"


@pytest.mark.requirement("ECS-14", "CG-18")
def test_core_has_no_task_permissions_and_one_secret() -> None:
    assert "core-files-task" not in {
        policy.name for policy in program().of_type("iam/rolePolicy:RolePolicy")
    }
    statements = program().permissions("core-files-execution")
    assert statements["InjectSecrets"]["Resource"] == [TOKEN]
    assert statements["PullImage"]["Resource"] == [
        "arn:aws:ecr:eu-west-1:123456789012:repository/gatehouse-dev-core-files"
    ]
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
