"""Readers in several processes compete for the uses of a link: never more than N get the content."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from typing import Any

import pytest
from gatehouse.errors import Unavailable
from gatehouse.sharing.denials import LinkNotFound

from tests.runtime.clocks import ManualClock
from tests.runtime.sharing.conftest import ACTOR, TEXT, Sharing, services

pytestmark = pytest.mark.requirement("SS-03")
PROCESSES, READERS, ROUNDS = 3, 6, 2


def _read(key: str, urls: list[tuple[str, str, str]], barrier: Barrier, results: Any) -> None:
    """A process: `READERS` clients open each link at the same time."""
    from gatehouse.sharing.link_token import LinkToken

    sharing = services(key, ManualClock())

    async def attempt(token: LinkToken) -> str:
        claim = os.urandom(16).hex()
        while True:
            try:
                return "content" if await sharing.text(await sharing.open(token, claim=claim)) == TEXT else "other"
            except LinkNotFound:
                return "not found"
            except Unavailable:
                continue  # a slow machine: the client repeats its request

    async def rounds() -> None:
        for values in urls:
            barrier.wait(60)
            results.put(await asyncio.gather(*(attempt(LinkToken(*values)) for _ in range(READERS))))

    asyncio.run(rounds())


@pytest.mark.parametrize("limit", [1, 3])
async def test_readers_get_the_content_as_often_as_the_link_allows(sharing: Sharing, aws: str, limit: int) -> None:
    tokens = [(await sharing.create(uses=limit))[1][0] for _ in range(ROUNDS)]
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.Queue()
    values = [(token.secret_id, token.link_id, token.secret) for token in tokens]
    processes = [context.Process(target=_read, args=(aws, values, barrier, results)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    outcomes = [outcome for _ in range(PROCESSES * ROUNDS) for outcome in await asyncio.to_thread(results.get, True, 120)]
    for process in processes:
        process.join(60)
    assert outcomes.count("content") == limit * ROUNDS
    assert outcomes.count("not found") == (PROCESSES * READERS - limit) * ROUNDS
    for token in tokens:
        link = (await sharing.secrets.get(token.secret_id)).links[token.link_id]
        assert (link.uses, len(link.claims)) == (limit, limit)


async def test_nothing_is_opened_after_the_revocation_returned(sharing: Sharing) -> None:
    for _ in range(5):
        secret, [token] = await sharing.create(uses=100)
        revoked = asyncio.Event()
        late: list[bool] = []

        async def read(token: Any = token, revoked: asyncio.Event = revoked, late: list[bool] = late) -> None:
            for _ in range(4):
                began_late = revoked.is_set()
                try:
                    await sharing.open(token)
                except LinkNotFound:
                    return
                late.append(began_late)

        async def revoke(secret_id: str = secret.id, revoked: asyncio.Event = revoked) -> None:
            await sharing.secrets.revoke(secret_id, ACTOR)
            revoked.set()

        await asyncio.gather(*(read() for _ in range(4)), revoke())
        assert not any(late)
        with pytest.raises(LinkNotFound):
            await sharing.open(token)


async def test_same_claim_of_many_requests_takes_one_use(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=5)
    opened = await asyncio.gather(*(sharing.open(token, claim="c" * 32) for _ in range(10)))
    assert {await sharing.text(result) for result in opened} == {TEXT}
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 1
