"""A stack in the account of a company, with all settings for its rules. tests/sandbox/emulator/
test_company_stack.py deploys and changes it, and tests/repository/policies/test_own_stack.py
evaluates the policy packs.
"""

import json
import re
from typing import Any

import pytest

from components.settings.loader import SettingsError, parse
from tests.components.program import COMPANY, ROOT, SUBNETS, TRANSIT, run
from tests.components.settings.stack_settings import raw_settings

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
    assert {row["cidrIpv4"] for row in ingress if row.get("cidrIpv4")} == {
        *COMPANY["load_balancer"]["client_networks"]
    }
    hosts = {f"{name}.{row}" for name in ("gateway", "console") for row in (domain(stack),)}
    assert hosts <= set(program.exports["records"])


def domain(stack: str) -> str:
    return "gatehouse.example.com" if stack == "prod" else f"{stack}.gatehouse.example.com"


TWO_ZONES = {"region": "us-west-1", "network.zones": ["us-west-1a", "us-west-1c"]}
ROWS: dict[str, dict[str, Any]] = {
    "tag policy": {"tags": COMPANY["tags"]},
    "names with a prefix": {"name_prefix": "acme-gw"},
    "roles only with a boundary or below a path": {
        "existing_resources.role_path": "/company/",
        "existing_resources.permissions_boundary_arn": COMPANY["existing_resources"][
            "permissions_boundary_arn"
        ],
    },
    "no internet gateway, or no public load balancer": {
        "load_balancer": COMPANY["load_balancer"],
        "network.nat": "none",
        "monitoring.heartbeat": False,
        "telemetry.collector": False,
        "notifications.public_webhooks": False,
    },
    "no exclusions from VPC Block Public Access": {"network.public_access_exclusions": False},
    "subnets of a central team, also of /27 or of several blocks": COMPANY,
    "the VPC has interface endpoints": {
        "network.endpoint_zones": "none",
        "existing_resources.vpc_id": "vpc-0123456789abcdef0",
        "existing_resources.internet_gateway_id": "igw-0123456789abcdef0",
    },
    "the zone belongs to another account": {
        "existing_resources": {
            key: COMPANY["existing_resources"][key] for key in ("foreign_zone", "certificate_arn")
        }
    },
    "networks in 100.64.0.0/10": TRANSIT,
    "a region in which the account has two zones": TWO_ZONES,
    "a private issuer of identities": {"oidc": COMPANY["oidc"]},
    "GitLab, or GitHub Enterprise": {"delivery": COMPANY["delivery"]},
    "CloudTrail is central": {"existing_resources.trail": True},
    "AWS Firewall Manager": {},
}
"""Settings of prod for each row of the table in deploy.md."""
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "KMS keys of a security team": (
        {"existing_resources.kms_key_arn": "arn:aws:kms:eu-west-1:123456789012:key/1"},
        "kms:CreateKey",
    ),
    "an HTTP proxy for all traffic": (
        {"environment_variables": ["HTTPS_PROXY=http://proxy:3128"]},
        "network.subnets",
    ),
    "a central archive for all logs": (
        {"existing_resources.log_archive": "acme-archive"},
        "centralization rule",
    ),
}
OTHER_NAMES: list[tuple[dict[str, Any], str]] = [
    ({"network.proxy": "http://proxy:3128"}, "network.subnets"),
    ({"environment_variables": ["GATEHOUSE_HTTPS_PROXY=http://proxy"]}, "network.subnets"),
    ({"waf.firewall_manager": True}, "retrofit"),
    ({"existing_resources.web_acl_arn": "arn"}, "retrofit"),
    ({"buckets.archive_bucket": "acme-archive"}, "centralization rule"),
    ({"database.kms_key": "arn"}, "kms:CreateKey"),
]


def table() -> set[str]:
    text = (ROOT / "docs" / "guides" / "deploy.md").read_text()
    rows = text.partition("**The rules of an organization.**")[2].split("\n| ")[1:]
    return {row.partition(" |")[0] for row in rows} - {"rule"}


def test_guide_lists_each_rule_that_is_tested() -> None:
    assert table() == {*ROWS, *REFUSED}


@pytest.mark.parametrize("rule", ROWS)
def test_stack_accepts_a_rule(rule: str) -> None:
    parse(raw_settings("prod", ROWS[rule]), "prod")


@pytest.mark.parametrize(
    ("changes", "nearest"),
    [*REFUSED.values(), *OTHER_NAMES],
    ids=[*REFUSED, *map(str, OTHER_NAMES)],
)
def test_refusal_names_the_nearest_form(changes: dict[str, Any], nearest: str) -> None:
    with pytest.raises(SettingsError) as error:
        parse(raw_settings("prod", changes), "prod")
    (message,) = str(error.value).splitlines()[1:]
    assert (nearest in message, "docs/guides/deploy.md, section 9" in message) == (True, True)


def test_prod_requires_three_zones_in_other_regions() -> None:
    zones = {"network.zones": ["eu-west-1a", "eu-west-1b"]}
    with pytest.raises(SettingsError, match="three zones"):
        parse(raw_settings("prod", zones), "prod")
