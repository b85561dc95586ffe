"""docs/runbooks/recovery.md: the data bucket is restored from object versions and from its replica."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.local import bucket_restore
from sandbox.paths import REPOSITORY

STACK = "prod"  # has a replica in a second region


@dataclass(frozen=True, slots=True)
class DataBucket:
    """The data bucket and its replica, with a client for each region."""

    bucket: str
    replica: str
    s3: Any
    replica_s3: Any

    def contents(self) -> dict[str, bytes]:
        """The content of every current object."""
        return {key: self.read(key) for key in bucket_restore.versions_at(self.s3, self.bucket)}

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Emulator, dict[str, Any]]]:
    with Emulator.start() as emulator:
        yield emulator, run(REPOSITORY, STACK, emulator, preview=False).exports


@pytest.fixture
def data(deployed: tuple[Emulator, dict[str, Any]]) -> DataBucket:
    emulator, exports = deployed
    bucket = str(exports["buckets"]["data"])
    replica = bucket.replace("eu-west-1", "eu-central-1")
    data = DataBucket(bucket, replica, emulator.client("s3", "eu-west-1"), emulator.client("s3", "eu-central-1"))
    for client, name in ((data.s3, bucket), (data.replica_s3, replica)):
        for key in bucket_restore.versions_at(client, name):
            client.delete_object(Bucket=name, Key=key)
    return data


def write_objects(data: DataBucket) -> dict[str, bytes]:
    """Write objects: nested keys, special characters, an empty object and an overwritten one. Returns their content."""
    data.s3.put_object(Bucket=data.bucket, Key="twice", Body=b"first")
    expected = {
        **{f"shares/{number}": secrets.token_bytes(1024 * number) for number in range(1, 4)},
        **{"empty": b"", "a b/ü+%2F": b"odd", "twice": b"second"},
    }
    for key, body in expected.items():
        data.s3.put_object(Bucket=data.bucket, Key=key, Body=body)
    return expected


@pytest.mark.requirement("CG-20", "ECS-13")
def test_restore_undoes_changes(data: DataBucket) -> None:
    expected = write_objects(data)
    versions = bucket_restore.versions_at(data.s3, data.bucket)
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled")
    data.s3.put_object(Bucket=data.bucket, Key="shares/1", Body=b"scrambled again")
    data.s3.delete_object(Bucket=data.bucket, Key="shares/2")
    data.s3.delete_object(Bucket=data.bucket, Key="a b/ü+%2F")
    data.s3.put_object(Bucket=data.bucket, Key="ransom-note", Body=b"pay")
    assert data.contents() != expected
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (3, 1)
    assert data.contents() == expected


def test_restore_of_current_versions_changes_nothing(data: DataBucket) -> None:
    write_objects(data)
    versions = bucket_restore.versions_at(data.s3, data.bucket)
    assert bucket_restore.restore(data.s3, data.bucket, versions) == (0, 0)


@pytest.mark.requirement("CG-20", "ECS-13")
def test_lost_bucket_is_restored_from_the_replica(data: DataBucket) -> None:
    expected = write_objects(data)
    # The emulator does not replicate objects.
    for key, body in data.contents().items():
        data.replica_s3.put_object(Bucket=data.replica, Key=key, Body=body, Metadata={"from": "eu-west-1"})
    for row in bucket_restore._versions(data.s3, data.bucket):
        data.s3.delete_object(Bucket=data.bucket, Key=row["Key"], VersionId=row["VersionId"])
    assert data.contents() == {}
    assert bucket_restore.copy_replica(data.replica_s3, data.replica, data.s3, data.bucket) == len(expected)
    assert data.contents() == expected
    assert data.s3.head_object(Bucket=data.bucket, Key="empty")["Metadata"] == {"from": "eu-west-1"}


@pytest.mark.requirement("CG-20")
def test_replica_has_versioning_and_its_own_key(data: DataBucket) -> None:
    (rule,) = data.s3.get_bucket_replication(Bucket=data.bucket)["ReplicationConfiguration"]["Rules"]
    assert (rule["Status"], rule["Destination"]["Bucket"]) == ("Enabled", f"arn:aws:s3:::{data.replica}")
    assert data.replica_s3.get_bucket_location(Bucket=data.replica)["LocationConstraint"] == "eu-central-1"
    assert data.replica_s3.get_bucket_versioning(Bucket=data.replica)["Status"] == "Enabled"
    (rule_,) = data.replica_s3.get_bucket_encryption(Bucket=data.replica)["ServerSideEncryptionConfiguration"]["Rules"]
    assert ":kms:eu-central-1:" in rule_["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]


class FakeBucket:
    """A version list like the list from S3, with given timestamps."""

    def __init__(self, *rows: tuple[str, str, int, bool]) -> None:
        self.rows = [
            {
                "Key": key,
                "VersionId": version,
                "LastModified": MOMENT + timedelta(minutes=minute),
                "IsLatest": False,
                "deleted": deleted,
            }
            for key, version, minute, deleted in rows
        ]

    def get_paginator(self, name: str) -> FakeBucket:
        assert name == "list_object_versions"
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            yield {"DeleteMarkers" if row["deleted"] else "Versions": [row]}


MOMENT = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


def test_versions_at_a_moment() -> None:
    fake = FakeBucket(
        ("kept", "1", -10, False), ("kept", "2", -5, False), ("kept", "3", 5, False),
        ("deleted before", "1", -10, False), ("deleted before", "m", -1, True),
        ("deleted after", "1", -10, False), ("deleted after", "m", 1, True),
        ("made after", "1", 1, False),
    )  # fmt: skip
    assert bucket_restore.versions_at(fake, "any", MOMENT) == {"kept": "2", "deleted after": "1"}
    assert bucket_restore.versions_at(fake, "any") == {"kept": "3", "made after": "1"}
