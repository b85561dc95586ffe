"""Killed processes, and processes with different clocks."""

import asyncio
import multiprocessing
import os
import signal
from typing import Any

import pytest
from gatehouse.core.audit_events import AuditAction
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.models import CLAIM_S, EndReason, ended

from tests.runtime.clocks import ManualClock
from tests.runtime.features.secrets.processes import CLAIM, open_until_decryption
from tests.runtime.features.secrets.services import ACTOR, TEXT, Sharing, services, settings

SKEW_S = 120.0


async def test_process_killed_between_claim_and_decryption_loses_one_use_at_most(
    sharing: Sharing, aws: str
) -> None:
    secret, [token] = await sharing.create()
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    arguments = (aws, sharing.clock.now(), token, results)
    process = context.Process(target=open_until_decryption, args=arguments)
    process.start()
    try:
        assert await asyncio.to_thread(results.get, True, 120) == "decrypting"
    finally:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(60)
    assert process.exitcode == -signal.SIGKILL
    # The use is recorded, so nobody else can open the link. The owner sees that its receipt was not
    # confirmed.
    link = (await sharing.secrets.get(secret.id)).links[token.link_id]
    assert (link.uses, [claim.acknowledged_at for claim in link.claims.values()]) == (1, [None])
    with pytest.raises(LinkNotFound):
        await sharing.open(token)
    # The same client repeats its request, until the claim is too old.
    assert await sharing.read(token, claim=CLAIM) == TEXT
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 1
    sharing.clock.advance(CLAIM_S)
    with pytest.raises(LinkNotFound):
        await sharing.open(token, claim=CLAIM)


async def test_clocks_that_differ_neither_add_uses_nor_open_ended_links(
    sharing: Sharing, aws: str
) -> None:
    now = sharing.clock.now()
    tokens = {
        name: (await sharing.create(ttl_s=300.0))[1][0]
        for name in ("used", "revoked", "ended", "expired", "expiring")
    }
    late, early = (
        services(settings(aws), ManualClock(now + 299.0 + skew)) for skew in (-SKEW_S, SKEW_S)
    )
    sharing.clock.advance(299.0)  # a second before the expiry

    async def attempts(name: str) -> list[bytes]:
        texts = []
        for process in (late, early):
            try:
                texts.append(await process.text(await process.open(tokens[name])))
            except LinkNotFound:
                texts.append(b"denied")
        return texts

    # A process with a fast clock denies a link too soon. A process with a slow clock opens the
    # link, once.
    assert await attempts("expiring") == [TEXT, b"denied"]
    assert await sharing.read(tokens["used"]) == TEXT
    assert await attempts("used") == [b"denied", b"denied"]
    await sharing.secrets.revoke(tokens["revoked"].secret_id, ACTOR)
    assert await attempts("revoked") == [b"denied", b"denied"]
    # Within seconds, the worker records the expiry of the secret. After that, no process opens the
    # link.
    sharing.clock.advance(1.0)
    secret = await sharing.secrets.get(tokens["ended"].secret_id)
    event = sharing.backend.event(ACTOR, AuditAction.SECRET_END, secret.id)
    await sharing.backend.table.change(
        secret, event, lambda secret: ended(secret, EndReason.EXPIRED, event.at)
    )
    assert await attempts("ended") == [b"denied", b"denied"]
    # Until then, a process with a slow clock opens the link after its expiry, for as long as the
    # clock is slow.
    assert await attempts("expired") == [TEXT, b"denied"]
