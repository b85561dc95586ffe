"""A row that is added to the decision applies wherever a key is used."""

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import asyncpg
import msgspec
import pytest
from gatehouse.core import decision
from gatehouse.core.clock import Clock
from gatehouse.core.decision import Row
from gatehouse.core.imported_tokens import ImportedKeyIds
from gatehouse.core.keys import KeyEnvironment, KeyRecord, RateLimit
from gatehouse.core.token import Pepper, build
from gatehouse.core.verification import Code, VerificationRequest
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.verification.cache import KeyCache
from gatehouse.features.verification.explanation import first_failure, key_checks
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.repository import KeyLoader
from gatehouse.features.verification.service import VerificationService
from gatehouse.services.gateway.relay import Relay, Stream

from tests.runtime.console_client import Console
from tests.runtime.key_records import RECORD
from tests.runtime.services.gateway.conftest import SERVE, Core, Gateway, core, running_gateway

__all__ = ["core"]

PEPPER = Pepper({1: bytes(32)}, 1)
TEST = KeyEnvironment.TEST
LIMIT = RateLimit(name="requests", quota=1000, window_s=1, burst=1000)
REQUEST = VerificationRequest(scopes=("cores:read",))
ROW = Row(
    "not blocked",
    Code.FORBIDDEN,
    lambda record, *_: record.owner != "blocked",
    lambda record, _now: record.owner,
)
SCRIPT = """
from gatehouse.core import decision
from gatehouse.core.verification import Code
is_allowed = lambda record, *_: record.owner != "blocked"
decision.ROWS += (decision.Row("not blocked", Code.FORBIDDEN, is_allowed, lambda *_: ""),)
"""

_UNUSED: Any = None


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "ROWS", (*decision.ROWS, ROW))


def service_with(owner: str) -> tuple[VerificationService, str, KeyRecord]:
    token = build("gtk", TEST, bytes(12), bytes(32), pepper=PEPPER, generation=1)
    assert token is not None
    record = msgspec.structs.replace(
        RECORD, id=token.id, digest=PEPPER.digest(token.text, 1) or b"", owner=owner
    )
    cache = KeyCache(10)
    cache.begin_load([token.id])
    cache.end_load(token.id, record)
    keys = KeyLoader(_UNUSED, cache, lambda: 0)

    async def imported_ids() -> ImportedKeyIds:
        return ImportedKeyIds(PEPPER)

    service = VerificationService(
        keys=keys,
        finder=KeyFinder(PEPPER, "gtk", keys.find, imported_ids, cache.find),
        limits=RateLimits(),
        credits=_UNUSED,
        nonces=None,
        on_old_pepper=lambda *_: None,
        clock=Clock(),
        environment=TEST,
        default_limits=(LIMIT,),
        max_staleness_ms=5000,
    )
    return service, token.text, record


@pytest.mark.usefixtures("added")
async def test_row_applies_to_verifications_and_explanations() -> None:
    for owner, code in (("team-a", Code.VALID), ("blocked", Code.FORBIDDEN)):
        service, token, record = service_with(owner)
        assert (await service.verify(token, REQUEST)).code is code
        checks = key_checks(record, REQUEST, environment=TEST, now=0.0)
        assert (first_failure(checks), checks[-1].name, checks[-1].actual) == (
            code,
            "not blocked",
            owner,
        )


async def test_row_ends_relayed_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay(TEST, Clock(), "", lambda *_: None, Clock().now, 3000, 1, 60.0)
    relay.staleness_ms = lambda: 0
    stream = Stream(relay)
    stream.record = msgspec.structs.replace(RECORD, owner="blocked")
    ended = Mock()
    monkeypatch.setattr(stream, "end", ended)
    assert relay.add(stream)
    await relay.check()
    ended.assert_not_called()
    monkeypatch.setattr(decision, "ROWS", (*decision.ROWS, ROW))
    await relay.check()
    ended.assert_called_once_with(1008)


async def test_row_applies_to_the_console(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [
        await console.create(scopes=["role:auditor"], owner=owner)
        for owner in ("team-a", "blocked")
    ]
    monkeypatch.setattr(decision, "ROWS", (*decision.ROWS, ROW))
    replies = [await console.get("/v1/keys", headers=console.as_(key["token"])) for key in keys]
    assert [reply.status_code for reply in replies] == [200, 401]


async def test_row_applies_to_a_running_gateway(
    database: Any, redis_url: str, tmp_path: Path, core: Core
) -> None:
    with running_gateway(database, redis_url, tmp_path, SCRIPT + SERVE) as (port, pid, log, url):
        async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
            gateway = Gateway(port, pid, pool, log)
            assert (await gateway.register(core.url))[1].status == 200
            for owner, code, status in (("team-a", "VALID", 200), ("blocked", "FORBIDDEN", 403)):
                key = await gateway.create_key(owner=owner)
                assert (await gateway.verify(key.token)).json["code"] == code
                for path in ("/v1/keys/verify", "/cores/docs/", "/cores/docs/"):
                    assert (await gateway.get(path, key.bearer)).status == status
