"""The rehearsal of docs/runbooks/recovery.md, Objects: the data bucket of the deployed stack is damaged and brought back."""

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

STACK = "prod"  # The stack that has a copy in a second region.


@dataclass(frozen=True, slots=True)
class Held:
    """The data bucket, its copy in the second region, and a client of each region."""

    bucket: str
    copy: str
    s3: Any
    away: Any

    def contents(self) -> dict[str, bytes]:
        """Every present object, byte for byte."""
        return {key: self.read(key) for key in bucket_restore.picture(self.s3, self.bucket)}

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Emulator, dict[str, Any]]]:
    emulator = Emulator.start()
    try:
        yield emulator, run(REPOSITORY, STACK, emulator, preview=False).exports
    finally:
        emulator.stop()


@pytest.fixture
def held(deployed: tuple[Emulator, dict[str, Any]]) -> Held:
    emulator, exports = deployed
    bucket = str(exports["buckets"]["data"])
    copy = bucket.replace("eu-west-1", "eu-central-1")
    found = Held(bucket, copy, emulator.client("s3", "eu-west-1"), emulator.client("s3", "eu-central-1"))
    for client, name in ((found.s3, bucket), (found.away, copy)):
        for key in bucket_restore.picture(client, name):
            client.delete_object(Bucket=name, Key=key)
    return found


def yesterday(held: Held) -> dict[str, bytes]:
    """What a day of work leaves: plain, nested and oddly named keys, an empty object, and one that was written twice."""
    held.s3.put_object(Bucket=held.bucket, Key="twice", Body=b"first")
    wanted = {
        **{f"shares/{number}": secrets.token_bytes(1024 * number) for number in range(1, 4)},
        **{"empty": b"", "a b/ü+%2F": b"odd", "twice": b"second"},
    }
    for key, body in wanted.items():
        held.s3.put_object(Bucket=held.bucket, Key=key, Body=body)
    return wanted


@pytest.mark.requirement("CG-20", "ECS-13")
def test_what_was_overwritten_deleted_and_added_is_as_it_was_byte_for_byte(held: Held) -> None:
    wanted = yesterday(held)
    taken = bucket_restore.picture(held.s3, held.bucket)
    held.s3.put_object(Bucket=held.bucket, Key="shares/1", Body=b"scrambled")
    held.s3.put_object(Bucket=held.bucket, Key="shares/1", Body=b"scrambled again")
    held.s3.delete_object(Bucket=held.bucket, Key="shares/2")
    held.s3.delete_object(Bucket=held.bucket, Key="a b/ü+%2F")
    held.s3.put_object(Bucket=held.bucket, Key="ransom-note", Body=b"pay")
    assert held.contents() != wanted
    assert bucket_restore.bring_back(held.s3, held.bucket, taken) == (3, 1)
    assert held.contents() == wanted


def test_bringing_back_twice_changes_nothing_more(held: Held) -> None:
    yesterday(held)
    taken = bucket_restore.picture(held.s3, held.bucket)
    assert bucket_restore.bring_back(held.s3, held.bucket, taken) == (0, 0)


@pytest.mark.requirement("CG-20", "ECS-13")
def test_a_bucket_that_is_gone_is_filled_from_its_copy_byte_for_byte(held: Held) -> None:
    wanted = yesterday(held)
    # The emulator keeps the replication rule and copies nothing: this line does what S3 does within 15 minutes.
    for key, body in held.contents().items():
        held.away.put_object(Bucket=held.copy, Key=key, Body=body, Metadata={"from": "eu-west-1"})
    for row in bucket_restore._versions(held.s3, held.bucket):
        held.s3.delete_object(Bucket=held.bucket, Key=row["Key"], VersionId=row["VersionId"])
    assert held.contents() == {}
    assert bucket_restore.fill(held.away, held.copy, held.s3, held.bucket) == len(wanted)
    assert held.contents() == wanted
    assert held.s3.head_object(Bucket=held.bucket, Key="empty")["Metadata"] == {"from": "eu-west-1"}


@pytest.mark.requirement("CG-20")
def test_the_copy_stands_in_the_second_region_with_versions_and_a_key_of_its_own(held: Held) -> None:
    (rule,) = held.s3.get_bucket_replication(Bucket=held.bucket)["ReplicationConfiguration"]["Rules"]
    assert (rule["Status"], rule["Destination"]["Bucket"]) == ("Enabled", f"arn:aws:s3:::{held.copy}")
    assert held.away.get_bucket_location(Bucket=held.copy)["LocationConstraint"] == "eu-central-1"
    assert held.away.get_bucket_versioning(Bucket=held.copy)["Status"] == "Enabled"
    (kept,) = held.away.get_bucket_encryption(Bucket=held.copy)["ServerSideEncryptionConfiguration"]["Rules"]
    assert ":kms:eu-central-1:" in kept["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]


class Listed:
    """A bucket's list of versions as S3 gives it, with times that a test may choose."""

    def __init__(self, *rows: tuple[str, str, int, bool]) -> None:
        self.rows = [
            {
                "Key": key,
                "VersionId": version,
                "LastModified": MOMENT + timedelta(minutes=minute),
                "IsLatest": False,
                "gone": gone,
            }
            for key, version, minute, gone in rows
        ]

    def get_paginator(self, name: str) -> Listed:
        assert name == "list_object_versions"
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, Any]]:
        for row in self.rows:
            yield {"DeleteMarkers" if row["gone"] else "Versions": [row]}


MOMENT = datetime(2026, 1, 10, 12, 0, tzinfo=UTC)


def test_the_picture_of_a_moment_holds_the_last_version_before_it() -> None:
    listed = Listed(
        ("kept", "1", -10, False), ("kept", "2", -5, False), ("kept", "3", 5, False),
        ("deleted before", "1", -10, False), ("deleted before", "m", -1, True),
        ("deleted after", "1", -10, False), ("deleted after", "m", 1, True),
        ("made after", "1", 1, False),
    )  # fmt: skip
    assert bucket_restore.picture(listed, "any", MOMENT) == {"kept": "2", "deleted after": "1"}
    assert bucket_restore.picture(listed, "any") == {"kept": "3", "made after": "1"}
