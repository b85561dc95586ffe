"""A function for another process. Does not import the AWS emulator (see services.py)."""

import asyncio
import signal
from typing import Any

from gatehouse.features.secrets.link_token import LinkToken

from tests.runtime.clocks import ManualClock
from tests.runtime.features.secrets.services import services, settings

CLAIM = "a" * 32


def open_until_decryption(key: str, now: float, token: LinkToken, results: Any) -> None:
    """Runs in a process, which opens a link and stops before it decrypts the content."""
    sharing = services(settings(key), ManualClock(now))

    def stop(**_: Any) -> None:
        results.put("decrypting")
        signal.pause()

    sharing.backend.data_keys._client.meta.events.register("before-call.kms.Decrypt", stop)
    asyncio.run(sharing.open(token, claim=CLAIM))
