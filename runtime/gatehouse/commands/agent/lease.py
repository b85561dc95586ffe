"""Runs the agent, which serves a directory or registers a service that runs already, and renews the
lease of its instance at the gateway until SIGTERM.

The agent then drains the instance: the gateways send no new requests, requests in progress are
completed, and the registration ends. If an operator drains the instance, the agent does the same.
"""

import asyncio
import random
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn
from gatehouse_client.credentials import redacted
from gatehouse_client.errors import ApiError, problem
from gatehouse_client.transport import ENVIRONMENT, INVALID_ENVIRONMENT, backoff_s, uses_proxy
from starlette.types import ASGIApp

from gatehouse.commands.agent.app import GatewaySecrets, create
from gatehouse.commands.agent.tunnel import NgrokTunnel
from gatehouse.core.errors import (
    Conflict,
    CoreDrained,
    Forbidden,
    GatehouseError,
    Problem,
    SettingsError,
    Unauthorized,
    Unavailable,
)
from gatehouse.platform.startup import allow_files

#: Time within which every gateway worker stops sending new requests to a draining instance. Until
#: then, new requests are served.
PROPAGATION_S = 1.0
_POLL_S = 0.1
#: Time for the rest of the responses after that.
STOP_S = 2
#: Maximum size of the request line and the headers, more than the gateways accept and add.
HEAD_BYTES_MAX = 64 * 1024
#: Longer than gateways keep idle connections, so that none sends a request on a connection that
#: the agent closes.
IDLE_S = 600
#: Timeout of a request to the gateway.
TIMEOUT_S = 10.0
#: Wait times between attempts to reach the gateway.
WAIT_S, WAIT_S_MAX = 1.0, 30.0
#: Minimum interval between heartbeats that a gateway can choose.
HEARTBEAT_S_MIN = 1.0
#: Prints a message for the user.
Print = Callable[[str], None]


@dataclass(frozen=True)
class Registration:
    """The requested registration. `url` is called before every heartbeat, because the address of a
    tunnel may change. settings: of the Core, see `core.cores.CoreSettings`.
    """

    gateway: str
    token: str = field(repr=False)
    name: str
    instance_id: str
    ttl_s: int
    drain_s: int
    url: Callable[[], str]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def instance(self) -> str:
        return f"instance {self.instance_id} of {self.name}"


def open_socket(bind: str, port: int) -> socket.socket:
    """Returns a listening socket. Port 0 selects a free port. Raises SettingsError if the address
    cannot be used.
    """
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    dualstack = bind == "::" and socket.has_dualstack_ipv6()
    try:
        sock = socket.create_server((bind, port), family=family, dualstack_ipv6=dualstack)
    except OSError as exc:
        reason = str(exc.strerror or exc).partition(" (while")[0]
        raise SettingsError(
            f"cannot listen on {bind}:{port}: {reason}. Choose another --port or --bind"
        ) from exc
    # Connections inherit the option, which asyncio does not set for those of this socket. A body
    # that is written after its head would wait for the acknowledgement of the client (40 ms).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def origin(sock: socket.socket) -> str:
    address, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _stop_signal() -> asyncio.Event:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def register(registration: Registration, print_line: Print) -> None:
    """Registers a service until SIGTERM or SIGINT, or until an operator drains the instance. The
    gateways then send no new requests. Raises the errors of `Lease.run`.
    """
    stop = _stop_signal()
    async with _client(registration) as client:
        lease = Lease(registration, GatewaySecrets(), print_line, client)
        await lease.run(stop)
        await lease.drain()


async def run(
    directory: Path,
    sock: socket.socket,
    registration: Registration,
    print_line: Print,
    tunnel: NgrokTunnel | None = None,
) -> None:
    """Serves on a listening socket until SIGTERM or SIGINT, or until an operator drains the
    instance. Raises the errors of `Lease.run`."""
    gateway_secrets, stop = GatewaySecrets(), _stop_signal()
    server = _Server(_configuration(create(directory, gateway_secrets)))
    # Requests that arrive before the server has started wait in the socket's backlog.
    serving = asyncio.create_task(server.serve([sock]))
    serving.add_done_callback(lambda _: stop.set())
    print_line(f"serving {directory} on {origin(sock)}")
    try:
        async with _client(registration) as client, AsyncExitStack() as stack:
            if tunnel is not None:
                registration = replace(
                    registration, url=await stack.enter_async_context(tunnel.open(origin(sock)))
                )
            lease = Lease(registration, gateway_secrets, print_line, client)
            await lease.run(stop)
            await lease.drain()
            await asyncio.sleep(PROPAGATION_S)
            try:
                async with asyncio.timeout(registration.drain_s):
                    while server.server_state.tasks:
                        await asyncio.sleep(_POLL_S)
            except TimeoutError:
                print_line(
                    f"the drain timeout of {registration.drain_s} s is over; requests that are "
                    f"aborted: {len(server.server_state.tasks)}"
                )
            await lease.release()
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """A server that leaves SIGTERM and SIGINT to the agent, which drains the instance first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _configuration(app: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="h11",  # httptools does not limit the size of the headers
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",  # the application logs its errors
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=allow_files() // 2,  # each connection can have an open file
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_S,
    )


def _client(registration: Registration) -> httpx.AsyncClient:
    """A client with the proxy settings from the environment, because the gateway may only be
    reachable through a corporate proxy. Raises SettingsError.
    """
    trust_env = uses_proxy(registration.gateway)
    with suppress(*INVALID_ENVIRONMENT):
        return httpx.AsyncClient(follow_redirects=False, trust_env=trust_env)
    raise SettingsError(ENVIRONMENT)


class _Lease(msgspec.Struct):
    """The lease in a response from the gateway. The response to a renewal contains no
    `core_secret`.
    """

    lease_id: str
    url: str = ""
    heartbeat_s: float = 0
    core_secret: str = ""


@dataclass(slots=True)
class Lease:
    """Renews the lease. Prints a line whenever the state of the lease changes."""

    registration: Registration
    secrets: GatewaySecrets
    print_line: Print
    client: httpx.AsyncClient
    _lease: _Lease | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set or an operator drains the instance.

        Raises Unauthorized, Forbidden or Conflict without retrying, because a retry cannot succeed.
        """
        failures = 0
        while not stop.is_set():
            try:
                wait_s = await self._heartbeat()
                failures = 0
            except CoreDrained:
                self.print_line(
                    f"an operator drained {self.registration.instance}, or another agent "
                    f"registered the same URL"
                )
                return
            except Unavailable as exc:
                failures += 1
                jitter = random.random()  # noqa: S311 - needs no cryptographic randomness
                wait_s = backoff_s(failures, jitter, wait_s=WAIT_S, wait_s_max=WAIT_S_MAX)
                self.print_line(f"{exc.public.removesuffix('.')}; retrying in {wait_s:.0f} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)

    async def _heartbeat(self) -> float:
        """Registers the Core or renews the lease. Returns the seconds until the next heartbeat."""
        url, ttl_s = self.registration.url(), self.registration.ttl_s
        try:
            lease = await self._put(url, self._lease)
        except CoreDrained:
            raise
        except Conflict:
            if self._lease is None:
                raise
            self.print_line(f"the lease on {self.registration.name} was lost; registering again")
            self._lease = None
            lease = await self._put(url, None)
        if self._lease is None:
            if not lease.core_secret:
                raise Unavailable("the response contains no lease: is this the URL of a gateway?")
            self.secrets.accept(lease.core_secret)
            self.print_line(
                f"registered {self.registration.instance} at {self.registration.gateway} with "
                f"the URL {url}"
            )
        elif url != self._lease.url:
            self.print_line(f"{self.registration.name} is now reachable at {url}")
        self._lease = _Lease(lease.lease_id, url)
        bounded = HEARTBEAT_S_MIN <= lease.heartbeat_s < ttl_s
        return lease.heartbeat_s if bounded else ttl_s / 3

    async def drain(self) -> None:
        """Drains the instance: the gateways send no new requests, and close the WebSockets of the
        instance after `drain_s`.
        """
        if await self._end(self.registration.drain_s):
            self.print_line(
                f"draining: the gateways send no new requests to {self.registration.instance}"
            )

    async def release(self) -> None:
        if await self._end(0):
            self.print_line(f"released the lease of {self.registration.instance}")

    async def _end(self, drain_s: int) -> bool:
        """Ends the lease. Does not retry, because the lease expires in any case. Returns False if
        the attempt failed.
        """
        if self._lease is None:
            return False
        try:
            await self._send(
                "DELETE", params={"lease_id": self._lease.lease_id, "drain_s": drain_s}
            )
        except GatehouseError as exc:
            self.print_line(
                f"could not end the lease ({exc.public.removesuffix('.')}); the lease remains "
                f"until it expires"
            )
            return False
        return True

    async def _put(self, url: str, current: _Lease | None) -> _Lease:
        """Renews the current lease, or registers the Core if there is no lease. Returns the lease.
        Raises the errors of `_send`."""
        lease: dict[str, Any] = {
            "instance_id": self.registration.instance_id,
            "settings": self.registration.settings,
        }
        if current is not None:
            lease = {"lease_id": current.lease_id}
        reply = await self._send(
            "PUT", json={"url": url, "ttl_s": self.registration.ttl_s, **lease}
        )
        try:
            return msgspec.json.decode(reply.content, type=_Lease)
        except msgspec.MsgspecError as exc:
            raise Unavailable(
                "the response contains no lease: is this the URL of a gateway?"
            ) from exc

    async def _send(self, method: str, **arguments: Any) -> httpx.Response:
        """Sends a request. The timeout is TIMEOUT_S. Raises Unavailable for temporary failures."""
        address = f"{self.registration.gateway}/v1/cores/{self.registration.name}"
        headers = {"Authorization": f"Bearer {self.registration.token}"}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await self.client.request(method, address, headers=headers, **arguments)
        except (httpx.HTTPError, TimeoutError) as exc:
            raise Unavailable(
                f"cannot reach the gateway at {self.registration.gateway} ({type(exc).__name__})"
            ) from exc
        if reply.is_success:
            return reply
        secrets = (self.registration.token,)
        raise _error(problem(reply, "gateway", lambda text: redacted(text, secrets)))


def _error(error: ApiError) -> GatehouseError:
    text = error.message
    problems = tuple(Problem(each.location, each.message, each.fix) for each in error.errors)
    if error.status == 401:
        return Unauthorized(f"the gateway denied the token: {text}")
    if error.code == CoreDrained.code:
        return CoreDrained(text)
    if error.status == 409:
        return Conflict(text)
    if error.status in {429, 500, 502, 503, 504}:
        return Unavailable(f"the gateway is temporarily unable to register the Core: {text}")
    return Forbidden(f"the gateway rejected the registration: {text}", errors=problems)
