"""Registration of the Core at the gateway: acquires the lease, renews it, reacquires it if lost, and releases it at the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from gatehouse.agent.app import GatewaySecrets
from gatehouse.errors import Conflict, Forbidden, GatehouseError, Unauthorized, Unavailable

TIMEOUT_S = 10.0
MIN_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0
#: Prints a line for people.
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


@dataclass(slots=True)
class _ActiveLease:
    lease_id: str
    url: str
    heartbeat_s: float


class Lease:
    """Keeps the lease. Prints a line whenever its state changes."""

    def __init__(
        self, registration: Registration, secrets: GatewaySecrets, print_line: Print, *, client: httpx.AsyncClient
    ) -> None:
        self._registration = registration
        self._secrets = secrets
        self._print = print_line
        self._client = client
        self._lease: _ActiveLease | None = None

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
        url = self._registration.url()
        if self._lease is None:
            return await self._register(url)
        try:
            reply = await self._put({"lease_id": self._lease.lease_id, "url": url, "ttl_s": self._registration.ttl_s})
        except Conflict:
            self._print(f"the lease on {self._registration.name} was lost; registering again")
            self._lease = None
            return await self._register(url)
        if url != self._lease.url:
            self._print(f"{self._registration.name} is now reachable at {url}")
        self._lease = _ActiveLease(self._lease.lease_id, url, _heartbeat_s(reply, self._registration.ttl_s))
        return self._lease.heartbeat_s

    async def _register(self, url: str) -> float:
        reply = await self._put({"url": url, "ttl_s": self._registration.ttl_s})
        lease_id, secret = reply.get("lease_id"), reply.get("core_secret")
        if not isinstance(lease_id, str) or not isinstance(secret, str):
            raise Unavailable("the response contains no lease: is this the URL of a gateway?")
        self._secrets.accept(secret)
        self._lease = _ActiveLease(lease_id, url, _heartbeat_s(reply, self._registration.ttl_s))
        self._print(f"registered {self._registration.name} at {self._registration.gateway} with the URL {url}")
        return self._lease.heartbeat_s

    async def _release(self) -> None:
        if self._lease is None:
            return
        try:
            # One attempt: without it, the lease expires.
            await self._send("DELETE", params={"lease_id": self._lease.lease_id})
            self._print(f"released the lease: the gateway no longer forwards to {self._registration.name}")
        except GatehouseError as exc:
            self._print(f"could not release the lease ({exc.public}); it expires")

    async def _put(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = await self._send("PUT", json=body)
        try:
            document = reply.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Unavailable("the response is not a JSON object: is this the URL of a gateway?")
        return document

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


def _heartbeat_s(reply: dict[str, Any], ttl_s: int) -> float:
    interval_s = reply.get("heartbeat_s")
    return float(interval_s) if isinstance(interval_s, int | float) and 0 < interval_s < ttl_s else ttl_s / 3


def _error(reply: httpx.Response) -> GatehouseError:
    try:
        document = reply.json()
    except ValueError:
        document = {}
    text = document.get("detail") if isinstance(document, dict) else None
    errors = document.get("errors") if isinstance(document, dict) else None
    detail = str(text or f"the gateway returned {reply.status_code}")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        detail += f": {errors[0].get('location')} {errors[0].get('message')}; {errors[0].get('fix')}"
    if reply.status_code == 401:
        return Unauthorized(f"the gateway denied the token: {detail}")
    if reply.status_code == 409:
        return Conflict(detail)
    if reply.status_code in {429, 500, 502, 503, 504}:
        return Unavailable(f"the gateway is temporarily unable to register the Core: {detail}")
    return Forbidden(f"the gateway rejected the registration: {detail}")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
