"""Resources that the account has already (`existing_resources`)."""

from pulumi_local.type_tokens import aws

from tests.components.program import CERTIFICATE, CLOSED, CLOUDFRONT, VPC, ZONE, Program, run


def types(program: Program) -> set[str]:
    return {resource.type for resource in program.resources}


def test_records_are_created_in_the_existing_zone() -> None:
    program = run("dev", changes=CLOSED)
    assert not program.of_type("route53.Zone")
    records = program.of_type("route53.Record")
    assert len(records) == 6
    assert {record.inputs["zoneId"] for record in records} == {ZONE}
    assert (program.exports["zoneId"], program.exports["nameServers"]) == (ZONE, [])


def test_existing_certificate_is_used_and_cloudfront_has_its_own() -> None:
    program = run("staging", changes=CLOUDFRONT)
    assert [row.name for row in program.of_type("acm.Certificate")] == ["cloudfront"]
    listeners = program.of_type("lb.Listener")
    assert {
        listener.inputs["certificateArn"]
        for listener in listeners
        if listener.inputs["port"] == 443
    } == {CERTIFICATE}
    records = program.of_type("route53.Record")
    assert len([record for record in records if record.inputs["type"] == "CNAME"]) == 1


def test_subnets_are_created_in_the_existing_vpc() -> None:
    program = run("dev", changes=CLOSED)
    absent = aws("ec2.Vpc", "ec2.InternetGateway", "ec2.DefaultSecurityGroup")
    assert types(program).isdisjoint(absent)
    in_vpc = [
        row for row in program.resources if row.type.startswith("aws:") and "vpcId" in row.inputs
    ]
    assert {row.inputs["vpcId"] for row in in_vpc} == {VPC["vpc_id"]}
    expected = aws("ec2.Subnet", "ec2.NetworkAcl", "ec2.SecurityGroup")
    assert {row.type for row in in_vpc}.issuperset(expected)
    assert program.get("ec2.Route", "edge").inputs["gatewayId"] == VPC["internet_gateway_id"]


def test_flow_logs_of_an_existing_vpc_cover_only_the_subnets_of_the_stack() -> None:
    program = run("dev", changes=CLOSED)
    logs = [row.inputs for row in program.of_type("ec2.FlowLog")]
    assert {row["subnetId"] for row in logs} == {
        f"{row.name}-id" for row in program.of_type("ec2.Subnet")
    }
    assert all("vpcId" not in row for row in logs)
    (own,) = run("dev").of_type("ec2.FlowLog")
    assert (own.name, own.inputs["vpcId"]) == ("flow", "vpc-id")


def test_stack_uses_the_trail_and_the_log_policies_of_the_account() -> None:
    program = run("dev", changes=CLOSED)
    absent = aws("cloudtrail.Trail", "cloudwatch.LogResourcePolicy")
    assert types(program).isdisjoint(absent)
    assert types(run("dev")).issuperset(absent)
    assert [name for name in program.alarms() if name.startswith("cis-")] == []
    policies = run("dev").of_type("cloudwatch.LogResourcePolicy")
    for policy, group in zip(policies, ("/gatehouse/*/findings", "aws-waf-logs-"), strict=True):
        assert f"log-group:{group}" in policy.inputs["policyDocument"]
