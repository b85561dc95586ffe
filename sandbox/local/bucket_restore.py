"""Restores a bucket to an earlier state from its object versions, or creates the objects of a new
bucket from a replica.

The functions use plain S3 calls and therefore also work on AWS (docs/runbooks/recovery.md).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

Versions = Mapping[str, str]
"""Current version IDs, keyed by object key. Deleted keys are absent."""


def versions_at(s3: Any, bucket: str, moment: datetime | None = None) -> dict[str, str]:
    """The versions that are current at a point in time, by default now. The time must have a time
    zone. S3 timestamps are in seconds, so a version from exactly that second is included."""
    newest: dict[str, str] = {}
    for row in _versions(s3, bucket):
        if moment is not None and row["LastModified"] > moment:
            continue
        newest.setdefault(row["Key"], "" if row["deleted"] else row["VersionId"])
    return {key: version for key, version in newest.items() if version}


def restore(s3: Any, bucket: str, versions: Versions) -> tuple[int, int]:
    """Make `versions` current: copy older versions and delete keys that are not in `versions`.
    Existing versions are retained.

    Returns the numbers of restored and deleted objects.
    """
    current = versions_at(s3, bucket)
    changed = [key for key, version in versions.items() if current.get(key) != version]
    extra = [key for key in current if key not in versions]
    for key in changed:
        s3.copy_object(
            Bucket=bucket,
            Key=key,
            CopySource={"Bucket": bucket, "Key": key, "VersionId": versions[key]},
        )
    for key in extra:
        s3.delete_object(Bucket=bucket, Key=key)
    return len(changed), len(extra)


def copy_replica(source: Any, replica: str, target: Any, bucket: str) -> int:
    """Copy the current objects of a replica to a new bucket, encrypted with the new bucket's key.
    Returns the number of objects.

    source, target: clients of the two regions. Objects pass through this machine, because the
        regions have different keys.
    """
    versions = versions_at(source, replica)
    for key, version in versions.items():
        stored = source.get_object(Bucket=replica, Key=key, VersionId=version)
        content_type = {"ContentType": stored["ContentType"]} if "ContentType" in stored else {}
        target.put_object(
            Bucket=bucket,
            Key=key,
            Body=stored["Body"].read(),
            Metadata=stored.get("Metadata", {}),
            **content_type,
        )
    return len(versions)


def _versions(s3: Any, bucket: str) -> Iterator[dict[str, Any]]:
    """Versions and delete markers of all keys, the newest of each key first."""
    rows: list[dict[str, Any]] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        rows += [{**row, "deleted": False} for row in page.get("Versions", [])]
        rows += [{**row, "deleted": True} for row in page.get("DeleteMarkers", [])]
    # Within the same second, the latest version comes first; other versions keep the order of the
    # list.
    rows.sort(key=lambda row: (row["LastModified"], row["IsLatest"]), reverse=True)
    yield from rows
