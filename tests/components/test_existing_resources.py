"""Hosted zone, certificates and KMS keys that the account has already (`existing_resources`)."""

import json
from typing import Any

import pytest

from components.encryption.kms_keys import KEYS
from tests.components.program import Program, run

ZONE = "Z0123456789ABCDEFGHIJ"
CERTIFICATE, CLOUDFRONT_CERTIFICATE = (
    f"arn:aws:acm:{region}:123456789012:certificate/00000000-0000-0000-0000-000000000000"
    for region in ("eu-west-1", "us-east-1")
)
KEY_ARNS = {
    key: f"arn:aws:kms:eu-west-1:123456789012:key/{number}0000000-0000-0000-0000-000000000000"
    for number, key in enumerate(("data", "secrets", "logs"))
}


def deployed(existing: dict[str, str], stack: str = "dev", *, cloudfront: bool = False) -> Program:
    changes: dict[str, Any] = {"existing_resources": existing}
    if cloudfront:
        changes["services.console.hosting"] = "cloudfront"
    return run(stack, changes=changes)


def types(program: Program) -> set[str]:
    return {resource.type for resource in program.resources}


def test_records_are_created_in_the_existing_zone() -> None:
    program = deployed({"zone_id": ZONE})
    assert "aws:route53/zone:Zone" not in types(program)
    records = program.of_type("route53/record:Record")
    assert len(records) == 6
    assert {record.inputs["zoneId"] for record in records} == {ZONE}
    assert (program.exports["zoneId"], program.exports["nameServers"]) == (ZONE, [])


def test_existing_certificate_is_used() -> None:
    program = deployed({"certificate_arn": CERTIFICATE})
    assert {type for type in types(program) if type.startswith("aws:acm/")} == set()
    listeners = program.of_type("lb/listener:Listener")
    assert {
        listener.inputs["certificateArn"]
        for listener in listeners
        if listener.inputs["port"] == 443
    } == {CERTIFICATE}
    assert {record.inputs["type"] for record in program.of_type("route53/record:Record")} == {"A"}


@pytest.mark.parametrize(
    ("existing", "certificates", "validated"),
    [
        ({"certificate_arn": CERTIFICATE}, ["cloudfront"], 1),
        ({"cloudfront_certificate_arn": CLOUDFRONT_CERTIFICATE}, ["certificate"], 3),
        (
            {"certificate_arn": CERTIFICATE, "cloudfront_certificate_arn": CLOUDFRONT_CERTIFICATE},
            [],
            0,
        ),
    ],
)
def test_certificate_for_cloudfront(
    existing: dict[str, str], certificates: list[str], validated: int
) -> None:
    program = deployed(existing, cloudfront=True)
    assert [row.name for row in program.of_type("acm/certificate:Certificate")] == certificates
    records = program.of_type("route53/record:Record")
    assert len([record for record in records if record.inputs["type"] == "CNAME"]) == validated
    (distribution,) = program.of_type("cloudfront/distribution:Distribution")
    arn = distribution.inputs["viewerCertificate"]["acmCertificateArn"]
    assert (arn == CLOUDFRONT_CERTIFICATE) == ("cloudfront_certificate_arn" in existing)


def test_existing_keys_are_used_and_their_statements_exported() -> None:
    created = run("prod")
    program = deployed({f"{key}_key_arn": arn for key, arn in KEY_ARNS.items()}, "prod")
    assert {key.name for key in program.of_type("kms/key:Key")} == set(KEYS) - set(KEY_ARNS)
    aliases = {
        alias.name: alias.inputs["targetKeyId"] for alias in program.of_type("kms/alias:Alias")
    }
    assert {key: aliases[key] for key in KEY_ARNS} == KEY_ARNS
    database = program.get("rds/instance:Instance", "database").inputs
    assert (database["kmsKeyId"], database["masterUserSecretKmsKeyId"]) == (
        KEY_ARNS["data"],
        KEY_ARNS["secrets"],
    )
    assert {
        group.inputs["kmsKeyId"] for group in program.of_type("cloudwatch/logGroup:LogGroup")
    } == {KEY_ARNS["logs"]}
    statements = program.exports["keyStatements"]
    assert statements == {key: created.policy("kms/key:Key", key) for key in KEY_ARNS}
    assert "keyStatements" not in created.exports
    assert json.dumps(statements).count('"Sid"') > 20


VPC = {"vpc_id": "vpc-0123456789abcdef0", "internet_gateway_id": "igw-0123456789abcdef0"}


def test_subnets_are_created_in_the_existing_vpc() -> None:
    program = deployed(VPC)
    absent = {
        "aws:ec2/vpc:Vpc",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    }
    assert types(program) & absent == set()
    in_vpc = [
        row for row in program.resources if row.type.startswith("aws:") and "vpcId" in row.inputs
    ]
    assert {row.inputs["vpcId"] for row in in_vpc} == {VPC["vpc_id"]}
    assert {row.type for row in in_vpc} >= {
        "aws:ec2/subnet:Subnet",
        "aws:ec2/networkAcl:NetworkAcl",
        "aws:ec2/securityGroup:SecurityGroup",
    }
    assert program.get("ec2/route:Route", "edge").inputs["gatewayId"] == VPC["internet_gateway_id"]


def test_flow_logs_of_an_existing_vpc_cover_only_the_subnets_of_the_stack() -> None:
    program = deployed(VPC)
    logs = [row.inputs for row in program.of_type("ec2/flowLog:FlowLog")]
    assert {row["subnetId"] for row in logs} == {
        f"{row.name}-id" for row in program.of_type("ec2/subnet:Subnet")
    }
    assert all("vpcId" not in row for row in logs)
    (own,) = run("dev").of_type("ec2/flowLog:FlowLog")
    assert (own.name, own.inputs["vpcId"]) == ("flow", "vpc-id")


def test_stack_creates_everything_by_default() -> None:
    assert {"aws:route53/zone:Zone", "aws:acm/certificate:Certificate", "aws:kms/key:Key"} <= types(
        run("dev")
    )
