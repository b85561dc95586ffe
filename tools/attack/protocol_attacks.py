"""Attacks with raw requests: malformed protocol, request smuggling, ambiguous paths and headers,
slow clients.

These attacks also run against deployments, with the gateway as the only target. A load balancer or
AWS WAF can reject a request before the gateway. For deployments, any status from 400 to 499, status
501 or 505, or no response counts as a rejection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import TypeAlias

from tools.attack.connection import RecordingCore, Service, statuses
from tools.attack.corpora import (
    AMBIGUOUS_HEADERS,
    AMBIGUOUS_PATHS,
    COSTLY_BODIES,
    HARMLESS_FRAMING,
    HOST,
    MALFORMED_BODIES,
    MALFORMED_REQUESTS,
    REJECTED_FRAMING,
    RESERVED_REQUEST_NAMES,
    SMUGGLED_PATH,
    UNFINISHED_BODIES,
    UNFINISHED_HEADS,
)
from tools.attack.outcome import Outcome, run_all

VERIFY = b"/v1/keys/verify"
SUBMIT = b"/v1/requests/submit"
#: Maximum size of a response to a request that is rejected.
ANSWER_BYTES_MAX = 16_384


@dataclass(frozen=True, slots=True)
class Target:
    """A gateway, and the parameters of the attacks.

    exact: the statuses of the corpora are expected; otherwise any rejection. services: further
    services that receive malformed requests. token: an API key with access to the Core `core_name`;
    empty if there is none. core: the recording Core, if it is registered under `core_name`.
    slow_clients: number of slow clients.
    deadline_s: time after which a slow client must be disconnected.
    """

    gateway: Service
    exact: bool = False
    services: tuple[Service, ...] = ()
    token: str = ""
    core: RecordingCore | None = None
    core_name: str = "docs"
    slow_clients: int = 5
    deadline_s: float = 75.0
    at_once: int = 4

    def rejects(self, received: bytes, expected: int) -> bool:
        """True if the first response rejects the request."""
        found = statuses(received)
        if self.exact:
            return bool(found) and found[0] == expected
        return not found or 400 <= found[0] < 500 or found[0] in (501, 505)

    @property
    def credential(self) -> tuple[str, ...]:
        """The header field with the API key."""
        return (f"Authorization: Bearer {self.token}",) if self.token else ()

    async def is_healthy(self, service: Service | None = None) -> bool:
        """True if /healthz returns 200."""
        return statuses(await (service or self.gateway).request(b"GET", b"/healthz"))[:1] == [200]


async def malformed_protocol(target: Target) -> Outcome:
    """Malformed requests and bodies are rejected, and the service stays healthy."""
    outcome = Outcome("malformed protocol")
    for service in (target.gateway, *target.services):

        async def send(case: tuple[bytes, tuple[int, str]], service: Service = service) -> None:
            request, (status, _) = case
            received = await service.send(request)
            outcome.check(
                target.rejects(received, status),
                f"{service.url}: {request[:70]!r} gets {statuses(received)}",
            )

        await run_all(MALFORMED_REQUESTS, send, at_once=target.at_once)
        outcome.check(
            await target.is_healthy(service),
            f"{service.url} is not healthy after malformed requests",
        )

    async def send_body(case: tuple[bytes, tuple[str, str, str]]) -> None:
        received = await target.gateway.request(
            b"POST", VERIFY, "Content-Type: application/json", body=case[0]
        )
        outcome.check(
            target.rejects(received, 400), f"the body {case[0][:60]!r} gets {statuses(received)}"
        )

    await run_all(MALFORMED_BODIES, send_body, at_once=target.at_once)
    return outcome


async def smuggling(target: Target) -> Outcome:
    """No request that is hidden in another request reaches a Core or receives a response."""
    outcome = Outcome("request smuggling")
    path = f"/cores/{target.core_name}/x".encode() if target.core else VERIFY
    credential = "".join(f"{header}\r\n" for header in target.credential).encode()
    smuggled = b"GET " + SMUGGLED_PATH + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"

    async def send(case: tuple[tuple[bytes, bytes], bool]) -> None:
        (framing, body), rejected = case
        head = b"POST " + path + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n" + credential
        received = await target.gateway.send(head + framing + b"\r\n" + body + smuggled)
        found = statuses(received)
        held = not rejected or (
            len(found) <= 1 and (target.rejects(received, 400) or target.rejects(received, 501))
        )
        outcome.check(held, f"{framing!r} followed by {body!r} gets {found}")

    cases = [(case, True) for case in REJECTED_FRAMING] + [
        (case, False) for case in HARMLESS_FRAMING
    ]
    await run_all(cases, send, at_once=target.at_once)
    if target.core is not None:
        lines = [
            head.split(b"\r\n")[0]
            for head in target.core.heads
            if SMUGGLED_PATH in head.split(b"\r\n")[0]
        ]
        outcome.check(not lines, f"the Core received {lines[:3]}")
    outcome.check(await target.is_healthy(), "the gateway is not healthy")
    return outcome


async def ambiguous_paths(target: Target) -> Outcome:
    """Ambiguous paths are rejected and reach no Core."""
    outcome = Outcome("paths")
    before = len(target.core.heads) if target.core else 0

    async def send(case: tuple[bytes, str]) -> None:
        path = case[0].replace(b"/cores/docs", f"/cores/{target.core_name}".encode())
        received = await target.gateway.request(b"GET", path, *target.credential)
        outcome.check(target.rejects(received, 400), f"{case[0][:70]!r} gets {statuses(received)}")

    await run_all(AMBIGUOUS_PATHS, send, at_once=target.at_once)
    if target.core is not None:
        outcome.check(len(target.core.heads) == before, "an ambiguous path reached the Core")
    return outcome


async def header_rules(target: Target) -> Outcome:
    """Ambiguous headers are rejected. A Core receives no reserved header from a client."""
    outcome = Outcome("headers")
    path = f"/cores/{target.core_name}/x".encode()
    credential = target.credential or ("Authorization: Bearer none",)

    async def send(case: tuple[tuple[str, ...], str]) -> None:
        received = await target.gateway.request(b"GET", path, *credential, *case[0])
        outcome.check(target.rejects(received, 400), f"{case[0]} gets {statuses(received)}")

    await run_all(AMBIGUOUS_HEADERS, send, at_once=target.at_once)
    if target.core is None:
        return outcome

    async def forge(name: bytes) -> None:
        value = f"forged-{name.decode()}"
        await target.gateway.request(b"GET", path, *credential, f"{name.decode()}: {value}")
        received = any(
            value.encode() in head for head in (target.core.heads if target.core else ())
        )
        outcome.check(not received, f"the Core received {name.decode()} from the client")

    await run_all(RESERVED_REQUEST_NAMES, forge, at_once=target.at_once)
    return outcome


async def slow_clients(target: Target) -> Outcome:
    """Connections with unfinished heads and bodies are closed within the deadline. Other clients
    receive responses.
    """
    outcome = Outcome("slow clients")
    parts = [*UNFINISHED_HEADS, *UNFINISHED_BODIES]

    async with AsyncExitStack() as stack:
        readers: list[tuple[bytes, asyncio.StreamReader]] = []
        for number in range(target.slow_clients):
            part = parts[number % len(parts)]
            reader, writer = await target.gateway.connect()
            stack.callback(writer.close)
            writer.write(target.gateway.raw(part))
            readers.append((part, reader))
        outcome.check(await target.is_healthy(), "/healthz does not respond while clients are slow")
        pending = {asyncio.create_task(reader.read()): part for part, reader in readers}
        ended, held = await asyncio.wait(pending, timeout=target.deadline_s)
        for task in held:
            task.cancel()
        for task, part in pending.items():
            outcome.check(
                task in ended, f"{part[:50]!r} is still connected after {target.deadline_s:.0f} s"
            )
    outcome.check(await target.is_healthy(), "/healthz does not respond after slow clients")
    return outcome


async def costly_bodies(target: Target) -> Outcome:
    """Large bodies that are expensive to decode are rejected with a short response, and large
    bodies that stop are not kept.
    """
    outcome = Outcome("costly bodies")
    cases = [
        (target.gateway, VERIFY, 60_000),
        *((service, SUBMIT, 1_790_000) for service in target.services),
    ]

    async def send(case: tuple[tuple[Service, bytes, int], bytes]) -> None:
        (service, path, _), body = case
        for content in (body, body[:65_536]):
            received = await service.request(
                b"POST", path, "Content-Type: application/json", body=content
            )
            held = (
                not any(status < 400 or status >= 500 for status in statuses(received))
                and len(received) <= ANSWER_BYTES_MAX
            )
            outcome.check(
                held,
                (
                    f"{service.url}: {body[:20]!r}... gets {statuses(received)} and "
                    f"{len(received)} bytes"
                ),
            )

    async def stop(case: tuple[Service, bytes, int]) -> None:
        service, path, size = case
        head = (
            b"POST "
            + path
            + b" HTTP/1.1\r\nHost: "
            + HOST
            + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        reader, writer = await service.connect()
        ended = False
        with suppress(TimeoutError):
            async with asyncio.timeout(target.deadline_s):
                with suppress(ConnectionError):  # the service has ended the connection
                    writer.write(service.raw(head % (size + 5000)) + b'{"link":"' + b"a" * size)
                    while await reader.read(1 << 16):
                        pass
                ended = True
        writer.close()
        outcome.check(
            ended,
            (
                f"{service.url}: a body that stops after {size} bytes is kept for "
                f"{target.deadline_s:.0f} s"
            ),
        )

    await run_all(
        [(case, body) for case in cases for body in COSTLY_BODIES], send, at_once=target.at_once
    )
    await run_all(cases, stop, at_once=target.at_once)
    for service, _, _ in cases:
        outcome.check(
            await target.is_healthy(service), f"{service.url} is not healthy after costly bodies"
        )
    return outcome


Attack: TypeAlias = Callable[[Target], Awaitable[Outcome]]
ATTACKS: tuple[Attack, ...] = (
    malformed_protocol,
    smuggling,
    ambiguous_paths,
    header_rules,
    slow_clients,
    costly_bodies,
)


async def run(target: Target) -> Sequence[Outcome]:
    """Run these attacks one after another."""
    return [await attack(target) for attack in ATTACKS]
