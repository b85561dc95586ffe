"""The secret sharing services on the AWS emulator."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import boto3
import pytest
from gatehouse.features.secrets import backend, encryption, table
from gatehouse.features.secrets.table import OWNER_INDEX, WORK_INDEX
from gatehouse.platform.aws import signing_key

from sandbox.emulator.server import Emulator
from tests.references.minio import MINIO_VARIABLE, running_minio
from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.secrets.members import URL
from tests.runtime.features.secrets.services import (
    BUCKET,
    REGION,
    TABLE,
    Sharing,
    of_backend,
    services,
    settings,
)

PATIENCE_S = 60.0


def create_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (
                ("id", "S"),
                ("owner", "S"),
                ("created_at", "N"),
                ("work", "S"),
                ("work_at", "N"),
            )
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [
                    {"AttributeName": first, "KeyType": "HASH"},
                    {"AttributeName": second, "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name, first, second in (
                (OWNER_INDEX, "owner", "created_at"),
                (WORK_INDEX, "work", "work_at"),
            )
        ],
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """An AWS emulator with table, bucket and KMS key. Sets the variables for clients. Yields the
    key ID.

    The clients wait longer than in a deployment: on a busy machine, a call that took longer would
    fail or be repeated, and tests compare the calls.
    """
    with (
        ExitStack() as stack,
        Emulator.start() as emulator,
        pytest.MonkeyPatch.context() as environment,
    ):
        key_id, secret = emulator.credentials
        if program := os.environ.get(MINIO_VARIABLE):
            url = stack.enter_context(running_minio(program, key_id, secret, REGION))
            environment.setenv("AWS_ENDPOINT_URL_S3", url)
        for module in (table, backend, signing_key):
            environment.setattr(module, "_TIMEOUT_S", PATIENCE_S)
        environment.setattr(table, "_PROBE_TIMEOUT_S", PATIENCE_S)
        environment.setattr(backend, "_READ_TIMEOUT_S", PATIENCE_S)
        for name, value in {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
        }.items():
            environment.setenv(name, value)
        boto3.setup_default_session()  # has the credentials of the previous module
        dynamodb: Any = boto3.client("dynamodb", region_name=REGION)
        create_table(dynamodb)
        s3: Any = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["KeyId"]
        dynamodb.delete_table(TableName=TABLE)  # DynamoDB Local outlives the emulator


@pytest.fixture(scope="module")
def module_services(aws: str) -> Sharing:
    """Services whose clients all tests of the module use, because creating the clients takes longer
    than most tests.
    """
    return services(settings(aws), ManualClock())


@pytest.fixture
def sharing(module_services: Sharing, monkeypatch: pytest.MonkeyPatch) -> Sharing:
    """With the smallest memory of Argon2. The test vectors have the parameters of the services."""
    monkeypatch.setattr(encryption, "ARGON2_MEMORY_KIB", 8)
    clock = ManualClock()
    return of_backend(
        replace(module_services.backend, clock=clock),
        clock,
        module_services.s3,
        module_services.dynamodb,
    )


@pytest.fixture
async def console(database: Database, sharing: Sharing) -> AsyncIterator[Console]:
    async with open_console(database, **sharing.console(URL)) as started:
        yield started
