"""Fixture `sharing`: the secret sharing services on the AWS emulator, with one clock."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import boto3
import pytest
from gatehouse.http.asgi import RequestId
from gatehouse.identity.models import Actor
from gatehouse.observability import Observer
from gatehouse.settings import SharingSettings
from gatehouse.sharing import encryption
from gatehouse.sharing.app import create
from gatehouse.sharing.backend import Backend
from gatehouse.sharing.link_token import LinkToken
from gatehouse.sharing.links import Client, LinkService, Opened
from gatehouse.sharing.models import Secret
from gatehouse.sharing.requests.service import RequestService
from gatehouse.sharing.requests.submissions import SubmissionService
from gatehouse.sharing.service import NewItem, NewSecret, SecretService, one_by_one
from gatehouse.sharing.table import OWNER_INDEX, WORK_INDEX

from sandbox.emulator.server import Emulator
from tests.runtime.clocks import ManualClock

REGION = "eu-central-1"
TABLE, BUCKET = "tokens", "secrets-bucket"
ACTOR = Actor(type="key", id="3fGh82kLmQ0a")
CLIENT = Client("198.51.100.7", RequestId("req_1"))
TEXT = b"correct horse battery staple \xf0\x9f\x90\xb4"


@dataclass(frozen=True)
class Sharing:
    """Services of one environment. `s3` and `dynamodb` are clients with all permissions."""

    backend: Backend
    secrets: SecretService
    links: LinkService
    requests: RequestService
    submissions: SubmissionService
    clock: ManualClock
    s3: Any
    dynamodb: Any

    async def create(self, text: bytes = TEXT, **values: Any) -> tuple[Secret, list[LinkToken]]:
        options = {"sender": "Ada", "ttl_s": 3600.0, "ttl_s_max": 86_400.0, "uses": 1, **values}
        new = NewSecret(items=one_by_one(options.pop("items", [NewItem.of(text)])), **options)
        return await self.secrets.create(new, Actor(type="key", id=os.urandom(6).hex()))

    async def open(self, token: LinkToken, claim: str = "", passphrase: str = "", client: Client = CLIENT) -> Opened:
        return await self.links.open(token, passphrase, claim or os.urandom(16).hex(), client)

    async def text(self, opened: Opened, number: int = 0) -> bytes:
        return b"".join([chunk async for chunk in self.links.read(opened.items[number], opened.content_key)])

    def app(self, **options: Any) -> Any:
        """The sharing service with these services. `options`: other arguments of `create`."""
        defaults = {"probes": [], "observer": Observer("sharing", "error", "test"), "https": True}
        return create(**{**defaults, "links": self.links, "submissions": self.submissions, **options})

    def object_versions(self) -> list[str]:
        reply = self.s3.list_object_versions(Bucket=BUCKET)
        return [entry["Key"] for entry in (*reply.get("Versions", ()), *reply.get("DeleteMarkers", ()))]


def create_table(dynamodb: Any) -> None:
    """The table as components/database/secret_links_table.py declares it."""
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": kind}
            for name, kind in (("id", "S"), ("owner", "S"), ("created_at", "N"), ("work", "S"), ("work_at", "N"))
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": name,
                "KeySchema": [{"AttributeName": first, "KeyType": "HASH"}, {"AttributeName": second, "KeyType": "RANGE"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
            for name, first, second in ((OWNER_INDEX, "owner", "created_at"), (WORK_INDEX, "work", "work_at"))
        ],
    )


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """Starts an AWS emulator with table, bucket and KMS key, and sets the variables for AWS clients. Yields the key ID."""
    with Emulator.start() as emulator, pytest.MonkeyPatch.context() as environment:
        key_id, secret = emulator.credentials
        for name, value in {
            "AWS_ENDPOINT_URL": emulator.endpoint,
            "AWS_ACCESS_KEY_ID": key_id,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": REGION,
        }.items():
            environment.setenv(name, value)
        create_table(boto3.client("dynamodb", region_name=REGION))
        s3: Any = boto3.client("s3", region_name=REGION)
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield boto3.client("kms", region_name=REGION).create_key()["KeyMetadata"]["KeyId"]


def services(key: str, clock: ManualClock, environment: str = "test") -> Sharing:
    """Services with clients of their own, as in a separate process."""
    settings = SharingSettings(environment=environment, secret_links_table=TABLE, secrets_bucket=BUCKET, secrets_key=key)
    backend = Backend.from_settings(settings, clock)
    assert backend is not None
    return of_backend(backend, clock, boto3.client("s3", region_name=REGION), boto3.client("dynamodb", region_name=REGION))


def of_backend(backend: Backend, clock: ManualClock, s3: Any, dynamodb: Any) -> Sharing:
    return Sharing(
        backend,
        SecretService(backend),
        LinkService(backend, Observer("sharing", "error", backend.environment)),
        RequestService(backend),
        SubmissionService(backend),
        clock,
        s3,
        dynamodb,
    )


@pytest.fixture(scope="module")
def module_services(aws: str) -> Sharing:
    """Services whose clients all tests of the module use, because creating the clients takes longer than most tests."""
    return services(aws, ManualClock())


@pytest.fixture
def sharing(module_services: Sharing, monkeypatch: pytest.MonkeyPatch) -> Sharing:
    """With a clock of the test and the smallest memory of Argon2. The test vectors have the parameters of the services."""
    monkeypatch.setattr(encryption, "ARGON2_MEMORY_KIB", 8)
    clock = ManualClock()
    return of_backend(replace(module_services.backend, clock=clock), clock, module_services.s3, module_services.dynamodb)
