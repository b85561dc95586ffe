"""`get` and `import` read resources that exist in the emulator."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.types import Registration

from sandbox.emulator.server import Emulator
from sandbox.engine.checkpoint import Checkpoint
from sandbox.engine.steps import Step
from sandbox.engine.update import destroy, update

REGION = "eu-west-1"
POLICY = json.dumps({"Version": "2012-10-17", "Statement": []})


class Existing:
    """Resources that another program has created. ids: keyed by type."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        client = emulator.client
        ec2, iam = client("ec2", REGION), client("iam", REGION)
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "shared"}])
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
        key = client("kms", REGION).create_key(
            Description="Shared", Tags=[{"TagKey": "team", "TagValue": "a"}]
        )["KeyMetadata"]
        client("kms", REGION).create_alias(AliasName="alias/shared", TargetKeyId=key["KeyId"])
        zone = client("route53", REGION).create_hosted_zone(
            Name="example.org", CallerReference="1"
        )["HostedZone"]["Id"]
        iam.create_role(RoleName="shared", AssumeRolePolicyDocument=POLICY)
        client("s3", REGION).create_bucket(
            Bucket="shared", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self.ids = {
            "aws:ec2/vpc:Vpc": vpc,
            "aws:ec2/subnet:Subnet": subnet,
            "aws:ec2/internetGateway:InternetGateway": ec2.create_internet_gateway()[
                "InternetGateway"
            ]["InternetGatewayId"],
            "aws:ec2/routeTable:RouteTable": ec2.create_route_table(VpcId=vpc)["RouteTable"][
                "RouteTableId"
            ],
            "aws:ec2/securityGroup:SecurityGroup": group,
            "aws:kms/key:Key": key["KeyId"],
            "aws:kms/alias:Alias": "alias/shared",
            "aws:route53/zone:Zone": zone.rpartition("/")[2],
            "aws:acm/certificate:Certificate": client("acm", REGION).request_certificate(
                DomainName="a.org"
            )["CertificateArn"],
            "aws:guardduty/detector:Detector": client("guardduty", REGION).create_detector(
                Enable=True
            )["DetectorId"],
            "aws:iam/role:Role": "shared",
            "aws:s3/bucket:Bucket": "shared",
            "aws:sns/topic:Topic": client("sns", REGION).create_topic(Name="shared")["TopicArn"],
        }

    def read(
        self,
        type_: str,
        identity: str,
        inputs: dict[str, Any] | None = None,
        *,
        external: bool = True,
    ) -> dict[str, Any]:
        registration = Registration(
            "urn:x", type_, "x", True, "", inputs or {}, import_id=identity, external=external
        )
        return self.emulator.create(registration)[1]


@pytest.fixture(scope="module")
def existing() -> Iterator[Existing]:
    with Emulator.start() as emulator:
        yield Existing(emulator)


@pytest.mark.parametrize(
    ("type_", "outputs"),
    [
        (
            "aws:ec2/vpc:Vpc",
            {"cidrBlock": "10.9.0.0/16", "enableDnsSupport": True, "tags": {"Name": "shared"}},
        ),
        ("aws:ec2/subnet:Subnet", {"cidrBlock": "10.9.1.0/24", "mapPublicIpOnLaunch": False}),
        ("aws:ec2/internetGateway:InternetGateway", {"ownerId": "123456789012"}),
        ("aws:ec2/routeTable:RouteTable", {"ownerId": "123456789012"}),
        ("aws:ec2/securityGroup:SecurityGroup", {"name": "g", "description": "d"}),
        (
            "aws:kms/key:Key",
            {
                "description": "Shared",
                "isEnabled": True,
                "enableKeyRotation": False,
                "tags": {"team": "a"},
            },
        ),
        ("aws:kms/alias:Alias", {"name": "alias/shared"}),
        ("aws:route53/zone:Zone", {"name": "example.org"}),
        (
            "aws:acm/certificate:Certificate",
            {"domainName": "a.org", "subjectAlternativeNames": ["a.org"]},
        ),
        ("aws:guardduty/detector:Detector", {"enable": True, "accountId": "123456789012"}),
        ("aws:iam/role:Role", {"name": "shared", "path": "/"}),
        ("aws:s3/bucket:Bucket", {"bucket": "shared", "arn": "arn:aws:s3:::shared"}),
        ("aws:sns/topic:Topic", {"name": "shared"}),
    ],
)
def test_existing_resource_is_read(existing: Existing, type_: str, outputs: dict[str, Any]) -> None:
    found = existing.read(type_, existing.ids[type_])
    assert {name: found.get(name) for name in outputs} == outputs
    assert str(found["arn"]).startswith("arn:aws:")


@pytest.mark.parametrize(
    ("type_", "identity"),
    [
        ("aws:ec2/vpc:Vpc", "vpc-00000000000000000"),
        ("aws:ec2/subnet:Subnet", "subnet-00000000000000000"),
        ("aws:kms/key:Key", "00000000-0000-0000-0000-000000000000"),
        ("aws:route53/zone:Zone", "Z00000000000000000000"),
        ("aws:acm/certificate:Certificate", f"arn:aws:acm:{REGION}:123456789012:certificate/x"),
        ("aws:guardduty/detector:Detector", "0" * 32),
        ("aws:iam/role:Role", "absent"),
        ("aws:s3/bucket:Bucket", "absent"),
        ("aws:sns/topic:Topic", f"arn:aws:sns:{REGION}:123456789012:absent"),
    ],
)
def test_absent_resource_is_an_error(existing: Existing, type_: str, identity: str) -> None:
    with pytest.raises(CheckError, match=f"resource '{identity}' does not exist"):
        existing.read(type_, identity)


def test_type_that_cannot_be_read_is_an_error(existing: Existing) -> None:
    with pytest.raises(CheckError, match="cannot read or import aws:ecs/cluster:Cluster"):
        existing.read("aws:ecs/cluster:Cluster", "shared")


def test_import_rejects_inputs_that_differ(existing: Existing) -> None:
    vpc = existing.ids["aws:ec2/vpc:Vpc"]
    with pytest.raises(
        CheckError, match=r"do not match the existing resource .*: cidrBlock is '10\.9\.0\.0/16'"
    ):
        existing.read("aws:ec2/vpc:Vpc", vpc, {"cidrBlock": "10.8.0.0/16"}, external=False)


def test_imported_resource_is_managed_and_read_resource_is_not(
    existing: Existing, tmp_path: Path
) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config:\n  aws:region: {REGION}\n")
    vpc, key = existing.ids["aws:ec2/vpc:Vpc"], existing.ids["aws:kms/key:Key"]
    program = (
        "import pulumi\nimport pulumi_aws as aws\n"
        f"pulumi.export('cidr', aws.ec2.Vpc.get('vpc', '{vpc}').cidr_block)\n"
        f"imported = pulumi.ResourceOptions(import_='{key}')\n"
        "aws.kms.Key('key', description={!r}, tags={{'team': 'a'}}, opts=imported)\n"
    )
    steps, checkpoint, emulator = list[Step](), Checkpoint("tiny", "dev"), existing.emulator
    for description in ("Shared", "Shared", "Changed"):
        (tmp_path / "__main__.py").write_text(program.format(description))
        deployment = update(tmp_path, "dev", emulator, checkpoint, report=steps.append)
    assert deployment.exports == {"cidr": "10.9.0.0/16"}
    assert [(step.operation, step.name) for step in steps] == [("import", "key"), ("update", "key")]
    kms = emulator.client("kms", REGION)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["Description"] == "Changed"
    destroy(emulator, checkpoint, steps.append)
    assert kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] == "PendingDeletion"
    assert len(emulator.client("ec2", REGION).describe_vpcs(VpcIds=[vpc])["Vpcs"]) == 1
