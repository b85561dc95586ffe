"""Under enforcement, the caller's policies must allow a call, and used actions are recorded."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from sandbox.emulator.server import Emulator
from sandbox.emulator.sessions import session

REGION = "eu-west-1"
ACCOUNT = "123456789012"
ROLE = "reader"


def statement(effect: str, action: str, resource: str, **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


def caller(
    emulator: Emulator,
    service: str,
    *statements: dict[str, Any],
    boundary: dict[str, Any] | None = None,
) -> Any:
    """A client for a role with these statements and an optional boundary. Enables enforcement."""
    iam = emulator.client("iam", REGION)
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    iam.create_role(
        RoleName=ROLE,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    if boundary is not None:
        boundary_document = json.dumps({"Version": "2012-10-17", "Statement": boundary})
        bound = iam.create_policy(PolicyName="boundary", PolicyDocument=boundary_document)[
            "Policy"
        ]["Arn"]
        iam.put_role_permissions_boundary(RoleName=ROLE, PermissionsBoundary=bound)
    iam.put_role_policy(RoleName=ROLE, PolicyName="own", PolicyDocument=document)
    emulator.permissions.enforce(True)
    arn = f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"
    keys = emulator.client("sts", REGION).assume_role(RoleArn=arn, RoleSessionName="test")[
        "Credentials"
    ]
    config = Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"})
    caller = session(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    return caller.client(service, region_name=REGION, endpoint_url=emulator.endpoint, config=config)


def secret(emulator: Emulator, name: str) -> str:
    created = emulator.client("secretsmanager", REGION).create_secret(
        Name=name, SecretString="value"
    )
    return str(created["ARN"])


def denied(call: Any, **arguments: Any) -> bool:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return "AccessDenied" in str(caught.value)


def test_allowed_call_is_recorded(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    client = caller(
        emulator, "secretsmanager", statement("Allow", "secretsmanager:GetSecretValue", arn)
    )
    assert client.get_secret_value(SecretId="app/one")["SecretString"] == "value"
    assert emulator.permissions.used_actions == {ROLE: {"secretsmanager:GetSecretValue"}}


def test_call_on_another_resource_is_denied(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    secret(emulator, "app/two")
    client = caller(
        emulator, "secretsmanager", statement("Allow", "secretsmanager:GetSecretValue", arn)
    )
    assert denied(client.get_secret_value, SecretId="app/two")
    assert emulator.permissions.used_actions == {}
    assert emulator.permissions.denied[0].startswith(
        f"{ROLE}: secretsmanager:GetSecretValue on arn:"
    )


def test_action_without_permission_is_denied(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    client = caller(
        emulator, "secretsmanager", statement("Allow", "secretsmanager:GetSecretValue", arn)
    )
    assert denied(client.put_secret_value, SecretId="app/one", SecretString="other")


def test_deny_overrides_allow(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    client = caller(
        emulator,
        "secretsmanager",
        statement("Allow", "secretsmanager:*", "*"),
        statement("Deny", "secretsmanager:GetSecretValue", arn),
    )
    assert denied(client.get_secret_value, SecretId="app/one")


def test_condition_of_an_allow_is_assumed_and_reported(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    condition = {
        "StringEquals": {"aws:SourceVpce": "vpce-1"},
        "Bool": {"aws:SecureTransport": "true"},
    }
    allow = statement("Allow", "secretsmanager:GetSecretValue", arn, Condition=condition)
    client = caller(emulator, "secretsmanager", allow)
    client.get_secret_value(SecretId="app/one")
    assert emulator.permissions.unevaluated_conditions == [
        (
            f"{ROLE}: secretsmanager:GetSecretValue if StringEquals aws:SourceVpce, Bool "
            f"aws:SecureTransport"
        )
    ]


def test_deny_with_a_condition_is_skipped_and_reported(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    client = caller(
        emulator,
        "secretsmanager",
        statement("Allow", "secretsmanager:*", "*"),
        statement("Deny", "secretsmanager:*", "*", Condition=condition),
    )
    assert client.get_secret_value(SecretId=arn)["SecretString"] == "value"
    assert emulator.permissions.unevaluated_conditions == [
        f"{ROLE}: secretsmanager:GetSecretValue if Bool aws:SecureTransport"
    ]


def test_dynamodb_table_arn(emulator: Emulator) -> None:
    tables = emulator.client("dynamodb", REGION)
    for name in ("tokens", "others"):
        tables.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
    resource = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tokens"
    client = caller(emulator, "dynamodb", statement("Allow", "dynamodb:GetItem", resource))
    assert "Item" not in client.get_item(TableName="tokens", Key={"id": {"S": "x"}})
    assert denied(client.get_item, TableName="others", Key={"id": {"S": "x"}})


def test_dynamodb_index_and_batch_arns(emulator: Emulator) -> None:
    tables = emulator.client("dynamodb", REGION)
    for name in ("tokens", "others"):
        tables.create_table(
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
    table = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/tokens"
    query = statement("Allow", "dynamodb:Query", f"{table}/index/one")
    client = caller(emulator, "dynamodb", query, statement("Allow", "dynamodb:BatchGetItem", table))
    condition = {"KeyConditionExpression": "#o = :o", "ExpressionAttributeNames": {"#o": "owner"}}
    condition["ExpressionAttributeValues"] = {":o": {"S": "x"}}
    assert client.query(TableName="tokens", IndexName="one", **condition)["Items"] == []
    assert denied(client.query, TableName="tokens", IndexName="two", **condition)
    assert denied(client.query, TableName="tokens", **condition)
    keys = {"Keys": [{"id": {"S": "x"}}]}
    assert client.batch_get_item(RequestItems={"tokens": keys})["Responses"] == {"tokens": []}
    assert denied(client.batch_get_item, RequestItems={"others": keys})


def test_kms_encryption_context(emulator: Emulator) -> None:
    condition = {
        "StringEquals": {"kms:EncryptionContext:purpose": "content", "kms:CallerAccount": ACCOUNT}
    }
    principal = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"}}
    allow = statement("Allow", "kms:GenerateDataKey", "*", Condition=condition, **principal)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    key = emulator.client("kms", REGION).create_key(Policy=policy)["KeyMetadata"]["KeyId"]
    client = caller(emulator, "kms", statement("Allow", "kms:ListKeys", "*"))
    request = {"KeyId": key, "KeySpec": "AES_256"}
    assert (
        len(
            client.generate_data_key(**request, EncryptionContext={"purpose": "content"})[
                "Plaintext"
            ]
        )
        == 32
    )
    assert denied(client.generate_data_key, **request, EncryptionContext={"purpose": "other"})
    assert denied(client.generate_data_key, **request)
    assert emulator.permissions.unevaluated_conditions == []


def test_deletion_of_object_versions(emulator: Emulator) -> None:
    buckets = emulator.client("s3", REGION)
    buckets.create_bucket(Bucket="papers", CreateBucketConfiguration={"LocationConstraint": REGION})
    buckets.put_bucket_versioning(Bucket="papers", VersioningConfiguration={"Status": "Enabled"})
    keys = ("open/a.txt", "closed/a.txt")
    objects = [
        {"Key": key, "VersionId": buckets.put_object(Bucket="papers", Key=key)["VersionId"]}
        for key in keys
    ]
    client = caller(
        emulator, "s3", statement("Allow", "s3:DeleteObjectVersion", "arn:aws:s3:::papers/open/*")
    )
    client.delete_objects(Bucket="papers", Delete={"Objects": objects[:1]})
    assert emulator.permissions.used_actions == {ROLE: {"s3:DeleteObjectVersion"}}
    for others in (objects, [{"Key": "open/a.txt"}]):
        errors = client.delete_objects(Bucket="papers", Delete={"Objects": others})["Errors"]
        assert {error["Code"] for error in errors} == {"AccessDenied"}
    remaining = buckets.list_object_versions(Bucket="papers")["Versions"]
    assert [version["Key"] for version in remaining] == ["closed/a.txt"]


def test_s3_object_arn(emulator: Emulator) -> None:
    buckets = emulator.client("s3", REGION)
    buckets.create_bucket(Bucket="papers", CreateBucketConfiguration={"LocationConstraint": REGION})
    buckets.put_object(Bucket="papers", Key="open/a b.txt", Body=b"1")
    buckets.put_object(Bucket="papers", Key="closed/a.txt", Body=b"2")
    client = caller(
        emulator, "s3", statement("Allow", "s3:GetObject", "arn:aws:s3:::papers/open/*")
    )
    assert client.get_object(Bucket="papers", Key="open/a b.txt")["Body"].read() == b"1"
    assert denied(client.get_object, Bucket="papers", Key="closed/a.txt")


def test_unknown_access_key_is_denied(emulator: Emulator) -> None:
    secret(emulator, "app/one")
    emulator.permissions.enforce(True)
    client = session("AKIAWRONG", "wrong").client(
        "secretsmanager", region_name=REGION, endpoint_url=emulator.endpoint
    )
    with pytest.raises(ClientError, match=r"InvalidClientTokenId|UnrecognizedClient"):
        client.get_secret_value(SecretId="app/one")
    operator = emulator.client("secretsmanager", REGION)
    assert operator.get_secret_value(SecretId="app/one")["SecretString"] == "value"
    assert emulator.permissions.used_actions == {}


def test_nothing_is_denied_without_enforcement(emulator: Emulator) -> None:
    secret(emulator, "app/one")
    client = caller(emulator, "secretsmanager", statement("Allow", "s3:GetObject", "*"))
    emulator.permissions.enforce(False)
    assert client.get_secret_value(SecretId="app/one")["SecretString"] == "value"


def test_granted_actions(emulator: Emulator) -> None:
    caller(
        emulator, "s3", statement("Allow", "s3:Get*", "*"), statement("Deny", "s3:PutObject", "*")
    )
    assert emulator.permissions.granted_actions(ROLE) == {"s3:Get*"}


READ, WRITE = "secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"


@pytest.mark.requirement("CG-18")
def test_boundary_limits_the_role(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    client = caller(
        emulator,
        "secretsmanager",
        statement("Allow", "*", arn),
        boundary=statement("Allow", READ, "*"),
    )
    assert client.get_secret_value(SecretId=arn)["SecretString"] == "value"
    assert denied(client.put_secret_value, SecretId=arn, SecretString="other")


def test_boundary_grants_nothing(emulator: Emulator) -> None:
    arn = secret(emulator, "app/one")
    client = caller(
        emulator,
        "secretsmanager",
        statement("Allow", READ, arn),
        boundary=statement("Allow", WRITE, "*"),
    )
    assert denied(client.get_secret_value, SecretId=arn)
    assert denied(client.put_secret_value, SecretId=arn, SecretString="other")


@pytest.mark.parametrize(("region", "passes"), [(REGION, True), ("us-east-1", False)])
def test_boundary_with_a_region_condition(emulator: Emulator, region: str, passes: bool) -> None:
    arn = secret(emulator, "app/one")
    inside = statement(
        "Allow", READ, "*", Condition={"StringEquals": {"aws:RequestedRegion": [region]}}
    )
    client = caller(emulator, "secretsmanager", statement("Allow", READ, arn), boundary=inside)
    if passes:
        assert client.get_secret_value(SecretId=arn)["SecretString"] == "value"
    else:
        assert denied(client.get_secret_value, SecretId=arn)
    assert emulator.permissions.unevaluated_conditions == []
