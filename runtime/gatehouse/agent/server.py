"""Runs the agent: listens, registers, and on SIGTERM releases the lease before it stops listening."""

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

from gatehouse.agent.app import GatewaySecrets, create
from gatehouse.agent.directory import Directory
from gatehouse.agent.lease import Lease, Print, Registration
from gatehouse.errors import SettingsError

_START_TIMEOUT_S = 10.0
#: Time for requests in flight after the lease is released.
GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address and a TCP port to listen on."""

    bind: str
    port: int

    @property
    def origin(self) -> str:
        """The URL on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def listen_address(bind: str, port: int) -> ListenAddress:
    """Returns a free address; port 0 chooses a free port. Raises SettingsError if it is in use or cannot be bound.

    Granian binds with SO_REUSEPORT: without this check two agents would share the port and each receive half of the requests.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except (OSError, OverflowError) as exc:
            reason = getattr(exc, "strerror", None) or str(exc)
            raise SettingsError(f"cannot listen on {bind}:{port}: {reason}. Choose another --port or --bind") from exc
        return ListenAddress(bind, probe.getsockname()[1])


async def run(directory: Path, address: ListenAddress, registration: Registration, print_line: Print) -> None:
    """Serves until SIGTERM or SIGINT. Raises the errors of `Lease.keep`, and SettingsError if the server does not start."""
    gateway_secrets, instance = GatewaySecrets(), secrets.token_hex(8)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app: Any = create(Directory(directory), gateway_secrets, instance=instance)
    server = Server(app, address.bind, address.port, interface=Interfaces.ASGINL, websockets=False, log_level=LogLevels.error)
    serving = asyncio.create_task(server.serve())
    try:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as local:
            await _until_listening(address, instance, local, serving)
        print_line(f"serving {directory} on {address.origin}")
        # Uses the proxy settings of the environment: the gateway may be behind a corporate proxy.
        async with httpx.AsyncClient(follow_redirects=False) as client:
            await Lease(registration, gateway_secrets, print_line, client=client).keep(stop)
        await asyncio.sleep(GRACE_S)
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await serving


async def _until_listening(address: ListenAddress, instance: str, client: httpx.AsyncClient, serving: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not serving.done():
                try:
                    reply = await client.get(f"{address.origin}/healthz")
                    if reply.json().get("instance") == instance:
                        return
                except (httpx.HTTPError, ValueError):
                    pass
                await asyncio.sleep(0.05)
    except TimeoutError:
        pass
    raise SettingsError(f"the server of the Core did not start on {address.bind}:{address.port}")
