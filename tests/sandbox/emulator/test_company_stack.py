"""A stack with the settings for the account of a company is deployed, changed and destroyed, in
small subnets in two blocks of a VPC of others.
"""

import json
from typing import Any

import pytest
from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.steps import Step
from pulumi_local.engine.update import destroy, update

from sandbox.emulator.server import Emulator
from sandbox.paths import REPOSITORY
from tests.components.program import COMPANY, SUBNETS, TRANSIT, subnet_cidr
from tests.components.settings.stack_settings import ACCOUNT_RESOURCES, raw_settings

REGION = "eu-west-1"
KEPT = {
    *("aws:rds/instance:Instance", "aws:s3/bucket:Bucket", "aws:kms/key:Key"),
    *("aws:dynamodb/table:Table", "aws:lb/loadBalancer:LoadBalancer", "aws:ecs/service:Service"),
    *("aws:ec2/securityGroup:SecurityGroup", "aws:iam/role:Role"),
}
CHANGED: dict[str, Any] = {
    "tags": ["cost:unit=43"],
    "load_balancer": {"internal": True, "client_networks": ["100.96.0.0/16"]},
    "oidc": {**COMPANY["oidc"], "issuer_networks": ["172.16.0.0/24"]},
    "network.core_networks": ["100.80.0.0/16"],
    "services.gateway.tasks_max": 3,
}


@pytest.fixture(scope="module")
def network(emulator: Emulator) -> dict[str, Any]:
    """The VPC and the subnets of the central team."""
    ec2 = emulator.client("ec2", REGION)
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")
    subnets = {
        tier: [
            ec2.create_subnet(
                VpcId=vpc, CidrBlock=subnet_cidr(name), AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for name, zone in zip(names, "abc", strict=True)
        ]
        for tier, names in SUBNETS.items()
    }
    acm = emulator.client("acm", REGION)
    arn = acm.request_certificate(DomainName="*.dev.gatehouse.example.com")["CertificateArn"]
    existing = {**COMPANY["existing_resources"], "vpc_id": vpc, "certificate_arn": arn}
    return {"network.subnets": subnets, "existing_resources": existing}


def test_stack_is_deployed_changed_and_destroyed(
    emulator: Emulator, network: dict[str, Any]
) -> None:
    checkpoint, steps = Checkpoint(), list[Step]()

    def deploy(changes: dict[str, Any]) -> None:
        raw = raw_settings("dev", {**COMPANY, **network, **changes})
        config = {"gatehouse:settings": json.dumps(raw)}
        steps.clear()
        update(REPOSITORY, "dev", emulator, checkpoint, report=steps.append, config=config)

    deploy({})
    assert len(steps) > 300
    deploy(CHANGED)
    assert {"update", "create", "delete"} <= {step.operation for step in steps}
    lost = {step.type for step in steps if step.operation in ("replace", "delete")}
    assert lost.isdisjoint(KEPT)
    deploy(CHANGED)
    assert steps == []

    ec2 = emulator.client("ec2", REGION)
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    cidrs = {rule.get("CidrIpv4") for rule in rules}
    assert {"100.96.0.0/16", "172.16.0.0/24", "100.80.0.0/16"} <= cidrs
    assert not {*COMPANY["load_balancer"]["client_networks"]} & cidrs
    role = emulator.client("iam", "us-east-1").get_role(RoleName="acme-gw-dev-deploy")["Role"]
    assert "oidc-provider/gitlab.acme.dev" in json.dumps(role["AssumeRolePolicyDocument"])

    destroy(emulator, checkpoint, lambda step: None)
    vpcs = [row["VpcId"] for row in ec2.describe_vpcs()["Vpcs"]]
    assert network["existing_resources"]["vpc_id"] in vpcs


def test_two_zones_of_a_region_in_shared_address_space(emulator: Emulator) -> None:
    region = "us-west-1"
    form = {**TRANSIT, "region": region, "network.zones": [f"{region}a", f"{region}b"]}
    checkpoint, steps, counts = Checkpoint(), list[Step](), list[int]()
    for changes in ({}, {"network.core_networks": ["100.80.0.0/16"]}, {}):
        raw = raw_settings("prod", {**ACCOUNT_RESOURCES, **form, **changes})
        config = {"gatehouse:settings": json.dumps(raw)}
        steps.clear()
        update(REPOSITORY, "prod", emulator, checkpoint, report=steps.append, config=config)
        counts.append(len(steps))
    zones = emulator.client("ec2", region).describe_subnets(
        Filters=[{"Name": "tag:Name", "Values": ["gatehouse-prod-*"]}]
    )["Subnets"]
    assert counts[0] > 300
    assert 0 < max(counts[1:]) < 20, "a change of a network is a change of rules"
    assert {row["AvailabilityZone"] for row in zones} == {f"{region}a", f"{region}b"}
    assert all(row["CidrBlock"].startswith("100.64.") for row in zones)
