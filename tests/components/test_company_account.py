"""A stack in the account of a company, with all settings for its rules."""

import json
import re
from ipaddress import IPv4Network

from tests.components.program import COMPANY, run
from tests.components.settings.stack_settings import each_stack

FORBIDDEN = (
    *("ec2.InternetGateway", "ec2.Eip", "ec2.NatGateway", "ec2.Vpc"),
    *("ec2.VpcBlockPublicAccessExclusion", "route53.Zone", "route53.Record", "acm.Certificate"),
    *("cloudtrail.Trail", "cloudwatch.LogResourcePolicy"),
)


@each_stack
def test_stack_respects_the_rules_of_a_company(stack: str) -> None:
    program = run(stack, changes=COMPANY)
    for kind in FORBIDDEN:
        assert not program.of_type(kind), kind
    assert [row.name for row in program.of_type("ec2.VpcEndpoint")] == ["s3", "dynamodb"]

    roles = program.inputs("iam.Role")
    assert len(roles) > 10
    for name, role in roles.items():
        assert role["path"] == "/company/", name
        boundary = COMPANY["existing_resources"]["permissions_boundary_arn"]
        assert role["permissionsBoundary"] == boundary, name
    text = json.dumps([document for _, document in program.documents()])
    paths = set(
        re.findall(r"arn:aws:iam::123456789012:role/([\w/-]*)gatehouse-\w+-(?!operator)", text)
    )
    assert paths == {"company/"}

    providers = [row for row in program.resources if row.type == "pulumi:providers:aws"]
    assert providers
    for provider in providers:
        assert "cost:unit" in json.dumps(provider.inputs), provider.name

    subnets = [IPv4Network(row["cidrBlock"]) for row in program.inputs("ec2.Subnet").values()]
    assert all(subnet.subnet_of(IPv4Network("10.20.0.0/23")) for subnet in subnets)
    assert not any(a.overlaps(b) for a in subnets for b in subnets if a is not b)

    balancer = program.inputs("lb.LoadBalancer")["edge"]
    assert balancer["internal"] is True
    ingress = program.inputs("vpc.SecurityGroupIngressRule").values()
    assert {row["cidrIpv4"] for row in ingress if row.get("cidrIpv4")} == {"10.0.0.0/8"}
    hosts = {f"{name}.{row}" for name in ("gateway", "console") for row in (domain(stack),)}
    assert hosts <= set(program.exports["records"])


def domain(stack: str) -> str:
    return "gatehouse.example.com" if stack == "prod" else f"{stack}.gatehouse.example.com"
