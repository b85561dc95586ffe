"""A stack of another program is updated to the current program and destroyed."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import destroy, update
from pulumi_local.files.project import load
from pulumi_local.types import Deployment

from sandbox.emulator.server import Emulator
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import CORE, raw_settings

REGION = "eu-west-1"
PROGRAM = (
    *("__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "components"),
    *("runtime/contract.toml", "runtime/Dockerfile"),
)
BALANCER = "components/edge/load_balancer.py"
RENAMED = {
    'f"{colour}-{resource}"': 'f"{resource}-{colour}"',
    'f"forward-{resource}"': 'f"{resource}"',
    "PRIORITY = 20": "PRIORITY = 10",
}
"""Names of the target groups and rules of the other program. Its rules have another priority,
because both rules exist during the update."""
OLDER: dict[str, dict[str, Any]] = {
    "image": {"digest": f"sha256:{'a' * 64}"},
    "database": {"instance_class": "db.t4g.small"},
    "sharing": {"mode": "serverless", "api_gateway_log_role": True},
}
# Settings that are empty or disabled in every stack file.
NEWER: dict[str, dict[str, Any]] = {
    "rollout": {"strategy": "canary"},
    "telemetry": {"collector": True},
    "waf": {"console_networks": ["192.0.2.0/24", "2001:db8::/32"]},
}


@dataclass(frozen=True)
class Updated:
    """The emulator after the update, the steps of the update and of the second run, and the
    deployments.
    """

    emulator: Emulator
    checkpoint: Checkpoint
    updated: list[Step]
    repeated: list[Step]
    old: Deployment
    new: Deployment

    def client(self, service: str) -> Any:
        return self.emulator.client(service, REGION)


def settings(changes: dict[str, dict[str, Any]], **more: Any) -> dict[str, str]:
    raw = json.loads(load(REPOSITORY, "dev").config["gatehouse:settings"])
    return {
        "gatehouse:settings": json.dumps(
            {**raw, **{key: {**raw.get(key, {}), **row} for key, row in changes.items()}, **more}
        )
    }


def older_program(folder: Path) -> Path:
    for name in PROGRAM:
        source = REPOSITORY / name
        (folder / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "runtime/functions").symlink_to(REPOSITORY / "runtime/functions")
    text = (folder / BALANCER).read_text()
    for now, before in RENAMED.items():
        assert now in text
        text = text.replace(now, before)
    (folder / BALANCER).write_text(text)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Updated]:
    program = older_program(tmp_path_factory.mktemp("older"))
    checkpoint, updated, repeated = Checkpoint(), list[Step](), list[Step]()
    with Emulator.start() as emulator:
        config = settings(OLDER, owner="previous-team", log_retention_days=7)
        old = update(program, "dev", emulator, checkpoint, report=lambda step: None, config=config)
        config = settings(NEWER, cores=[CORE])
        new = update(REPOSITORY, "dev", emulator, checkpoint, report=updated.append, config=config)
        update(REPOSITORY, "dev", emulator, checkpoint, report=repeated.append, config=config)
        yield Updated(emulator, checkpoint, updated, repeated, old, new)


def test_resources_are_renamed_replaced_and_deleted(stack: Updated) -> None:
    steps = {(step.type, step.name): step.operation for step in stack.updated}
    assert steps["aws:lb/targetGroup:TargetGroup", "gateway-blue"] == "delete"
    assert steps["aws:lb/targetGroup:TargetGroup", "blue-gateway"] == "create"
    assert {"create", "update", "replace", "delete"} <= set(steps.values())
    assert len(stack.old.resources) > 300


def test_second_run_changes_nothing(stack: Updated) -> None:
    assert stack.repeated == []


def test_tags_are_replaced(stack: Updated) -> None:
    owner = raw_settings("dev")["owner"]
    tagging = stack.client("resourcegroupstaggingapi")
    pages = tagging.get_paginator("get_resources").paginate(TagFilters=[{"Key": "Owner"}])
    rows = [row for page in pages for row in page["ResourceTagMappingList"]]
    assert len(rows) > 20
    others = [
        row["ResourceARN"] for row in rows if {"Key": "Owner", "Value": owner} not in row["Tags"]
    ]
    # Snapshots and deregistered task definitions keep their tags.
    assert [
        arn for arn in others if ":snapshot:" not in arn and ":task-definition/" not in arn
    ] == []


def test_data_is_neither_replaced_nor_deleted(stack: Updated) -> None:
    lost = {"replace", "delete"}
    kinds = {step.type for step in stack.updated if step.operation in lost}
    assert (
        not {
            "aws:s3/bucket:Bucket",
            "aws:rds/instance:Instance",
            "aws:kms/key:Key",
            "aws:dynamodb/table:Table",
        }
        & kinds
    )


def test_stack_is_destroyed(stack: Updated) -> None:
    destroy(stack.emulator, stack.checkpoint, lambda step: None)
    assert stack.checkpoint.resources == ()
    client = stack.client
    for service, call, rows in (
        ("s3", "list_buckets", "Buckets"),
        ("rds", "describe_db_instances", "DBInstances"),
        ("elbv2", "describe_load_balancers", "LoadBalancers"),
        ("lambda", "list_functions", "Functions"),
        ("dynamodb", "list_tables", "TableNames"),
        ("logs", "describe_log_groups", "logGroups"),
        ("route53", "list_hosted_zones", "HostedZones"),
    ):
        assert getattr(client(service), call)()[rows] == [], service
    (cluster,) = client("ecs").describe_clusters(clusters=[stack.new.exports["cluster"]])[
        "clusters"
    ]
    assert cluster["status"] == "INACTIVE", "ECS keeps a deleted cluster for a while"
    assert all(row["IsDefault"] for row in client("ec2").describe_vpcs()["Vpcs"])
    assert "gatehouse" not in str([row["RoleName"] for row in client("iam").list_roles()["Roles"]])
