"""Brings a bucket back to what it was: from its own versions, or from its copy when the bucket itself is lost.

It speaks plain S3, so the same calls work on AWS (docs/runbooks/recovery.md); the rehearsal runs them on the deployed bucket.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Picture = Mapping[str, str]
"""Key to the version that was the present one; a key that was deleted or not yet there is absent."""


def picture(s3: Any, bucket: str, moment: datetime | None = None) -> dict[str, str]:
    """What stood in the bucket at a moment (with time zone), now when none is given. S3 keeps times to the second, so the state
    of a second is that at its end."""
    newest: dict[str, tuple[datetime, str]] = {}
    for row in _versions(s3, bucket):
        if moment is not None and row["LastModified"] > moment:
            continue
        # S3 lists the versions of a key from the newest to the oldest.
        newest.setdefault(row["Key"], (row["LastModified"], "" if row["deleted"] else row["VersionId"]))
    return {key: version for key, (_, version) in newest.items() if version}


def bring_back(s3: Any, bucket: str, wanted: Picture) -> tuple[int, int]:
    """Make `wanted` the present state: an older version is copied over what stands there, a key that was not there is deleted.
    Nothing is lost by it, for what stands there now stays as a version. Returns how many were brought back and deleted."""
    present = picture(s3, bucket)
    back = [key for key, version in wanted.items() if present.get(key) != version]
    away = [key for key in present if key not in wanted]
    for key in back:
        s3.copy_object(Bucket=bucket, Key=key, CopySource={"Bucket": bucket, "Key": key, "VersionId": wanted[key]})
    for key in away:
        s3.delete_object(Bucket=bucket, Key=key)
    return len(back), len(away)


def fill(source: Any, copy: str, target: Any, bucket: str) -> int:
    """Fill a new bucket with the present objects of its copy, each encrypted by the new bucket's own key. Returns how many.

    source, target: clients of the two regions. An object goes through this machine, since the two keys are of two regions.
    """
    wanted = picture(source, copy)
    for key, version in wanted.items():
        found = source.get_object(Bucket=copy, Key=key, VersionId=version)
        kind = {"ContentType": found["ContentType"]} if "ContentType" in found else {}
        target.put_object(Bucket=bucket, Key=key, Body=found["Body"].read(), Metadata=found.get("Metadata", {}), **kind)
    return len(wanted)


def _versions(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    """Versions and delete markers of all keys, for each key from the newest to the oldest."""
    rows: list[dict[str, Any]] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        rows += [{**row, "deleted": False} for row in page.get("Versions", [])]
        rows += [{**row, "deleted": True} for row in page.get("DeleteMarkers", [])]
    # Of two rows of one second, the one that S3 calls the latest is the newer; among older ones their order in the list stays.
    rows.sort(key=lambda row: (row["LastModified"], row["IsLatest"]), reverse=True)
    yield from rows
