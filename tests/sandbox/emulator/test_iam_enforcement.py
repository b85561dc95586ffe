"""Policies allow calls, and used actions are recorded."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.emulator.server import Emulator
from sandbox.emulator.sessions import session

REGION = "eu-west-1"
ACCOUNT = "123456789012"
READ, WRITE = "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"
TRUST = {
    "Effect": "Allow",
    "Principal": {"Service": "ecs-tasks.amazonaws.com"},
    "Action": "sts:AssumeRole",
}


def statement(effect: str, action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture(scope="module")
def started() -> Iterator[Emulator]:
    """An emulator with two secrets (`app/one`, `app/two`) and two tables (`tokens`, `others`)."""
    with Emulator.start() as emulator:
        for name in ("app/one", "app/two"):
            manager = emulator.client("secretsmanager", REGION)
            manager.create_secret(Name=name, SecretString="value")
        for name in ("tokens", "others"):
            emulator.client("dynamodb", REGION).create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[
                    {"AttributeName": key, "AttributeType": "S"} for key in ("id", "owner")
                ],
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                GlobalSecondaryIndexes=[
                    {
                        "IndexName": index,
                        "KeySchema": [{"AttributeName": "owner", "KeyType": "HASH"}],
                        "Projection": {"ProjectionType": "KEYS_ONLY"},
                    }
                    for index in ("one", "two")
                ],
            )
        yield emulator


@pytest.fixture
def emulator(started: Emulator) -> Iterator[Emulator]:
    yield started
    started.permissions.enforce(False)
    for recorded in (started.permissions.used_actions, started.permissions.denied):
        recorded.clear()
    started.permissions.unevaluated_conditions.clear()


@pytest.fixture
def one(started: Emulator) -> str:
    manager = started.client("secretsmanager", REGION)
    return str(manager.describe_secret(SecretId="app/one")["ARN"])


@pytest.fixture
def role() -> str:
    return f"reader-{uuid4().hex}"


def caller(
    emulator: Emulator,
    role: str,
    service: str,
    *statements: dict[str, Any],
    boundary: dict[str, Any] | None = None,
) -> Any:
    """A client for a role with these statements and an optional boundary. Enables enforcement."""
    iam = emulator.client("iam", REGION)
    arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=document(TRUST))["Role"]["Arn"]
    if boundary is not None:
        bound = iam.create_policy(PolicyName=role, PolicyDocument=document(boundary))["Policy"]
        iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=bound["Arn"])
    iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=document(*statements))
    emulator.permissions.enforce(True)
    keys = emulator.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")[
        "Credentials"
    ]
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
    caller = session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    return caller.client(service, region_name=REGION, endpoint_url=emulator.endpoint, config=config)


def denied(call: Any, **arguments: Any) -> bool:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return "AccessDenied" in str(caught.value)


def reads(client: Any, name: str = "app/one") -> bool:
    try:
        return bool(client.get_secret_value(SecretId=name)["SecretString"] == "value")
    except ClientError as error:
        if "AccessDenied" not in str(error):
            raise
        return False


def test_calls_are_recorded_and_another_action_or_resource_is_denied(
    emulator: Emulator, role: str, one: str
) -> None:
    client = caller(emulator, role, "secretsmanager", statement("Allow", READ, one))
    assert (reads(client), reads(client, "app/two")) == (True, False)
    assert denied(client.put_secret_value, SecretId="app/one", SecretString="other")
    assert emulator.permissions.used_actions == {role: {READ}}
    assert emulator.permissions.denied[0].startswith(f"{role}: {READ} on arn:")
    assert emulator.permissions.granted_actions(role) == {READ}
    emulator.permissions.enforce(False)
    assert reads(client, "app/two")


@pytest.mark.parametrize(
    ("effect", "condition"),
    [
        ("Allow", {"StringEquals": {"aws:SourceVpce": "vpce-1"}}),
        ("Deny", {"Bool": {"aws:SecureTransport": "false"}}),
    ],
)
def test_unknown_condition_is_reported_and_does_not_deny(
    emulator: Emulator, role: str, one: str, effect: str, condition: dict[str, dict[str, str]]
) -> None:
    statements = [statement(effect, READ, one, Condition=condition)]
    statements += [statement("Allow", READ)] if effect == "Deny" else []
    client = caller(emulator, role, "secretsmanager", *statements)
    assert reads(client)
    ((operator, pairs),) = condition.items()
    assert emulator.permissions.unevaluated_conditions == [
        f"{role}: {READ} if {operator} {next(iter(pairs))}"
    ]


def test_dynamodb_table_index_and_batch_arns(emulator: Emulator, role: str) -> None:
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tokens"
    client = caller(
        emulator,
        role,
        "dynamodb",
        statement("Allow", "dynamodb:Query", f"{table}/index/one"),
        statement("Allow", "dynamodb:BatchGetItem", table),
        statement("Allow", "dynamodb:GetItem", table),
    )
    assert "Item" not in client.get_item(TableName="tokens", Key={"id": {"S": "x"}})
    assert denied(client.get_item, TableName="others", Key={"id": {"S": "x"}})
    condition = {
        "KeyConditionExpression": "#o = :o",
        "ExpressionAttributeNames": {"#o": "owner"},
        "ExpressionAttributeValues": {":o": {"S": "x"}},
    }
    assert client.query(TableName="tokens", IndexName="one", **condition)["Items"] == []
    assert denied(client.query, TableName="tokens", IndexName="two", **condition)
    assert denied(client.query, TableName="tokens", **condition)
    keys = {"Keys": [{"id": {"S": "x"}}]}
    assert client.batch_get_item(RequestItems={"tokens": keys})["Responses"] == {"tokens": []}
    assert denied(client.batch_get_item, RequestItems={"others": keys})


def test_kms_encryption_context(emulator: Emulator, role: str) -> None:
    condition = {
        "StringEquals": {"kms:EncryptionContext:purpose": "content", "kms:CallerAccount": ACCOUNT}
    }
    principal: dict[str, Any] = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{role}"}}
    allow = statement("Allow", "kms:GenerateDataKey", Condition=condition, **principal)
    created = emulator.client("kms", REGION).create_key(Policy=document(allow))
    client = caller(emulator, role, "kms", statement("Allow", "kms:ListKeys"))
    request = {"KeyId": created["KeyMetadata"]["KeyId"], "KeySpec": "AES_256"}
    content = client.generate_data_key(**request, EncryptionContext={"purpose": "content"})
    assert len(content["Plaintext"]) == 32
    assert denied(client.generate_data_key, **request, EncryptionContext={"purpose": "other"})
    assert denied(client.generate_data_key, **request)
    assert emulator.permissions.unevaluated_conditions == []


def test_sender_of_an_email(emulator: Emulator, role: str) -> None:
    emulator.client("sesv2", REGION).create_email_identity(EmailIdentity="example.com")
    condition = {"StringEquals": {"ses:FromAddress": "keys@example.com"}}
    identities = f"arn:aws:ses:{REGION}:{ACCOUNT}:identity/*"
    client = caller(
        emulator,
        role,
        "sesv2",
        statement("Allow", "ses:SendEmail", identities, Condition=condition),
    )
    text = {"Data": "text"}
    request = {
        "Destination": {"ToAddresses": ["holder@example.org"]},
        "Content": {"Simple": {"Subject": text, "Body": {"Text": text}}},
    }
    assert client.send_email(FromEmailAddress="keys@example.com", **request)["MessageId"]
    assert denied(client.send_email, FromEmailAddress="other@example.com", **request)
    assert emulator.permissions.unevaluated_conditions == []


def test_s3_objects_and_deletion_of_versions(emulator: Emulator, role: str) -> None:
    buckets = emulator.client("s3", REGION)
    buckets.create_bucket(Bucket="papers", CreateBucketConfiguration={"LocationConstraint": REGION})
    buckets.put_bucket_versioning(Bucket="papers", VersioningConfiguration={"Status": "Enabled"})
    objects = [
        {"Key": key, "VersionId": buckets.put_object(Bucket="papers", Key=key)["VersionId"]}
        for key in ("open/a b.txt", "closed/a.txt")
    ]
    allowed = ("s3:DeleteObjectVersion", "s3:GetObject")
    statements = [statement("Allow", action, "arn:aws:s3:::papers/open/*") for action in allowed]
    client = caller(emulator, role, "s3", *statements)
    assert client.get_object(Bucket="papers", Key="open/a b.txt")["Body"].read() == b""
    assert denied(client.get_object, Bucket="papers", Key="closed/a.txt")
    client.delete_objects(Bucket="papers", Delete={"Objects": objects[:1]})
    assert emulator.permissions.used_actions == {role: set(allowed)}
    for others in (objects, [{"Key": "open/a b.txt"}]):
        errors = client.delete_objects(Bucket="papers", Delete={"Objects": others})["Errors"]
        assert {error["Code"] for error in errors} == {"AccessDenied"}
    remaining = buckets.list_object_versions(Bucket="papers")["Versions"]
    assert [version["Key"] for version in remaining] == ["closed/a.txt"]


@pytest.mark.parametrize(
    ("boundary", "readable"),
    [
        (statement("Allow", READ), True),
        (statement("Allow", WRITE), False),
        *(
            (
                statement(
                    "Allow", READ, Condition={"StringEquals": {"aws:RequestedRegion": [region]}}
                ),
                region == REGION,
            )
            for region in (REGION, "us-east-1")
        ),
    ],
)
def test_boundary_limits_the_role_and_grants_nothing(
    emulator: Emulator, role: str, one: str, boundary: dict[str, Any], readable: bool
) -> None:
    client = caller(
        emulator, role, "secretsmanager", statement("Allow", READ, one), boundary=boundary
    )
    assert reads(client) is readable
    assert denied(client.put_secret_value, SecretId=one, SecretString="other")
    assert emulator.permissions.unevaluated_conditions == []


def test_deny_overrides_allow(emulator: Emulator, role: str, one: str) -> None:
    statements = (statement("Allow", "secretsmanager:*"), statement("Deny", READ, one))
    client = caller(emulator, role, "secretsmanager", *statements)
    assert not reads(client)
    assert emulator.permissions.granted_actions(role) == {"secretsmanager:*"}


def test_unknown_access_key_is_denied(emulator: Emulator) -> None:
    emulator.permissions.enforce(True)
    client = session("AKIAWRONG", "wrong").client(
        "secretsmanager", region_name=REGION, endpoint_url=emulator.endpoint
    )
    with pytest.raises(ClientError, match=r"InvalidClientTokenId|UnrecognizedClient"):
        client.get_secret_value(SecretId="app/one")
    assert reads(emulator.client("secretsmanager", REGION))
    assert emulator.permissions.used_actions == {}
