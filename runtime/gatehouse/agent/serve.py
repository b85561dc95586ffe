"""Runs the agent: listens first, registers then, and on SIGTERM drains before it stops listening."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from gatehouse.agent.app import Secrets, create
from gatehouse.agent.lease import Lease, Say, Wanted
from gatehouse.agent.tree import Tree
from gatehouse.errors import SettingsError

_START_S = 10.0


#: Requests that are on their way when the gateway hears of the drain get this long.
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where to listen. Port 0 in `pick` finds a free one."""

    bind: str
    port: int

    @property
    def origin(self) -> str:
        """How this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def pick(bind: str, port: int) -> Place:
    """A place that nobody listens at. Raises SettingsError when it is taken or not ours to bind.

    Granian binds with SO_REUSEPORT: without this check two agents would share a port and each get half of the requests.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise SettingsError(f"cannot listen on {bind}:{port}: {reason}. Choose another --port or --bind") from exc
        return Place(bind, probe.getsockname()[1])


async def run(directory: Path, place: Place, wanted: Wanted, say: Say) -> None:
    """Serves until SIGTERM or SIGINT. Raises what `Lease.keep` raises, and SettingsError when the server does not start."""
    known, instance = Secrets(), secrets.token_hex(8)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app: Any = create(Tree(directory), known, instance=instance)
    server = Server(app, place.bind, place.port, interface=Interfaces.ASGINL, websockets=False, log_level=LogLevels.error)
    serving = asyncio.create_task(server.serve())
    try:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as local:
            await _until_listening(place, instance, local, serving)
        say(f"serving {directory} on {place.origin}")
        # Environment proxies count here: the gateway may be on the other side of a company's proxy.
        async with httpx.AsyncClient(follow_redirects=False) as client:
            await Lease(wanted, known, say, client=client).keep(stop)
        await asyncio.sleep(GRACE_S)
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await serving


async def _until_listening(place: Place, instance: str, client: httpx.AsyncClient, serving: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(_START_S):
            while not serving.done():
                try:
                    reply = await client.get(f"{place.origin}/healthz")
                    if reply.json().get("instance") == instance:
                        return
                except (httpx.HTTPError, ValueError):
                    pass
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    raise SettingsError(f"the Core's own server did not start on {place.bind}:{place.port}")
