"""Attacks that need a whole stack: SSRF, canaries, the roles matrix and races. They create keys and
secrets and read the logs of the services, so they run only in the sandbox.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx
from gatehouse.core.roles import Role

from tools.attack import roles
from tools.attack.corpora import PRIVATE_ADDRESSES, REJECTED_URLS
from tools.attack.outcome import Outcome, run_all

AT_ONCE = 8
#: The sandbox allows Cores on this machine, because it has no other network.
ALLOWED_CORE_NETWORKS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNLIMITED = [{"name": "requests", "quota": 1_000_000, "window_s": 60}]


@dataclass(frozen=True, slots=True)
class Stack:
    """A running sandbox. logs: folder of the logs of all services."""

    gateway: str
    console: str
    sharing: str
    admin_token: str
    logs: Path

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the console that sends the admin token."""
        headers = {"Authorization": f"Bearer {self.admin_token}"}
        async with httpx.AsyncClient(
            base_url=self.console, headers=headers, timeout=30, trust_env=False
        ) as client:
            yield client

    async def key(self, client: httpx.AsyncClient, **properties: Any) -> tuple[str, str]:
        """Create a key. Returns its ID and token."""
        response = await client.post(
            "/v1/keys", json={"name": "attack", "limits": _UNLIMITED, **properties}
        )
        response.raise_for_status()
        return response.json()["key"]["id"], response.json()["token"]

    async def verify(self, client: httpx.AsyncClient, token: str, **members: Any) -> str:
        """Verify a key at the gateway. Returns the code."""
        response = await client.post(
            f"{self.gateway}/v1/keys/verify", json={"token": token, **members}
        )
        return str(response.json().get("code", response.status_code))


async def ssrf(stack: Stack) -> Outcome:
    """No Core or webhook can be registered with an address of an internal network, or with anything
    but an origin.
    """
    outcome = Outcome("SSRF")
    addresses = [ipaddress.ip_address(address) for address in PRIVATE_ADDRESSES]
    hosts = [f"[{address}]" if address.version == 6 else str(address) for address in addresses]
    async with stack.client() as client:
        _, token = await stack.key(client, scopes=["cores:register"])

        async def register(url: str) -> None:
            headers = {"Authorization": f"Bearer {token}"}
            response = await client.put(
                f"{stack.gateway}/v1/cores/attack-ssrf", json={"url": url}, headers=headers
            )
            outcome.check(
                400 <= response.status_code < 500,
                f"a Core with the URL {url[:60]} gets {response.status_code}",
            )

        async def notify(url: str) -> None:
            response = await client.post("/v1/webhooks", json={"url": url})
            outcome.check(
                400 <= response.status_code < 500,
                f"a webhook with the URL {url[:60]} gets {response.status_code}",
            )

        allowed = {
            host
            for host, address in zip(hosts, addresses, strict=True)
            if _is_on_this_machine(address)
        }
        await run_all(
            [*REJECTED_URLS, *(f"http://{host}" for host in hosts if host not in allowed)],
            register,
            at_once=AT_ONCE,
        )
        await run_all([f"https://{host}/hook" for host in hosts], notify, at_once=AT_ONCE)
    return outcome


def _is_on_this_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """True for addresses in `ALLOWED_CORE_NETWORKS`, and for IPv6 addresses that contain such an
    IPv4 address.
    """
    candidates = [address]
    if isinstance(address, ipaddress.IPv6Address):
        contained = (address.ipv4_mapped, address.sixtofour, (address.teredo or (None,))[0])
        candidates += [candidate for candidate in contained if candidate is not None]
        if address in _NAT64:
            candidates.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return any(
        candidate.version == network.version and candidate in network
        for candidate in candidates
        for network in ALLOWED_CORE_NETWORKS
    )


async def canaries(stack: Stack) -> Outcome:
    """Tokens and secrets that a client sends in the wrong place appear in no log, metric, audit
    event or error.
    """
    outcome = Outcome("canaries")
    texts: dict[str, str] = {}
    async with stack.client() as client:
        key_id, token = await stack.key(client)
        secret = f"canary-{secrets.token_hex(16)}"
        created = await client.post("/v1/secrets", json={"text": secret})
        created.raise_for_status()
        link = created.json()["links"][0]["url"]
        opened = await client.post(f"{stack.sharing}/v1/links/open", json={"link": link})
        outcome.check(secret in opened.text, "the link does not open the secret")
        canaries = {
            "token": token[-40:-6],
            "content of a secret": secret,
            "link": link.rpartition("#")[2][-24:],
        }
        for url in (stack.gateway, stack.console, stack.sharing):
            requests: list[tuple[str, str, dict[str, Any]]] = [
                ("GET", f"/{token}", {}),
                ("GET", f"/v1/keys/{token}", {}),
                ("GET", f"/cores/docs/{token}?key={token}", {}),
                ("GET", f"/v1/links?link={link.rpartition('#')[2]}", {}),
                (
                    "GET",
                    "/healthz",
                    {
                        "headers": {
                            "X-Note": token,
                            "User-Agent": token,
                            "Referer": f"https://a.example/{token}",
                        }
                    },
                ),
                ("GET", "/v1/keys", {"headers": {"Authorization": f"Basic {token}"}}),
                (token[:20] + token[-40:-6], "/", {}),
                ("POST", "/v1/keys/verify", {"json": {token: 1}}),
                (
                    "POST",
                    "/v1/keys",
                    {"json": {"name": token, "notes": secret, "metadata": {"a": token}}},
                ),
                ("POST", f"/v1/keys/{key_id}/disable", {"json": {"reason": f"found {token}"}}),
            ]
            for number, (method, path, options) in enumerate(requests):
                response = await client.request(method, url + path, **options)
                texts[f"response {number} of {url}"] = response.text + str(response.headers)
        for path in (
            "/metrics",
            "/v1/audit-events?limit=200",
            "/v1/keys",
            "/v1/secrets",
            "/v1/usage",
        ):
            texts[path] = (await client.get(path)).text
        texts["/metrics of the gateway"] = (await client.get(f"{stack.gateway}/metrics")).text
    texts |= {log.name: log.read_text(errors="replace") for log in sorted(stack.logs.glob("*.log"))}
    for name, text in texts.items():
        for kind, canary in canaries.items():
            outcome.check(canary not in text, f"the {kind} is in {name}")
    return outcome


async def roles_matrix(stack: Stack) -> Outcome:
    """Each role can call exactly the operations in roles.toml, and no operation can be called
    without a credential.
    """
    outcome = Outcome("roles matrix")
    expected = roles.table()
    async with stack.client() as client:
        tokens = {
            name: (await stack.key(client, scopes=[Role(name).scope]))[1] for name in roles.NAMES
        }
        for endpoint in roles.WITH_ROLES:
            path = roles.path_of(endpoint)
            for name, token in tokens.items():
                response = await client.request(
                    endpoint.method, path, headers={"Authorization": f"Bearer {token}"}
                )
                denied = (
                    response.status_code == 403 and "one of the following roles" in response.text
                )
                held = (
                    denied is (endpoint.operation_id not in expected[name])
                    and response.status_code < 500
                )
                outcome.check(
                    held, f"{endpoint.operation_id} as {name} gets {response.status_code}"
                )
            response = await client.request(endpoint.method, path, headers={"Authorization": ""})
            # After repeated failures, the console denies requests from the address for some time.
            held = response.status_code in (401, 429)
            outcome.check(
                held, f"{endpoint.operation_id} without a credential gets {response.status_code}"
            )
    return outcome


async def races(stack: Stack) -> Outcome:
    """Credits, limits, one-time links and idempotency keys are enforced for concurrent requests."""
    outcome = Outcome("races")
    async with stack.client() as client:
        for credits in (1, 20):
            _, token = await stack.key(client, credits={"remaining": credits})
            codes = Counter(
                await asyncio.gather(*(stack.verify(client, token) for _ in range(100)))
            )
            outcome.check(codes["VALID"] == credits, f"a key with {credits} credits: {dict(codes)}")
        for quota in (1, 10):
            limits = [{"name": "requests", "quota": quota, "window_s": 3600, "burst": quota}]
            _, token = await stack.key(client, limits=limits)
            codes = Counter(
                await asyncio.gather(*(stack.verify(client, token) for _ in range(100)))
            )
            outcome.check(
                codes["VALID"] == quota, f"a key with {quota} requests per hour: {dict(codes)}"
            )
        created = await client.post("/v1/secrets", json={"text": "race", "uses": 1})
        link = created.json()["links"][0]["url"]
        opened = await asyncio.gather(
            *(client.post(f"{stack.sharing}/v1/links/open", json={"link": link}) for _ in range(20))
        )
        count = sum(response.status_code == 200 for response in opened)
        outcome.check(count == 1, f"a link for one use was opened {count} times")
        headers = {"Idempotency-Key": f'"{secrets.token_hex(8)}"'}
        body = {"name": "attack-idempotency"}
        replies = await asyncio.gather(
            *(client.post("/v1/keys", json=body, headers=headers) for _ in range(10))
        )
        ids = {reply.json()["key"]["id"] for reply in replies if reply.status_code == 201}
        outcome.check(len(ids) == 1, f"one idempotency key created {len(ids)} keys")
        key_id, token = await stack.key(client)
        revoked = await asyncio.gather(
            *(client.post(f"/v1/keys/{key_id}/revoke", json={}) for _ in range(5))
        )
        outcome.check(
            all(reply.status_code < 500 for reply in revoked), "concurrent revocations fail"
        )
        outcome.check(await stack.verify(client, token) != "VALID", "a revoked key is valid")
    return outcome


Attack: TypeAlias = Callable[[Stack], Awaitable[Outcome]]
ATTACKS: tuple[Attack, ...] = (ssrf, canaries, roles_matrix, races)


async def run(stack: Stack) -> Sequence[Outcome]:
    """Run these attacks one after another."""
    return [await attack(stack) for attack in ATTACKS]


def read(home: Path) -> Stack:
    """The sandbox whose state is in this folder."""
    endpoints = json.loads((home / "up.json").read_text())
    return Stack(
        gateway=endpoints["gateway"],
        console=endpoints["console"],
        sharing=endpoints["sharing"],
        admin_token=endpoints["admin_token"],
        logs=home / "logs",
    )
