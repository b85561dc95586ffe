"""The emulator rejects invalid resources and requests from web pages."""

from typing import Any

import pytest
import requests
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.types import UNKNOWN, Registration

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType, create
from sandbox.emulator.server import Emulator

REGION = "eu-west-1"


def declared(kind: str, inputs: dict[str, Any]) -> Registration:
    return Registration(f"urn:pulumi:dev::shop::{kind}::one", kind, "one", True, "", inputs)


INVALID = [
    (
        "aws:mq/broker:Broker",
        {},
        "urn:pulumi:dev::shop::aws:mq/broker:Broker::one: the resource type "
        "aws:mq/broker:Broker is not emulated. Add it to sandbox/emulator/resource_types.toml, or "
        "remove the resource from this stack.",
    ),
    (
        "aws:iam/role:Role",
        {"name": "r", "assumeRolePolicy": "", "description": "x" * 1001},
        "urn:pulumi:dev::shop::aws:iam/role:Role::one: property assumeRolePolicy: "
        "invalid parameters for create_role of the AWS API:",
    ),
    (
        "aws:kms/key:Key",
        {"keyUsage": "PARTY"},
        "property keyUsage is 'PARTY'; valid values: SIGN_VERIFY",
    ),
    (
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        {"bucket": "b", "rule": {"objectOwnership": "BucketOwnerEnforced", "color": "red"}},
        "property rule[0].color has no member in OwnershipControlsRule of the AWS API",
    ),
    (
        "aws:kms/alias:Alias",
        {"name": "alias/mine", "targetKeyId": "x"},
        "AWS (emulated) rejects create_alias: NotFoundException: Invalid keyId x",
    ),
    (
        "aws:s3/bucket:Bucket",
        {"bucket": "another", "acl": "private"},
        "the emulator does not support these inputs of aws:s3/bucket:Bucket: acl.",
    ),
    (
        "aws:sns/topic:Topic",
        {"name": UNKNOWN},
        "property name is unknown: the resource that it comes from has no such output.",
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "message"), INVALID)
def test_resource_that_cannot_be_created_is_one_error(
    emulator: Emulator, kind: str, inputs: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckError) as caught:
        emulator.create(declared(kind, inputs))
    assert message in caught.value.message


def test_unknown_output_is_rejected(emulator: Emulator) -> None:
    registration = declared("aws:sns/topic:Topic", {})
    request = CreateRequest(registration, region=REGION, tags={}, client=emulator.client)
    resource_type = ResourceType(create=lambda _: ("x", {"arnn": "x"}))
    with pytest.raises(
        CheckError, match="aws:sns/topic:Topic of pulumi-aws has no such outputs: arnn"
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
