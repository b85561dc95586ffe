"""The emulator rejects invalid resources and requests from web pages."""

import socket
from typing import Any

import pytest
import requests
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.types import UNKNOWN, Registration
from moto.iam.access_control import IAMRequestBase

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
        "aws:mq/broker:Broker is not emulated. Add it to sandbox/emulator/resources/, or "
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


def test_port_in_use_is_rejected(emulator: Emulator) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(
            CheckError, match=f"Port {port} is in use, so the AWS emulator cannot listen on it"
        ):
            Emulator.start(port)


def test_second_emulator_is_rejected(emulator: Emulator) -> None:
    with pytest.raises(CheckError, match="An emulator already runs in this process"):
        Emulator.start()


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


def test_another_form_of_requests_is_an_error_of_moto(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = IAMRequestBase.__init__

    def without_action(request: Any, *args: Any, **kwargs: Any) -> None:
        original(request, *args, **kwargs)
        del request._action

    iam = emulator.client("iam", REGION)
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    client = emulator.clients(key["AccessKeyId"], key["SecretAccessKey"])
    registration = declared("aws:sqs/queue:Queue", {})
    request = CreateRequest(registration, region=REGION, tags={}, client=client)
    emulator.permissions.enforce(True)
    monkeypatch.setattr(IAMRequestBase, "__init__", without_action)
    with pytest.raises(CheckError, match="an error in moto, not in the program"):
        request.call("sqs.list_queues")
    emulator.permissions.enforce(False)
