"""Quotas of owners are exact and separate."""

import asyncio
import os

import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.errors import Conflict, RateLimited
from gatehouse.features.secrets import service
from gatehouse.features.secrets.service import NewItem
from gatehouse.platform.settings import Settings

from tests.runtime.clocks import ManualClock
from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import BUCKET, TABLE, Sharing, services

CREATES_PER_MINUTE = 3


async def _create(sharing: Sharing, kind: str, owner: Actor) -> None:
    if kind == "secret":
        await sharing.create(owner=owner.label)
    else:
        await request(sharing, actor=owner)


def _owner() -> Actor:
    return Actor(type="key", id=os.urandom(6).hex())


def _limited(key: str, clock: ManualClock) -> Sharing:
    settings = Settings(
        environment="test",
        database_url="postgresql://app@db/gatehouse",
        secret_links_table=TABLE,
        secrets_bucket=BUCKET,
        secrets_key=key,
        sharing_creates_per_minute=CREATES_PER_MINUTE,
    )
    return services(settings, clock)


@pytest.mark.bound("sharing_creates_per_minute")
@pytest.mark.parametrize("kind", ["secret", "request"])
async def test_quota_is_exact_across_processes(aws: str, kind: str) -> None:
    clock, owner, another = ManualClock(), _owner(), _owner()
    sharing, process = (_limited(aws, clock) for _ in range(2))
    attempts = [
        _create(target, kind, owner)
        for target in (sharing, process)
        for _ in range(CREATES_PER_MINUTE)
    ]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [
        RateLimited
    ] * CREATES_PER_MINUTE
    listed, _ = await sharing.backend.table.of_owner(owner.label, after=None, size=50)
    assert len(listed) == CREATES_PER_MINUTE
    await _create(sharing, kind, another)
    clock.advance(45)
    with pytest.raises(RateLimited) as denied:
        await _create(sharing, kind, owner)
    assert denied.value.retry_after_s == 15
    clock.advance(15)
    await _create(sharing, kind, owner)


async def test_versions_have_the_same_quota(aws: str) -> None:
    """A replacement stores as much as a new secret, also if the version is not stored."""
    sharing, owner = _limited(aws, ManualClock()), _owner()
    secret, _ = await sharing.create(owner=owner.label)

    async def replace() -> None:
        await sharing.secrets.replace_content(secret.id, [NewItem(b"x")], None, owner)

    for _ in range(CREATES_PER_MINUTE):
        await replace()
    with pytest.raises(RateLimited):
        await replace()
    stored = [key for key in sharing.object_versions() if secret.id in key]
    assert len(stored) == 1 + CREATES_PER_MINUTE


async def test_number_of_created_versions_is_bounded(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CREATED_VERSIONS_MAX", 2)
    sharing = _limited(aws, ManualClock())
    secret, _ = await sharing.create()
    await sharing.secrets.replace_content(secret.id, [NewItem(b"x")], None, _owner())
    with pytest.raises(Conflict):
        await sharing.secrets.replace_content(secret.id, [NewItem(b"x")], None, _owner())
