"""The object versions of a moment."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sandbox.local import bucket_restore


class FakeBucket:
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

    def get_paginator(self, name: str) -> "FakeBucket":
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
