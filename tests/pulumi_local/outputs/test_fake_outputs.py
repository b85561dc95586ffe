"""Outputs of the second run have the form that AWS gives."""

import ipaddress
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi_aws
import pytest
from pulumi_local.aws_location import AwsLocation
from pulumi_local.outputs.fake_outputs import fake_outputs
from pulumi_local.outputs.invented import MARKER
from pulumi_local.schema import schema
from pulumi_local.types import UNKNOWN, Registration

from tests.cases import cases

_CASES = cases(__file__)

PLACE = AwsLocation("482912345678", "eu-west-1")
TOKEN = re.compile(r'@pulumi.type_token\("(aws:[^"]+)"\)\nclass \w+\(pulumi.CustomResource\)')


def outputs(token: str, place: AwsLocation = PLACE, **inputs: Any) -> dict[str, Any]:
    registration = Registration(f"urn:{token}", token, "orders", True, "", inputs)
    return fake_outputs(registration, schema(token), place)[1]


@pytest.mark.parametrize(("token", "inputs", "arn"), _CASES["arn_has_the_format_of_the_service"])
def test_arn_has_the_format_of_the_service(token: str, inputs: dict[str, Any], arn: str) -> None:
    assert re.fullmatch(arn, outputs(f"aws:{token}", **inputs)["arn"])


def test_arn_has_the_partition_of_the_region() -> None:
    topic = outputs("aws:sns/topic:Topic", AwsLocation("482912345678", "us-gov-west-1"), name="t")
    assert topic["arn"] == "arn:aws-us-gov:sns:us-gov-west-1:482912345678:t"


def test_arn_of_another_resource_is_invented() -> None:
    assert MARKER in outputs("aws:lambda/functionUrl:FunctionUrl")["functionArn"]
    # The reference has no format for this type.
    assert MARKER in outputs("aws:dax/cluster:Cluster")["arn"]


def types() -> Iterator[str]:
    """The types of a fourth of the services, or of all with GATEHOUSE_EXAMPLES."""
    folders = sorted(Path(pulumi_aws.__file__).parent.glob("*/"))
    some = folders[:: 1 if "GATEHOUSE_EXAMPLES" in os.environ else 4]
    for file in (file for folder in some for file in sorted(folder.glob("*.py"))):
        if match := TOKEN.search(file.read_text()):
            yield match[1]


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    elif isinstance(value, str) and value != UNKNOWN:
        yield key, value


def test_outputs_of_every_type_have_a_form_that_programs_can_parse() -> None:
    tokens = list(types())
    assert len(tokens) > 300
    for token in tokens:
        for key, text in leaves(outputs(token)):
            assert not re.search(r"[${}<>]", text), (token, key, text)
            if key.lower().endswith("arn"):
                assert re.match(r"arn:[a-z-]+:[a-z0-9-]+:[a-z0-9-]*:\w*:\S", text), (token, key)
            if key.endswith(("Ip", "IpAddress", "Ipv6Address")):
                ipaddress.ip_address(text)
            if key.endswith(("cidr", "Cidr", "cidrBlock", "CidrBlock")):
                ipaddress.ip_network(text)
            if key.endswith(("Url", "Uri")):
                assert "." in text or "://" in text, (token, key, text)
