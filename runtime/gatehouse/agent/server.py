"""Runs the agent: serves the directory, and keeps the lease of the Core at the gateway until SIGTERM."""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gatehouse.agent.app import GatewaySecrets, create
from gatehouse.agent.directory import Directory
from gatehouse.client.http import problem
from gatehouse.errors import Conflict, Forbidden, GatehouseError, SettingsError, Unauthorized, Unavailable
from gatehouse.http.asgi import ClientAddresses
from gatehouse.http.connection_limits import ConnectionLimits
from gatehouse.http.protocol import Connections
from gatehouse.http.server import Server, listen

_START_TIMEOUT_S = 10.0
#: Time for requests in flight after the lease is released.
GRACE_S = 1.0
#: Timeout of a request to the gateway.
TIMEOUT_S = 10.0
MIN_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
#: Prints a message for the user.
Print = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Registration:
    """The requested registration. `url` is called before every heartbeat: the address of a tunnel may change."""

    gateway: str
    token: str
    name: str
    ttl_s: int
    url: Callable[[], str]

    def __repr__(self) -> str:
        return f"Registration({self.name} at {self.gateway})"


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
    """Returns a free address; port 0 chooses a free port. Raises SettingsError if it is in use or cannot be bound."""
    try:
        with listen(bind, port) as sock:
            return ListenAddress(bind, sock.getsockname()[1])
    except (OSError, OverflowError) as exc:
        reason = getattr(exc, "strerror", None) or str(exc)
        raise SettingsError(f"cannot listen on {bind}:{port}: {reason}. Choose another --port or --bind") from exc


async def run(directory: Path, address: ListenAddress, registration: Registration, print_line: Print) -> None:
    """Serves until SIGTERM or SIGINT. Raises the errors of `Lease.keep`, and SettingsError if the server does not start."""
    gateway_secrets, instance = GatewaySecrets(), secrets.token_hex(8)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app: Any = create(Directory(directory), gateway_secrets, instance=instance)
    server = Server(app, Connections(ConnectionLimits(), ClientAddresses(())), handle_signals=False)
    serving = asyncio.create_task(server.serve([listen(address.bind, address.port)]))
    try:
        async with httpx.AsyncClient(follow_redirects=False, trust_env=False) as local:
            await _until_listening(address, instance, local, serving)
        print_line(f"serving {directory} on {address.origin}")
        # Uses the proxy settings of the environment: the gateway may be behind a corporate proxy.
        async with httpx.AsyncClient(follow_redirects=False) as client:
            await Lease(registration, gateway_secrets, print_line, client=client).keep(stop)
        await asyncio.sleep(GRACE_S)
    finally:
        server.should_exit = True
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


class _Lease(msgspec.Struct):
    """The lease in a response of the gateway. A renewal has no `core_secret`."""

    lease_id: str
    url: str = ""
    heartbeat_s: float = 0
    core_secret: str = ""


class Lease:
    """Keeps the lease. Prints a line whenever its state changes."""

    def __init__(
        self, registration: Registration, secrets: GatewaySecrets, print_line: Print, *, client: httpx.AsyncClient
    ) -> None:
        self._registration = registration
        self._secrets = secrets
        self._print = print_line
        self._client = client
        self._lease: _Lease | None = None

    async def keep(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, then releases the lease.

        Raises Unauthorized, Forbidden or Conflict: a retry cannot succeed.
        """
        failures = 0
        while not stop.is_set():
            try:
                wait_s = await self._heartbeat()
                failures = 0
            except Unavailable as exc:
                failures += 1
                wait_s = backoff_s(failures, random.random())  # noqa: S311 - jitter needs no cryptographic randomness
                self._print(f"{exc.public}; retrying in {wait_s:.0f} s")
            await _sleep(stop, wait_s)
        await self._release()

    async def _heartbeat(self) -> float:
        """Registers or renews. Returns the seconds until the next heartbeat."""
        url, ttl_s = self._registration.url(), self._registration.ttl_s
        try:
            lease = await self._put(url, self._lease)
        except Conflict:
            if self._lease is None:
                raise
            self._print(f"the lease on {self._registration.name} was lost; registering again")
            self._lease = None
            lease = await self._put(url, None)
        if self._lease is None:
            if not lease.core_secret:
                raise Unavailable("the response contains no lease: is this the URL of a gateway?")
            self._secrets.accept(lease.core_secret)
            self._print(f"registered {self._registration.name} at {self._registration.gateway} with the URL {url}")
        elif url != self._lease.url:
            self._print(f"{self._registration.name} is now reachable at {url}")
        self._lease = _Lease(lease.lease_id, url)
        return lease.heartbeat_s if 0 < lease.heartbeat_s < ttl_s else ttl_s / 3

    async def _release(self) -> None:
        if self._lease is None:
            return
        try:
            # One attempt: without it, the lease expires.
            await self._send("DELETE", params={"lease_id": self._lease.lease_id})
            self._print(f"released the lease: the gateway no longer forwards to {self._registration.name}")
        except GatehouseError as exc:
            self._print(f"could not release the lease ({exc.public}); it expires")

    async def _put(self, url: str, current: _Lease | None) -> _Lease:
        """Renews the current lease; without one, registers."""
        body = {"url": url, "ttl_s": self._registration.ttl_s, **({"lease_id": current.lease_id} if current else {})}
        reply = await self._send("PUT", json=body)
        try:
            return msgspec.json.decode(reply.content, type=_Lease)
        except msgspec.MsgspecError as exc:
            raise Unavailable("the response contains no lease: is this the URL of a gateway?") from exc

    async def _send(self, method: str, **arguments: Any) -> httpx.Response:
        """Sends a request with the timeout TIMEOUT_S. Raises Unavailable for temporary failures."""
        address = f"{self._registration.gateway}/v1/cores/{self._registration.name}"
        headers = {"Authorization": f"Bearer {self._registration.token}"}
        try:
            reply = await self._client.request(method, address, headers=headers, timeout=TIMEOUT_S, **arguments)
        except httpx.HTTPError as exc:
            raise Unavailable(f"cannot reach the gateway at {self._registration.gateway} ({type(exc).__name__})") from exc
        if reply.is_success:
            return reply
        raise _error(reply)


def backoff_s(failures: int, jitter: float) -> float:
    """Seconds to wait after a number of consecutive failures: exponential, bounded, with `jitter` from 0 to 1."""
    longest = min(MAX_BACKOFF_S, MIN_BACKOFF_S * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + jitter / 2)


def _error(reply: httpx.Response) -> GatehouseError:
    error = problem(reply, "gateway")
    text = "".join([error.public, *(f": {entry.location} {entry.message}; {entry.fix}" for entry in error.errors[:1])])
    if reply.status_code == 401:
        return Unauthorized(f"the gateway denied the token: {text}")
    if reply.status_code == 409:
        return Conflict(text)
    if reply.status_code in {429, 500, 502, 503, 504}:
        return Unavailable(f"the gateway is temporarily unable to register the Core: {text}")
    return Forbidden(f"the gateway rejected the registration: {text}")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
