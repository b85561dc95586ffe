"""A Core of the user's own runs beside the gateway with the gateway's protections, and nobody but the gateway reaches it."""

import json
from typing import Any

import pytest

from tests.components.program import Program, run
from tests.components.settings.stack_settings import CORE

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

TOKEN = CORE["token_secret_arn"]


def program(*, preview: bool = False) -> Program:
    return run("dev", preview=preview, changes=json.dumps({"cores": [CORE]}))


def container() -> dict[str, Any]:
    (only,) = json.loads(program().one("ecs/taskDefinition:TaskDefinition", "core-files").inputs["containerDefinitions"])
    return dict(only)


@pytest.mark.requirement("ECS-14")
def test_a_core_s_container_is_locked_down_like_the_gateway_s_own() -> None:
    (gateway,) = json.loads(program().one("ecs/taskDefinition:TaskDefinition", "gateway").inputs["containerDefinitions"])
    core = container()
    for same in ("user", "privileged", "readonlyRootFilesystem", "linuxParameters", "mountPoints", "stopTimeout"):
        assert core[same] == gateway[same], same
    assert core["image"].endswith(f"gatehouse-dev-core-files@{CORE['image_digest']}")
    assert core["logConfiguration"]["options"]["awslogs-group"] == "/gatehouse/dev/core-files"
    assert core["healthCheck"]["command"] == ["CMD", "python", "health.py"]
    assert "command" not in core, "it starts as its image says"


@pytest.mark.requirement("ECS-14")
def test_a_core_is_told_how_to_register_and_gets_its_key_by_arn() -> None:
    assert {entry["name"]: entry["value"] for entry in container()["environment"]} == {
        "CORE_NAME": "files",
        "CORE_URL": "http://files.cores.gatehouse-dev.internal:9000",
        "GATEHOUSE_GATEWAY_URL": "https://gateway.dev.gatehouse.example.com",
    }
    assert container()["secrets"] == [{"name": "GATEHOUSE_CORE_TOKEN", "valueFrom": TOKEN}]


@pytest.mark.requirement("ECS-14")
def test_only_the_gateway_reaches_a_core() -> None:
    rules = program().of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    into = [rule.inputs for rule in rules if rule.inputs["securityGroupId"] == "core-files-id"]
    assert [(rule["referencedSecurityGroupId"], rule["fromPort"], rule["toPort"]) for rule in into] == [
        ("gateway-id", 9000, 9000)
    ]
    service = program().one("ecs/service:Service", "core-files").inputs
    assert "loadBalancers" not in service
    assert service["serviceRegistries"]["registryArn"] == "arn:aws:mock:::files"
    assert service["networkConfiguration"]["assignPublicIp"] is False
    assert "deploymentConfiguration" not in service, "there is no traffic of a load balancer to move"


@pytest.mark.requirement("ECS-14", "CG-18")
def test_a_core_may_do_nothing_in_aws_and_its_start_reads_its_own_key_alone() -> None:
    policies = {a.name: json.loads(a.inputs["policy"]) for a in program().of("iam/rolePolicy:RolePolicy")}
    assert "core-files-task" not in policies
    statements = {s["Sid"]: s for s in policies["core-files-execution"]["Statement"]}
    assert statements["InjectSecrets"]["Resource"] == [TOKEN]
    assert statements["PullImage"]["Resource"] == ["arn:aws:ecr:eu-west-1:123456789012:repository/gatehouse-dev-core-files"]
    key = json.loads(program().one("kms/key:Key", "secrets").inputs["policy"])
    opened = [s for s in key["Statement"] if TOKEN in str(s.get("Condition"))]
    assert [s["Principal"]["AWS"] for s in opened] == [["arn:aws:iam::123456789012:role/gatehouse-dev-core-files-execution"]]


def test_the_gateway_takes_the_addresses_of_cores_beside_it_and_no_others() -> None:
    def networks(of: Program) -> str:
        (gateway,) = json.loads(of.one("ecs/taskDefinition:TaskDefinition", "gateway").inputs["containerDefinitions"])
        return str(next(e["value"] for e in gateway["environment"] if e["name"] == "GATEHOUSE_CORE_NETWORKS"))

    tier = {a.inputs["cidrBlock"] for a in program().of("ec2/subnet:Subnet") if a.name.startswith("app-")}
    assert set(networks(program()).split(",")) == tier
    assert networks(run("dev")) == ""


def test_every_document_with_a_core_is_known_before_anything_exists() -> None:
    assert len(program(preview=True).documents()) > len(run("dev", preview=True).documents())


def test_the_key_of_the_logs_knows_a_core_s_log_group() -> None:
    policy = program().one("kms/key:Key", "logs").inputs["policy"]
    assert "log-group:/gatehouse/dev/core-files" in policy
