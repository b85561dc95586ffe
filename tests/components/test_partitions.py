"""Stacks in AWS GovCloud (US) and in China: ARNs, names of endpoints, and services that a partition does not have."""

import json
import re
from typing import Any

import pytest

from components.delivery.policies import POLICY_CHARACTERS_MAX
from components.naming import Naming
from tests.components.program import Program, run
from tests.components.settings.stack_settings import DELIVERY, mistakes, raw_settings

REGIONS = {"aws-us-gov": ("us-gov-west-1", "us-gov-east-1"), "aws-cn": ("cn-north-1", "cn-northwest-1")}
FOREIGN = re.compile(r"arn:aws:(?!mock:|secretsmanager:eu-west-1:123456789012:secret:rds!)")
"""An ARN of the partition aws, except the outputs of the test program."""
PARTITIONS = pytest.mark.parametrize("partition", REGIONS)


def settings(partition: str) -> dict[str, Any]:
    """Changes of the prod stack for a partition."""
    region, second_region = REGIONS[partition]
    return {
        "region": region,
        "second_region": second_region,
        "network.zones": [f"{region}{zone}" for zone in "abc"],
        "secrets.operators": [f"arn:{partition}:iam::123456789012:role/operator"],
        **{f"delivery.{key}": value for key, value in DELIVERY.items()},
    }


def deployed(partition: str) -> Program:
    return run("prod", changes=settings(partition))


@pytest.mark.parametrize(
    ("region", "partition", "registry"),
    [
        ("eu-west-1", "aws", "1.dkr.ecr.eu-west-1.amazonaws.com"),
        ("us-gov-east-1", "aws-us-gov", "1.dkr.ecr.us-gov-east-1.amazonaws.com"),
        ("cn-north-1", "aws-cn", "1.dkr.ecr.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_names_of_a_partition(region: str, partition: str, registry: str) -> None:
    names = Naming("dev", "1", region)
    assert (names.partition, names.registry) == (partition, registry)
    assert names.arn("rds", "db:x") == f"arn:{partition}:rds:{region}:1:db:x"
    assert names.role_arn("x") == f"arn:{partition}:iam::1:role/gatehouse-dev-x"
    assert names.bucket_arn("data").startswith(f"arn:{partition}:s3:::gatehouse-dev-data-")


@PARTITIONS
def test_no_input_contains_an_arn_of_another_partition(partition: str) -> None:
    resources = deployed(partition).resources
    assert len(resources) > 300
    foreign = [
        f"{resource.type} {resource.name} {key}"
        for resource in resources
        for key, value in resource.inputs.items()
        if FOREIGN.search(json.dumps(value, default=str))
    ]
    assert foreign == []


@PARTITIONS
def test_policies_are_within_the_size_limit(partition: str) -> None:
    policies = deployed(partition).of_type("iam/policy:Policy")
    assert len(policies) > 10
    assert max(len(policy.inputs["policy"]) for policy in policies) <= POLICY_CHARACTERS_MAX


def test_endpoints_in_china_have_their_names() -> None:
    endpoints = deployed("aws-cn").of_type("ec2/vpcEndpoint:VpcEndpoint")
    names = {endpoint.name: endpoint.inputs["serviceName"] for endpoint in endpoints}
    assert names["ecr.dkr"] == "cn.com.amazonaws.cn-north-1.ecr.dkr"
    assert names["kms"] == "com.amazonaws.cn-north-1.kms"
    assert names["s3"] == "com.amazonaws.cn-north-1.s3"


def test_keys_in_china_accept_both_suffixes() -> None:
    keys = json.dumps(deployed("aws-cn").policy("kms/key:Key", "data"))
    assert all(f's3.cn-north-1.{suffix}"' in keys for suffix in ("amazonaws.com", "amazonaws.com.cn"))
    assert "amazonaws.com.cn" not in json.dumps(deployed("aws-us-gov").policy("kms/key:Key", "data"))


def test_pipeline_may_use_global_services() -> None:
    for partition, region in (("aws-us-gov", "us-gov-west-1"), ("aws-cn", "cn-northwest-1")):
        statement = deployed(partition).statements("iam/policy:Policy", "deploy-read")["ReadConfiguration"]
        assert region in statement["Condition"]["StringEquals"]["aws:RequestedRegion"]


def test_govcloud_has_no_budgets() -> None:
    assert deployed("aws-us-gov").of_type("budgets/budget:Budget") == []
    assert len(deployed("aws-cn").of_type("budgets/budget:Budget")) == 1


def test_arn_of_another_partition_is_rejected() -> None:
    changes = settings("aws-us-gov") | {"secrets.operators": ["arn:aws:iam::123456789012:role/operator"]}
    (message,) = mistakes("prod", raw_settings("prod", changes))
    assert message == (
        "secrets.operators.0 is 'arn:aws:iam::123456789012:role/operator'; allowed: ARNs that start with arn:aws-us-gov:"
    )


@PARTITIONS
def test_cloudfront_is_rejected(partition: str) -> None:
    changes = settings(partition) | {"services.console.hosting": "cloudfront"}
    (message,) = mistakes("prod", raw_settings("prod", changes))
    assert message == f"services.console.hosting is 'cloudfront'; allowed in {REGIONS[partition][0]}: container"
