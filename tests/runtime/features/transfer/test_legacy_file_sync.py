"""Legacy files in S3: purged keys are removed, also during concurrent writes."""

import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.errors import Conflict, Unavailable
from gatehouse.core.keys import KeyId
from gatehouse.features.transfer import repository
from gatehouse.features.transfer.legacy_file_sync import LegacyFileSync
from gatehouse.features.transfer.repository import RemovalRepository
from gatehouse.platform.aws import object_storage

from tests.runtime.console_client import Console
from tests.runtime.features.keys.test_service import actions
from tests.runtime.s3_bucket import BUCKET, bucket

__all__ = ["bucket"]

KEYS, URLS = f"s3://{BUCKET}/api_keys.json", f"s3://{BUCKET}/config/ngrok_urls.json"


def put(bucket: Any, name: str, content: Any) -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=2)
    bucket.put_object(Bucket=BUCKET, Key=name, Body=text.encode())


def get(bucket: Any, name: str) -> Any:
    return json.loads(bucket.get_object(Bucket=BUCKET, Key=name)["Body"].read())


def file_sync(
    console: Console,
    read: Callable[[str, int], tuple[bytes, str]] = object_storage.read,
    locations: tuple[str, ...] = (KEYS, URLS),
) -> LegacyFileSync:
    removals = RemovalRepository(console.pool)
    return LegacyFileSync(removals, locations, console.clock, console.pepper, read=read)


async def purge(console: Console, key_id: str) -> None:
    assert (await console.post(f"/v1/keys/{key_id}/revoke")).status_code == 200
    assert (
        await console.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    ).status_code == 200


async def test_purged_key_is_removed_from_every_legacy_file(console: Console, bucket: Any) -> None:
    removed, remaining = secrets.token_urlsafe(20), secrets.token_urlsafe(20)
    put(bucket, "api_keys.json", {remaining: {"name": "unchanged"}, removed: {"name": "removed"}})
    urls = {remaining: "https://b.example", removed: "https://a.example", "docs": "https://c"}
    put(bucket, "config/ngrok_urls.json", urls)
    key_id = await console.import_key(removed)
    files = file_sync(console, locations=(KEYS, URLS, f"{KEYS}.old"))
    assert await files.run_once() == 0
    await purge(console, key_id)
    assert await files.run_once() == 1
    assert get(bucket, "api_keys.json") == {remaining: {"name": "unchanged"}}
    del urls[removed]
    assert get(bucket, "config/ngrok_urls.json") == urls
    assert (await actions(console, key_id))[-1] == "key.legacy-files-removed"
    assert await files.run_once() == 0


async def test_concurrent_change_of_legacy_file_is_preserved(console: Console, bucket: Any) -> None:
    removed = secrets.token_urlsafe(20)
    put(bucket, "api_keys.json", {removed: {}, "first-other-key": {}})

    def read_before_change(location: str, bytes_max: int) -> tuple[bytes, str]:
        result = object_storage.read(location, bytes_max)
        put(bucket, "api_keys.json", {removed: {}, "added-by-others": {}})
        return result

    key_id = await console.import_key(removed)
    await purge(console, key_id)
    with pytest.raises(Conflict):
        await file_sync(console, read_before_change, (KEYS,)).run_once()
    assert removed in get(bucket, "api_keys.json")
    assert "key.legacy-files-removed" not in await actions(console, key_id)
    assert await file_sync(console).run_once() == 1
    assert get(bucket, "api_keys.json") == {"added-by-others": {}}


async def test_concurrent_runs_record_a_removal_once(console: Console, bucket: Any) -> None:
    removed = secrets.token_urlsafe(20)
    put(bucket, "api_keys.json", {removed: {}})
    key_id = await console.import_key(removed)
    await purge(console, key_id)
    first, second = file_sync(console), file_sync(console)
    queued = await first.removals.queued()
    assert await second.run_once() == 1
    assert await first.removals.done(queued, no_event) == 0
    assert (await actions(console, key_id)).count("key.legacy-files-removed") == 1


@pytest.mark.bound("transfer.repository:REMOVALS_MAX")
async def test_oldest_removals_come_first(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "REMOVALS_MAX", 2)
    console.sql(
        "INSERT INTO legacy_file_removal (key_id, queued_at) SELECT 'queued00000' || minutes, "
        "now() - minutes * interval '1 minute' FROM generate_series(1, 3) AS minutes"
    )
    removals = RemovalRepository(console.pool)
    assert await removals.queued() == {"queued000002", "queued000003"}
    console.sql("DELETE FROM legacy_file_removal")


def no_event(key_id: KeyId) -> AuditEvent:
    raise AssertionError(key_id)


@pytest.mark.bound("transfer.legacy_file_sync:FILE_BYTES_MAX")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{broken", "is not valid JSON (line 1)"),
        (
            '{"a": 1, "a": 2}extra',
            "has two members with the same name (members 1 and 2 of an object)",
        ),
        ("{" + " " * (16 << 20) + "}", "is larger than 16 MiB"),
    ],
    ids=["0", "1", "2"],
)
async def test_unreadable_legacy_file_is_unchanged(
    console: Console, bucket: Any, content: str, reason: str
) -> None:
    token = secrets.token_urlsafe(20)
    put(bucket, "api_keys.json", content)
    put(bucket, "config/ngrok_urls.json", {token: "https://a.example"})
    await purge(console, await console.import_key(token))
    with pytest.raises(Unavailable) as error:
        await file_sync(console).run_once()
    assert get(bucket, "config/ngrok_urls.json") == {}
    assert error.value.detail == f"1 purged keys may still be in {KEYS}, which {reason}"
    assert bucket.get_object(Bucket=BUCKET, Key="api_keys.json")["Body"].read() == content.encode()
    put(bucket, "api_keys.json", {})
    assert await file_sync(console).run_once() == 1


async def test_native_key_is_not_removed_from_legacy_files(console: Console) -> None:
    await purge(console, await console.create_id())
    assert console.sql("SELECT count(*) FROM legacy_file_removal") == "0"
