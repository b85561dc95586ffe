"""Keeping a Core registered: takes the lease, renews it in time, takes it anew when it is lost, and gives it back at the end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from gatehouse.agent.app import Secrets
from gatehouse.errors import Conflict, Forbidden, GatehouseError, Unauthorized, Unavailable

TIMEOUT_S = 10.0


BACKOFF_S_MIN = 1.0


BACKOFF_S_MAX = 30.0


Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be registered where. `url` is asked before every heartbeat, so a tunnel may move while the agent runs."""

    gateway: str
    token: str
    name: str
    ttl_s: int
    url: Callable[[], str]

    def __repr__(self) -> str:
        return f"Wanted({self.name} at {self.gateway})"


@dataclass(slots=True)
class _Held:
    lease_id: str
    url: str
    heartbeat_s: float


class Lease:
    """The loop. `say` gets one line for people whenever something changes."""

    def __init__(self, wanted: Wanted, secrets: Secrets, say: Say, *, client: httpx.AsyncClient) -> None:
        self._wanted = wanted
        self._secrets = secrets
        self._say = say
        self._client = client
        self._held: _Held | None = None

    async def keep(self, stop: asyncio.Event) -> None:
        """Runs until `stop`, then drains. Raises Unauthorized, Forbidden or Conflict when trying again cannot help."""
        failures = 0
        while not stop.is_set():
            try:
                wait_s = await self._beat()
                failures = 0
            except Unavailable as exc:
                failures += 1
                wait_s = backoff_s(failures, random.random())  # noqa: S311 - spreads retries, protects nothing
                self._say(f"{exc.public}; trying again in {wait_s:.0f} s")
            await _sleep(stop, wait_s)
        await self._drain()

    async def _beat(self) -> float:
        """One registration or heartbeat. Returns the seconds until the next one."""
        url = self._wanted.url()
        if self._held is None:
            return await self._register(url)
        try:
            reply = await self._put({"lease_id": self._held.lease_id, "url": url, "ttl_s": self._wanted.ttl_s})
        except Conflict:
            self._say(f"the lease on {self._wanted.name} was lost; registering again")
            self._held = None
            return await self._register(url)
        if url != self._held.url:
            self._say(f"{self._wanted.name} is now reached at {url}")
        self._held = _Held(self._held.lease_id, url, _heartbeat_s(reply, self._wanted.ttl_s))
        return self._held.heartbeat_s

    async def _register(self, url: str) -> float:
        reply = await self._put({"url": url, "ttl_s": self._wanted.ttl_s})
        lease_id, secret = reply.get("lease_id"), reply.get("core_secret")
        if not isinstance(lease_id, str) or not isinstance(secret, str):
            raise Unavailable("the gateway's answer holds no lease: is this the address of a gateway?")
        self._secrets.accept(secret)
        self._held = _Held(lease_id, url, _heartbeat_s(reply, self._wanted.ttl_s))
        self._say(f"registered {self._wanted.name} at {self._wanted.gateway}, reached at {url}")
        return self._held.heartbeat_s

    async def _drain(self) -> None:
        if self._held is None:
            return
        try:
            # One attempt: the lease runs out by itself when this does not arrive.
            await self._send("DELETE", params={"lease_id": self._held.lease_id})
            self._say(f"left the gateway: {self._wanted.name} is not reached any more")
        except GatehouseError as exc:
            self._say(f"could not say goodbye ({exc.public}); the lease ends by itself")

    async def _put(self, body: dict[str, Any]) -> dict[str, Any]:
        reply = await self._send("PUT", json=body)
        try:
            document = reply.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise Unavailable("the gateway's answer is not understood: is this the address of a gateway?")
        return document

    async def _send(self, method: str, **parts: Any) -> httpx.Response:
        """Timeout TIMEOUT_S; whatever may pass is Unavailable, what will not is raised as what it is."""
        address = f"{self._wanted.gateway}/v1/cores/{self._wanted.name}"
        headers = {"Authorization": f"Bearer {self._wanted.token}"}
        try:
            reply = await self._client.request(method, address, headers=headers, timeout=TIMEOUT_S, **parts)
        except httpx.HTTPError as exc:
            raise Unavailable(f"cannot reach the gateway at {self._wanted.gateway} ({type(exc).__name__})") from exc
        if reply.is_success:
            return reply
        raise _refusal(reply)


def backoff_s(failures: int, chance: float) -> float:
    """Seconds to wait after the n-th failure in a row, `chance` in 0..1: doubling, bounded, spread over half of it."""
    longest = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(failures - 1, 10))
    return longest * (0.5 + chance / 2)


def _heartbeat_s(reply: dict[str, Any], ttl_s: int) -> float:
    stated = reply.get("heartbeat_s")
    return float(stated) if isinstance(stated, int | float) and 0 < stated < ttl_s else ttl_s / 3


def _refusal(reply: httpx.Response) -> GatehouseError:
    try:
        document = reply.json()
    except ValueError:
        document = {}
    text = document.get("detail") if isinstance(document, dict) else None
    errors = document.get("errors") if isinstance(document, dict) else None
    detail = str(text or f"the gateway answers {reply.status_code}")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        detail += f": {errors[0].get('location')} {errors[0].get('message')}; {errors[0].get('fix')}"
    if reply.status_code == 401:
        return Unauthorized(f"the gateway does not know this token: {detail}")
    if reply.status_code == 409:
        return Conflict(detail)
    if reply.status_code in {429, 500, 502, 503, 504}:
        return Unavailable(f"the gateway cannot register just now: {detail}")
    return Forbidden(f"the gateway refuses this registration: {detail}")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
