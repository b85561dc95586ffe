"""Attacks with raw requests: malformed protocol, request smuggling, ambiguous paths and headers,
costly bodies, slow clients. They change nothing, so they also run against deployments, with the
gateway as the only target.

A load balancer or AWS WAF can reject a request before the gateway, so any status from 400 to 499,
status 501 or 505, or no response counts as a rejection. The tests of the runtime send the same
inputs and expect the exact responses.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import NamedTuple, TypeAlias

from gatehouse.core.token_scanner import redacted

from tools.attack.connection import RecordingCore, Service, request, statuses
from tools.attack.corpora import (
    AMBIGUOUS_HEADERS,
    AMBIGUOUS_PATHS,
    COSTLY_JSON,
    DEEP_BODIES,
    HARMLESS_FRAMING,
    HOST,
    INVALID_HOSTS,
    MALFORMED_BODIES,
    MALFORMED_REQUESTS,
    ORDINARY_JSON,
    REJECTED_FRAMING,
    RESERVED_REQUEST_NAMES,
    SMUGGLED_PATH,
    UNFINISHED_BODIES,
    UNFINISHED_HEADS,
    Body,
)

VERIFY = b"/v1/keys/verify"
JSON = "Content-Type: application/json"
#: Maximum size of a response to a request that is rejected.
ANSWER_BYTES_MAX = 16_384
#: A costly request takes at most this multiple of the time of an ordinary request of its size. The
#: shortest of several measurements counts.
COST_RATIO_MAX, MEASUREMENTS = 20, 40
#: Paths that are costly to search for tokens or to decode, and an ordinary path of the same size.
COSTLY_PATHS = b"/" + b"eyJ" * 5_000, b"/cores/docs/" + b"%" * 15_000
ORDINARY_PATH = b"/" + b"aaa" * 5_000


@dataclass(slots=True)
class Outcome:
    """Number of attacks in a group, and a sentence for each successful attack."""

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def check(self, holds: bool, failure: str) -> None:
        """Count an attack. `failure`: what is wrong if the attack succeeds; contains no secret."""
        self.cases += 1
        if not holds:
            self.failures.append(failure)


class Operation(NamedTuple):
    """An operation that takes a body, none of which is accepted. headers: header fields of the
    request. bytes_max: less than the maximum size of the body. ordinary: a body that is not
    expensive. costly: bodies that are.
    """

    service: Service
    path: bytes
    headers: tuple[str, ...] = (JSON,)
    bytes_max: int = 60_000
    ordinary: Body = ORDINARY_JSON
    costly: tuple[Body, ...] = COSTLY_JSON

    def request(self, body: Body, size: int = 0) -> bytes:
        content = body.of_size(size or self.bytes_max)
        return request(b"POST", self.path, *self.headers, body=content)

    @property
    def unfinished(self) -> bytes:
        head, _, body = self.request(self.ordinary).partition(b"\r\n\r\n")
        length = b"Content-Length: %d"
        return head.replace(length % len(body), length % (len(body) + 1)) + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Target:
    """A gateway, and the parameters of the attacks.

    services: further services that receive malformed requests, and their operations that take a
    body. token: an API key with access to the Core `core_name`; empty if there is none. core: the
    recording Core, if it is registered under `core_name`.
    slow_clients: number of slow clients. deadline_s: time after which a slow client must be
    disconnected.
    """

    gateway: Service
    services: tuple[Service, ...] = ()
    operations: tuple[Operation, ...] = ()
    token: str = ""
    core: RecordingCore | None = None
    core_name: str = "docs"
    scan: tuple[str, ...] = ()
    slow_clients: int = 5
    deadline_s: float = 75.0
    at_once: int = 4

    @property
    def credential(self) -> tuple[str, ...]:
        return (f"Authorization: Bearer {self.token}",) if self.token else ()

    @property
    def core_path(self) -> bytes:
        return f"/cores/{self.core_name}".encode()

    @property
    def heads(self) -> list[bytes]:
        """The heads of the requests that the Core has received."""
        return self.core.heads if self.core else []

    @property
    def all_operations(self) -> tuple[Operation, ...]:
        return (Operation(self.gateway, VERIFY), *self.operations)

    async def send_all(
        self,
        outcome: Outcome,
        requests: Iterable[tuple[Service, bytes]],
        holds: Callable[[bytes], bool],
    ) -> None:
        limit = asyncio.Semaphore(self.at_once)

        async def send(service: Service, raw: bytes) -> None:
            async with limit:
                received = await service.send(raw)
            shown = redacted(raw[:2_000].decode("latin-1"))[:150]
            outcome.check(
                holds(received),
                f"{service.url}: {shown!r} gets {statuses(received)}, {len(received)} bytes",
            )

        async with asyncio.TaskGroup() as group:
            for service, raw in requests:
                group.create_task(send(service, raw))


def _is_rejection(received: bytes) -> bool:
    found = statuses(received)
    return not found or (len(found) == 1 and (400 <= found[0] < 500 or found[0] in (501, 505)))


def _is_short_rejection(received: bytes) -> bool:
    is_rejected = all(400 <= status < 500 for status in statuses(received))
    return is_rejected and len(received) <= ANSWER_BYTES_MAX


async def malformed_protocol(target: Target, outcome: Outcome) -> None:
    """Malformed requests and bodies are rejected."""
    services = (target.gateway, *target.services)
    requests = [(service, raw) for service in services for raw in MALFORMED_REQUESTS]
    requests += [
        (target.gateway, request(b"POST", VERIFY, JSON, body=body))
        for body in (*(body for body, _ in MALFORMED_BODIES), *DEEP_BODIES)
    ]
    await target.send_all(outcome, requests, _is_rejection)


async def smuggling(target: Target, outcome: Outcome) -> None:
    """No request that is hidden in another request reaches a Core or receives a response."""
    path = target.core_path + b"/x" if target.core else VERIFY
    head = b"POST " + path + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n"
    head += "".join(f"{header}\r\n" for header in target.credential).encode()
    smuggled = b"GET " + SMUGGLED_PATH + b" HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
    for cases, holds in (
        (REJECTED_FRAMING, _is_rejection),
        (HARMLESS_FRAMING, lambda _received: True),
    ):
        requests = [
            (target.gateway, head + framing + b"\r\n" + body + smuggled) for framing, body in cases
        ]
        await target.send_all(outcome, requests, holds)
    lines = [line for row in target.heads if SMUGGLED_PATH in (line := row.split(b"\r\n")[0])]
    outcome.check(not lines, f"the Core received {lines[:3]}")


async def ambiguous_paths(target: Target, outcome: Outcome) -> None:
    """Ambiguous paths are rejected and reach no Core."""
    before = len(target.heads)
    paths = [path.replace(b"/cores/docs", target.core_path) for path, _ in AMBIGUOUS_PATHS]
    requests = [(target.gateway, request(b"GET", path, *target.credential)) for path in paths]
    await target.send_all(outcome, requests, _is_rejection)
    outcome.check(len(target.heads) == before, "an ambiguous path reached the Core")


async def header_rules(target: Target, outcome: Outcome) -> None:
    """Ambiguous headers are rejected. A Core receives no reserved header from a client."""
    credential = target.credential or ("Authorization: Bearer none",)

    def with_headers(*headers: str) -> tuple[Service, bytes]:
        path = target.core_path + b"/x"
        return target.gateway, request(b"GET", path, *credential, *headers)

    before, (service, valid) = len(target.heads), with_headers()
    requests = [with_headers(*headers) for headers, _ in AMBIGUOUS_HEADERS]
    requests += [(service, valid.replace(HOST, host)) for host in INVALID_HOSTS]
    await target.send_all(outcome, requests, _is_rejection)
    outcome.check(len(target.heads) == before, "an ambiguous header reached the Core")
    names = [name.decode() for name in RESERVED_REQUEST_NAMES]
    requests = [with_headers(f"{name}: forged-{name}") for name in names]
    await target.send_all(outcome, requests if target.core else [], lambda _received: True)
    received = b"".join(target.heads)
    forged = [name for name in names if f"forged-{name}".encode() in received]
    outcome.check(not forged, f"the Core received {', '.join(forged)} from a client")


async def costly_bodies(target: Target, outcome: Outcome) -> None:
    """Large bodies that are expensive to decode are rejected with a short response. They and costly
    paths take little more time than ordinary ones.
    """
    requests = [
        (operation.service, operation.request(body, size))
        for operation in target.all_operations
        for body in operation.costly
        for size in (0, 65_536)
    ]
    await target.send_all(outcome, requests, _is_short_rejection)
    for operation in target.all_operations:
        ordinary = operation.request(operation.ordinary)
        for body in operation.costly:
            await _compare(operation.service, operation.request(body), ordinary, outcome)
    ordinary = request(b"GET", ORDINARY_PATH)
    for service in (target.gateway, *target.services):
        for path in COSTLY_PATHS:
            await _compare(service, request(b"GET", path), ordinary, outcome)


async def _compare(service: Service, costly: bytes, ordinary: bytes, outcome: Outcome) -> None:
    shortest = [float("inf")] * 2
    for _ in range(MEASUREMENTS):
        for number, raw in enumerate((ordinary, costly)):
            started = time.perf_counter()
            await service.send(raw)
            shortest[number] = min(shortest[number], time.perf_counter() - started)
        if shortest[1] <= COST_RATIO_MAX * shortest[0]:
            break
    ratio = shortest[1] / shortest[0]
    outcome.check(
        ratio <= COST_RATIO_MAX,
        f"{service.url}: {costly[-60:]!r} takes {ratio:.0f} times as long as an ordinary request",
    )


async def slow_clients(target: Target, outcome: Outcome) -> None:
    """Connections with heads and bodies that stop are closed within the deadline. Other clients
    receive responses.
    """
    parts = islice(cycle([*UNFINISHED_HEADS, *UNFINISHED_BODIES]), target.slow_clients)
    starts = [(target.gateway, part) for part in parts]
    starts += [(operation.service, operation.unfinished) for operation in target.all_operations]
    async with AsyncExitStack() as stack:
        pending = {}
        for service, start in starts:
            reader, writer = await service.connect(start)
            stack.callback(writer.close)
            pending[asyncio.create_task(ended(reader))] = service, start
        outcome.check(
            await target.gateway.is_healthy(), "/healthz does not respond while clients are slow"
        )
        done, _ = await asyncio.wait(pending, timeout=target.deadline_s)
        for task, (service, start) in pending.items():
            task.cancel()
            outcome.check(
                task in done,
                f"{service.url}: {start[:50]!r} is connected after {target.deadline_s:.0f} s",
            )


async def ended(reader: asyncio.StreamReader) -> None:
    """Wait until the service ends the connection."""
    try:
        while await reader.read(1 << 16):
            pass
    except ConnectionError:
        pass


Attack: TypeAlias = Callable[[Target, Outcome], Awaitable[None]]
ATTACKS: tuple[Attack, ...] = (
    malformed_protocol,
    smuggling,
    ambiguous_paths,
    header_rules,
    costly_bodies,
    slow_clients,
)


async def attack(run: Attack, target: Target) -> Outcome:
    """Run an attack. Afterwards, every service must be healthy."""
    outcome = Outcome(run.__name__.replace("_", " "))
    await run(target, outcome)
    for service in (target.gateway, *target.services):
        outcome.check(await service.is_healthy(), f"{service.url} is not healthy")
    return outcome


async def attack_all(target: Target, others: Sequence[Attack] = ()) -> list[Outcome]:
    """Run all attacks and these others one after another, while the slow clients wait. Raises
    OSError if the gateway is unreachable.
    """
    _, writer = await target.gateway.connect(b"")
    writer.close()
    *first, slow = ATTACKS
    waiting = asyncio.create_task(attack(slow, target))
    outcomes = [await attack(run, target) for run in first]
    outcomes.append(await waiting)
    return [*outcomes, *[await attack(run, target) for run in others]]
