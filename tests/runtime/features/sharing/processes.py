"""Functions that tests run in processes. The module does not import the AWS emulator, for the
reason in services.py.
"""

from __future__ import annotations

import asyncio
import os
import signal
from multiprocessing.synchronize import Barrier
from typing import Any

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.denials import LinkNotFound
from gatehouse.features.sharing.link_token import LinkToken, SubmissionToken
from gatehouse.features.sharing.service import NewItem

from tests.runtime.clocks import ManualClock
from tests.runtime.features.sharing.services import CLIENT, services

CLAIM = "a" * 32


def open_until_decryption(key: str, now: float, values: tuple[str, str, str], results: Any) -> None:
    """Runs in a process, which opens a link and stops before it decrypts the content."""
    sharing = services(key, ManualClock(now))

    def stop(**_: Any) -> None:
        results.put("decrypting")
        signal.pause()

    sharing.backend.data_keys._client.meta.events.register("before-call.kms.Decrypt", stop)
    asyncio.run(sharing.open(LinkToken(*values), claim=CLAIM))


def attempts_with_clock(key: str, now: float, steps: Any, results: Any) -> None:
    """Runs in a process with another clock, which opens each link that it receives."""
    sharing = services(key, ManualClock(now))

    async def attempt(values: tuple[str, str, str]) -> str:
        try:
            return (await sharing.text(await sharing.open(LinkToken(*values)))).decode()
        except LinkNotFound:
            return "denied"

    for values in iter(steps.get, None):
        results.put(asyncio.run(attempt(values)))


def submit_at_the_same_time(
    key: str, tokens: list[tuple[str, str]], barrier: Barrier, results: Any
) -> None:
    """Runs in a process, in which two clients submit to each request at the same time."""
    sharing = services(key, ManualClock())

    async def attempt(token: SubmissionToken) -> str:
        submission_id = os.urandom(16).hex()
        while True:
            try:
                await sharing.submissions.submit(
                    token, [NewItem(submission_id.encode())], submission_id, CLIENT
                )
                return submission_id
            except LinkNotFound:
                return "not found"
            except Unavailable:
                continue  # a slow machine: the client repeats its submission

    async def rounds() -> None:
        for values in tokens:
            barrier.wait(60)
            results.put(
                await asyncio.gather(*(attempt(SubmissionToken(*values)) for _ in range(2)))
            )

    asyncio.run(rounds())
