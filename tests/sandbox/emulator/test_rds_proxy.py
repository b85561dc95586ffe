"""The dev stack with RDS Proxy, which is disabled in every stack file."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.engine.types import Deployment
from sandbox.paths import REPOSITORY
from tests.sandbox.stack_settings import changed_settings

REGION, NAME = "eu-west-1", "gatehouse-dev-main"

Deployed = tuple[Emulator, Deployment]


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    """The dev stack with RDS Proxy, deployed once."""
    database = {**json.loads(load(REPOSITORY, "dev").config["gatehouse:settings"])["database"], "proxy": True}
    with Emulator.start() as emulator:
        yield emulator, run(REPOSITORY, "dev", emulator, preview=False, config=changed_settings("dev", database=database))


def variable(deployed: Deployed, process: str, name: str) -> str:
    (task,) = (
        item.outputs
        for item in deployed[1].resources
        if item.registration.type == "aws:ecs/taskDefinition:TaskDefinition" and item.registration.name == process
    )
    (container,) = json.loads(task["containerDefinitions"])
    variables: dict[str, str] = {entry["name"]: entry["value"] for entry in container["environment"]}
    return variables[name]


def document(deployed: Deployed, role: str) -> dict[str, Any]:
    iam = deployed[0].client("iam", REGION)
    policy: dict[str, Any] = iam.get_role_policy(RoleName=f"gatehouse-dev-{role}", PolicyName="permissions")["PolicyDocument"]
    return policy


@pytest.mark.requirement("TR-01")
def test_proxy_requires_tls_and_targets_the_database(deployed: Deployed) -> None:
    rds = deployed[0].client("rds", REGION)
    (proxy,) = rds.describe_db_proxies()["DBProxies"]
    assert (proxy["DBProxyName"], proxy["EngineFamily"], proxy["RequireTLS"]) == (NAME, "POSTGRESQL", True)
    assert proxy["DebugLogging"] is False
    (group,) = rds.describe_db_proxy_target_groups(DBProxyName=NAME)["TargetGroups"]
    assert group["ConnectionPoolConfig"]["MaxConnectionsPercent"] == 90
    (target,) = rds.describe_db_proxy_targets(DBProxyName=NAME)["Targets"]
    assert target["RdsResourceId"] == NAME


def test_services_use_the_proxy_and_migration_the_database(deployed: Deployed) -> None:
    (proxy,) = deployed[0].client("rds", REGION).describe_db_proxies()["DBProxies"]
    (database,) = deployed[0].client("rds", REGION).describe_db_instances()["DBInstances"]
    for process in ("gateway", "console"):
        assert f"@{proxy['Endpoint']}:5432/" in variable(deployed, process, "GATEHOUSE_DATABASE_URL")
    assert f"@{database['Endpoint']['Address']}:5432/" in variable(deployed, "migrate", "GATEHOUSE_DATABASE_URL")


@pytest.mark.requirement("CG-18")
def test_iam_database_users(deployed: Deployed) -> None:
    def database_users(role: str) -> list[str]:
        return [r for s in document(deployed, role)["Statement"] if "rds-db:connect" in s["Action"] for r in s["Resource"]]

    arn = f"arn:aws:rds-db:{REGION}:123456789012:dbuser"
    for process in ("gateway", "console"):
        assert database_users(f"{process}-task") == [f"{arn}:prx-*/gatehouse_app"]
    assert database_users("database-proxy") == [f"{arn}:db-*/gatehouse_app"]


@pytest.mark.requirement("ECS-03")
def test_security_groups_of_database_and_proxy(deployed: Deployed) -> None:
    ec2 = deployed[0].client("ec2", REGION)
    groups = {group["GroupId"]: group for group in ec2.describe_security_groups()["SecurityGroups"]}
    names = {identity: group["GroupName"].removeprefix("gatehouse-dev-") for identity, group in groups.items()}

    def sources(name: str) -> set[str]:
        (group,) = (group for identity, group in groups.items() if names[identity] == name)
        return {names[pair["GroupId"]] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]}

    assert sources("database") == {"database-proxy", "migrate"}
    assert sources("database-proxy") == {"gateway", "console"}


def test_proxy_log_is_encrypted(deployed: Deployed) -> None:
    logs = deployed[0].client("logs", REGION)
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/aws/rds/proxy/")["logGroups"]
    policy = deployed[0].client("kms", REGION).get_key_policy(KeyId=group["kmsKeyId"], PolicyName="default")["Policy"]
    assert f"log-group:{group['logGroupName']}" in policy
