"""The emulator rejects invalid resources and requests from web pages."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError
from gatehouse_policies.errors import CheckError
from gatehouse_policies.program.providers import FakeProvider
from gatehouse_policies.program.runner import run
from gatehouse_policies.program.types import UNKNOWN, Registration

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType, create
from sandbox.emulator.resources import RESOURCE_TYPES
from sandbox.emulator.server import Emulator
from sandbox.paths import REPOSITORY
from tests.components.settings.stack_settings import (
    ACCOUNT_RESOURCES,
    raw_account_settings,
    raw_settings,
)
from tests.sandbox.emulator.deploy_role import CLOUDFRONT, STACK
from tools.docs.deployments import deployed

REGION = "eu-west-1"


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """An empty emulator."""
    with Emulator.start() as started:
        yield started


def declared(kind: str, inputs: dict[str, Any]) -> Registration:
    return Registration(f"urn:pulumi:dev::shop::{kind}::one", kind, "one", True, "", inputs)


def error(emulator: Emulator, kind: str, inputs: dict[str, Any]) -> str:
    with pytest.raises(CheckError) as caught:
        emulator.create(declared(kind, inputs))
    return caught.value.message


def test_every_type_is_deployed_by_a_test() -> None:
    """test_dev_stack deploys the types that are disabled in the stacks, test_deployment_role the
    console behind CloudFront, and tests/journeys/test_recovery.py deploys replicated backups."""
    config = {"gatehouse-account:settings": json.dumps(raw_account_settings(guards=True))}
    stacks = (
        deployed("staging"),
        deployed("prod", json.dumps(raw_settings("prod", ACCOUNT_RESOURCES))),
        deployed(STACK, CLOUDFRONT),
        run(REPOSITORY / "account", "main", FakeProvider(), preview=False, config=config),
    )
    types = {item.registration.type for deployment in stacks for item in deployment.resources}
    assert set(RESOURCE_TYPES) - types == {
        "aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace",
        "aws:servicediscovery/service:Service",
        "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication",
    }


def test_unknown_type_is_rejected(emulator: Emulator) -> None:
    assert error(emulator, "aws:mq/broker:Broker", {}) == (
        "urn:pulumi:dev::shop::aws:mq/broker:Broker::one: the resource type "
        "aws:mq/broker:Broker is not "
        "emulated. Add it to sandbox/emulator/resources/, or remove the resource from this stack."
    )


def test_invalid_input_is_rejected(emulator: Emulator) -> None:
    message = error(
        emulator,
        "aws:iam/role:Role",
        {"name": "r", "assumeRolePolicy": "", "description": "x" * 1001},
    )
    assert message.startswith(
        "urn:pulumi:dev::shop::aws:iam/role:Role::one: property assumeRolePolicy: "
        "invalid parameters for create_role of the AWS API:"
    )


def test_invalid_enum_value_is_rejected(emulator: Emulator) -> None:
    message = error(emulator, "aws:kms/key:Key", {"keyUsage": "PARTY"})
    assert "property keyUsage is 'PARTY'; valid values: SIGN_VERIFY" in message


def test_unknown_nested_property_is_rejected(emulator: Emulator) -> None:
    inputs = {"bucket": "data", "rule": {"objectOwnership": "BucketOwnerEnforced", "color": "red"}}
    message = error(emulator, "aws:s3/bucketOwnershipControls:BucketOwnershipControls", inputs)
    assert "property rule[0].color has no member in OwnershipControlsRule of the AWS API" in message


def test_api_error_is_reported(emulator: Emulator) -> None:
    message = error(emulator, "aws:kms/alias:Alias", {"name": "alias/mine", "targetKeyId": "x"})
    assert message.endswith(
        "AWS (emulated) rejects create_alias: NotFoundException: Invalid keyId x"
    )


def test_unused_input_is_rejected(emulator: Emulator) -> None:
    message = error(emulator, "aws:s3/bucket:Bucket", {"bucket": "another", "acl": "private"})
    assert "the emulator does not support these inputs of aws:s3/bucket:Bucket: acl." in message


def test_unknown_value_is_rejected(emulator: Emulator) -> None:
    message = error(emulator, "aws:sns/topic:Topic", {"name": UNKNOWN})
    assert message.endswith(
        "property name is unknown: the resource that it comes from has no such output."
    )


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


def table(emulator: Emulator, name: str) -> Any:
    """Creates a table with the key `id`, and returns the client."""
    dynamodb = emulator.client("dynamodb", REGION)
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    return dynamodb


def test_table_returns_attribute_values_of_every_type_unchanged(emulator: Emulator) -> None:
    dynamodb = table(emulator, "values")
    values = [
        {"S": ""},
        {"N": "1.5"},
        {"B": b"\x00\xff"},
        {"BOOL": False},
        {"NULL": True},
        {"SS": ["a"]},
        {"NS": ["1"]},
    ]
    values += [
        {"BS": [b"\x00"]},
        {"L": [{"L": []}, {"B": b"\xff"}]},
        {"M": {"m": {"M": {}}, "b": {"B": b"\xfe"}}},
    ]
    item = {"id": {"S": "1"}, **{f"value{number}": value for number, value in enumerate(values)}}
    dynamodb.put_item(TableName="values", Item=item)
    assert dynamodb.get_item(TableName="values", Key={"id": {"S": "1"}})["Item"] == item
    assert dynamodb.scan(TableName="values")["Items"] == [item]
    changed = dynamodb.update_item(
        TableName="values",
        Key={"id": {"S": "1"}},
        UpdateExpression="SET added = :value",
        ExpressionAttributeValues={":value": {"M": {"binary": {"B": b"\x01"}}}},
        ReturnValues="ALL_NEW",
    )
    assert changed["Attributes"] == {**item, "added": {"M": {"binary": {"B": b"\x01"}}}}


def test_rejected_writes_change_no_item(emulator: Emulator) -> None:
    dynamodb = table(emulator, "rejected")
    key = {"TableName": "rejected", "Key": {"id": {"S": "1"}}}
    item = {"id": {"S": "1"}, "map": {"M": {"list": {"L": [{"N": "1"}]}}}}
    dynamodb.put_item(TableName="rejected", Item=item)
    change = {
        **key,
        "UpdateExpression": (
            "SET #map.#list[0] = #map.#list[0] + :value, extra = "
            "if_not_exists(extra, :value) REMOVE absent"
        ),
        "ConditionExpression": "attribute_exists(#map)",
        "ExpressionAttributeNames": {"#map": "map", "#list": "list"},
        "ExpressionAttributeValues": {":value": {"N": "2"}},
    }
    put = {
        "TableName": "rejected",
        "Item": {"id": {"S": "2"}},
        "ConditionExpression": "attribute_exists(id)",
    }
    conditional, canceled, invalid = (
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "ValidationException",
    )
    # An item has at most 400 KB
    # (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html).
    large = {"M": {"list": {"L": [{"S": "x" * 410_000}]}}}
    enlarge = {
        "UpdateExpression": "SET extra = :value, #map.#list[0] = :value",
        "ExpressionAttributeValues": {":value": large},
    }
    for call, arguments, code in (
        (
            dynamodb.update_item,
            {**change, "ConditionExpression": "attribute_not_exists(#map)"},
            conditional,
        ),
        (
            dynamodb.transact_write_items,
            {"TransactItems": [{"Update": change}, {"Put": put}]},
            canceled,
        ),
        (
            dynamodb.update_item,
            {**change, "ExpressionAttributeValues": {":value": {"S": "2"}}},
            invalid,
        ),
        (dynamodb.update_item, {**change, **enlarge}, invalid),
        (dynamodb.put_item, {"TableName": "rejected", "Item": {**item, "large": large}}, invalid),
    ):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        assert caught.value.response["Error"]["Code"] == code
        assert dynamodb.get_item(**key)["Item"] == item
    for number in ("3", "5"):
        dynamodb.update_item(**change)
        changed = {**item, "map": {"M": {"list": {"L": [{"N": number}]}}}, "extra": {"N": "2"}}
        assert dynamodb.get_item(**key)["Item"] == changed


def test_endpoint_is_local(emulator: Emulator) -> None:
    assert emulator.endpoint.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/moto-api/reset", {}),
        ("GET", "/moto-api/data.json", {}),
        ("GET", "/moto-api/", {"Origin": "http://evil.example"}),
        (
            "POST",
            "/",
            {"Origin": "http://evil.example", "X-Amz-Target": "secretsmanager.ListSecrets"},
        ),
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/", {"Host": "evil.example:5555"}),
        ("GET", "/", {"Host": "127.0.0.1:5555.evil.example"}),
        ("GET", "/?Action=ListUsers", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}),
    ],
)
def test_web_pages_cannot_use_the_emulator(
    emulator: Emulator, method: str, path: str, headers: dict[str, str]
) -> None:
    reply = requests.request(method, emulator.endpoint + path, headers=headers, timeout=60)
    assert (reply.status_code, "Access-Control-Allow-Origin" in reply.headers) == (403, False)
