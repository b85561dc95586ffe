"""The emulator rejects invalid resources and requests from web pages."""

from typing import Any

import pytest
import requests
from pulumi_local.errors import CommandError
from pulumi_local.types import Registration

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType, create
from sandbox.emulator.server import SUBNET, Emulator
from sandbox.errors import SandboxError
from tests.cases import cases

_CASES = cases(__file__)

REGION = "eu-west-1"


def declared(kind: str, inputs: dict[str, Any]) -> Registration:
    return Registration(f"urn:pulumi:dev::shop::{kind}::one", kind, "one", True, "", inputs)


INVALID: list[Any] = [
    *_CASES["invalid"],
    (
        "aws:iam/role:Role",
        {"name": "r", "assumeRolePolicy": "", "description": "x" * 1001},
        "urn:pulumi:dev::shop::aws:iam/role:Role::one: property assumeRolePolicy: "
        "invalid parameters for create_role of the AWS API:",
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "message"), INVALID)
def test_resource_that_cannot_be_created_is_one_error(
    emulator: Emulator, kind: str, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(CommandError) as caught:
        emulator.create(declared(kind, inputs))
    assert message in caught.value.message


def test_unknown_output_is_rejected(emulator: Emulator) -> None:
    registration = declared("aws:sns/topic:Topic", {})
    request = CreateRequest(registration, region=REGION, tags={}, client=emulator.client)
    resource_type = ResourceType(create=lambda _: ("x", {"arnn": "x"}))
    with pytest.raises(
        CommandError, match="aws:sns/topic:Topic of pulumi-aws has no such outputs: arnn"
    ):
        create(resource_type, request)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/moto-api/reset", {}),
        (
            "POST",
            "/",
            {"Origin": "http://evil.example", "X-Amz-Target": "secretsmanager.ListSecrets"},
        ),
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "127.0.0.1:5555.evil.example"}),
        ("GET", "/?Action=ListUsers", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}),
    ],
)
def test_web_pages_cannot_use_the_emulator(
    emulator: Emulator, method: str, path: str, headers: dict[str, str]
) -> None:
    reply = requests.request(method, emulator.endpoint + path, headers=headers, timeout=60)
    assert (reply.status_code, "Access-Control-Allow-Origin" in reply.headers) == (403, False)


def test_block_of_an_existing_subnet_is_read(emulator: Emulator) -> None:
    (subnet, *_) = emulator.client("ec2", REGION).describe_subnets()["Subnets"]
    (token,) = SUBNET
    result = emulator.invoke(token, {"id": subnet["SubnetId"]}, {"region": REGION})
    assert result["cidrBlock"] == subnet["CidrBlock"]
    with pytest.raises(SandboxError, match="subnet-00000000 does not exist"):
        emulator.invoke(token, {"id": "subnet-00000000"}, {"region": REGION})
