"""A stack in the account of a company, with all settings for its rules."""

import json
import re

import pytest

from tests.components.program import COMPANY, SUBNETS, run

FORBIDDEN = (
    *("ec2.InternetGateway", "ec2.Eip", "ec2.NatGateway", "ec2.Vpc", "ec2.VpcEndpoint"),
    *("ec2.Subnet", "ec2.RouteTable", "ec2.Route", "ec2.NetworkAcl", "ec2.FlowLog"),
    *("ec2.VpcBlockPublicAccessExclusion", "route53.Zone", "route53.Record", "acm.Certificate"),
    *("cloudtrail.Trail", "cloudwatch.LogResourcePolicy"),
)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_stack_respects_the_rules_of_a_company(stack: str) -> None:
    program = run(stack, changes=COMPANY)
    for kind in FORBIDDEN:
        assert not program.of_type(kind), kind

    roles = program.inputs("iam.Role")
    assert len(roles) > 10
    for name, role in roles.items():
        assert role["path"] == "/company/", name
        boundary = COMPANY["existing_resources"]["permissions_boundary_arn"]
        assert role["permissionsBoundary"] == boundary, name
    text = json.dumps([document for _, document in program.documents()])
    paths = set(re.findall(r"arn:aws:iam::123456789012:role/([\w/-]*)acme-gw-\w+-", text))
    assert paths == {"company/"}

    providers = [row for row in program.resources if row.type == "pulumi:providers:aws"]
    assert providers
    for provider in providers:
        assert "cost:unit" in json.dumps(provider.inputs), provider.name

    balancer = program.inputs("lb.LoadBalancer")["edge"]
    assert (balancer["internal"], balancer["subnets"]) == (True, SUBNETS["edge"])
    services = program.inputs("ecs.Service").values()
    assert {tuple(row["networkConfiguration"]["subnets"]) for row in services} == {
        tuple(SUBNETS["app"])
    }
    for kind in ("rds.SubnetGroup", "elasticache.SubnetGroup"):
        (group,) = program.inputs(kind).values()
        assert group["subnetIds"] == SUBNETS["data"], kind
    # Amazon S3 and DynamoDB are reached at their addresses, as through gateway endpoints.
    egress = program.inputs("vpc.SecurityGroupEgressRule").values()
    assert len({row["prefixListId"] for row in egress if row.get("prefixListId")}) == 2
    ingress = program.inputs("vpc.SecurityGroupIngressRule").values()
    assert {row["cidrIpv4"] for row in ingress if row.get("cidrIpv4")} == {"10.0.0.0/8"}
    hosts = {f"{name}.{row}" for name in ("gateway", "console") for row in (domain(stack),)}
    assert hosts <= set(program.exports["records"])


def domain(stack: str) -> str:
    return "gatehouse.example.com" if stack == "prod" else f"{stack}.gatehouse.example.com"
