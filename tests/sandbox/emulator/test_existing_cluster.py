"""The program in examples/existing-cluster, with resources that exist in the emulator."""

import json
from typing import Any

import pytest
from gatehouse_policies.policy_check import check
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.update import update

from components.iam.documents import allow, document, render
from sandbox.emulator.server import Emulator
from sandbox.paths import REPOSITORY
from tests.repository.test_run_anywhere import assert_settings, create_env

PROGRAM, ACCOUNT, REGION = REPOSITORY / "examples/existing-cluster", "123456789012", "eu-west-1"
DOMAIN = "acme.dev"
SECRET = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:gatehouse-AbCdEf"
PARTS = {"gateway": ("gateway", "console"), "sharing": ("console", "sharing")}
"""Services of each part that can be adopted."""


@pytest.fixture(scope="module")
def existing(emulator: Emulator) -> dict[str, Any]:
    """The settings that name resources, which others have created."""
    ec2, elb = emulator.client("ec2", REGION), emulator.client("elbv2", REGION)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{zone}.0/24")["Subnet"]["SubnetId"]
        for zone in range(2)
    ]
    groups = {
        name: ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("balancer", "database", "cache")
    }
    (balancer,) = elb.create_load_balancer(Name="platform", Subnets=subnets)["LoadBalancers"]
    default = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    listener = elb.create_listener(
        LoadBalancerArn=balancer["LoadBalancerArn"],
        Protocol="HTTP",
        Port=80,
        DefaultActions=[default],
    )
    ecs, kms = emulator.client("ecs", REGION), emulator.client("kms", REGION)
    s3, arn = emulator.client("s3", REGION), "arn:aws:s3:::access-logs"
    s3.create_bucket(Bucket="access-logs", CreateBucketConfiguration={"LocationConstraint": REGION})
    principal = {"Service": "logging.s3.amazonaws.com"}
    delivery = allow("Logs", "s3:PutObject", [f"{arn}/*"], principal=principal)
    s3.put_bucket_policy(Bucket="access-logs", Policy=render(document(delivery)))
    return {
        "cluster": ecs.create_cluster(clusterName="platform")["cluster"]["clusterArn"],
        "key": kms.create_key()["KeyMetadata"]["Arn"],
        "listener": listener["Listeners"][0]["ListenerArn"],
        "vpc": vpc,
        "subnets": subnets,
        "groups": groups,
    }


def test_packs_accept_the_program() -> None:
    result = check(PROGRAM, "dev")
    assert result.exit_code == 0, result.text("txt")


def hosts(part: str) -> dict[str, str]:
    return {service: f"{service}.{DOMAIN}" for service in PARTS[part]}


def deploy(
    emulator: Emulator, checkpoint: Checkpoint, existing: dict[str, Any], part: str
) -> dict[str, Any]:
    """The containers of the only service, by name. Each service has a rule for its host name."""
    settings = {**existing, "hosts": hosts(part)}
    config = {
        f"existing-cluster:{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
    }
    update(PROGRAM, "dev", emulator, checkpoint, report=lambda step: None, config=config)
    elb, ecs = emulator.client("elbv2", REGION), emulator.client("ecs", REGION)
    rules = elb.describe_rules(ListenerArn=existing["listener"])["Rules"]
    ports = {}
    for rule in [rule for rule in rules if rule["Conditions"]]:
        (arn,) = [action["TargetGroupArn"] for action in rule["Actions"]]
        (group,) = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"]
        (host,) = rule["Conditions"][0]["HostHeaderConfig"]["Values"]
        ports[arn] = (host, group["Port"])
    (service,) = ecs.describe_services(
        cluster=existing["cluster"], services=["gatehouse-dev-gatehouse"]
    )["services"]
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])
    containers = {row["name"]: row for row in definition["taskDefinition"]["containerDefinitions"]}
    connected = {row["targetGroupArn"]: row for row in service["loadBalancers"]}
    assert set(connected) == set(ports)
    assert {host for host, _ in ports.values()} == set(hosts(part).values())
    for arn, (_, port) in ports.items():
        container = containers[connected[arn]["containerName"]]
        assert port in {row["containerPort"] for row in container["portMappings"]}
    return containers


def test_program_is_deployed_and_changed(emulator: Emulator, existing: dict[str, Any]) -> None:
    """The gateway with its console, and then sharing alone."""
    checkpoint, values = Checkpoint(), create_env()
    for part, started in (("gateway", {"gateway"}), ("sharing", set[str]())):
        containers = deploy(emulator, checkpoint, existing, part)
        assert set(containers) == {"migrate", "console", *started}
        for name, container in containers.items():
            environment = {row["name"]: row["value"] for row in container["environment"]}
            assert "<" not in json.dumps(container)
            for row in container["secrets"]:
                arn, _, key = row["valueFrom"].removesuffix("::").rpartition(":")
                assert arn == SECRET
                environment[row["name"]] = values[key]
            assert_settings(name, environment)
    assert containers["console"]["command"] == ["gatehouse", "serve", "console", "sharing"]
