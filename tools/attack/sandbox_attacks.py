"""Attacks that fill memory, occupy the processor or run on this machine, and therefore run against
a sandbox only: floods beside another client, IPv6 networks, memory and hostile repositories.
"""

import asyncio
import base64
import ipaddress
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from gatehouse.core.addresses import ClientAddresses
from gatehouse.platform.http import asgi
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.protocol import HttpProtocol
from gatehouse.platform.settings import ConnectionSettings

from tools.attack.attacks import VERIFY, Attack, Outcome, Target, Usage, ended
from tools.attack.connection import Service, request, statuses
from tools.attack.corpora import HOST, LARGE_STARTS

#: Size of a flood, which is twice the memory of a network for unfinished requests, and the time for
#: its first rejection, which is shorter than the timeouts of the gateway.
FLOOD_BYTES, FLOOD_S = 16_000_000, 5.0
#: Clients of a flood, requests of the other client, and connections of a client that pipelines
#: requests on many connections.
CLIENTS, REQUESTS, PIPELINES = 4, 100, 50
#: CPU time of the services between a request of the other client and the response: a service that
#: a flood stops uses more, whatever other processes of the machine do.
CPU_S_MAX = 0.2
#: 99th percentile of the time that the other client waits for a response.
P99_S_MAX = 1.0
#: WebSocket frames without payload and with one byte.
FRAMES = (b"\x89\x80\0\0\0\0" * 10_000, b"\x81\x81\0\0\0\0a" * 10_000)
#: Memory that a service may need for unfinished requests, of which the attack sends more.
INCREASE_BYTES_MAX = 150_000_000
UNFINISHED, NETWORKS = 200, 8
#: Connections to a service with pipelined requests whose responses are not read, and bytes of the
#: requests of each.
UNREAD, PIPELINED_BYTES = 500, 250_000
#: Unfinished bodies of a network at the service of `proxied_service`.
BODIES_MAX = 8
#: Number of costly bodies of an operation with which a flood is made.
FLOODS_OF_BODIES = 2
#: Floods a service until the task is cancelled.
Flood = Callable[[], Coroutine[Any, Any, None]]
#: Settings with which Git runs a program.
_GIT_SETTINGS = (
    "core.fsmonitor",
    "core.pager",
    "core.editor",
    "core.sshCommand",
    "core.gitProxy",
    "filter.a.clean",
    "filter.a.smudge",
    "filter.a.process",
    "diff.a.textconv",
    "diff.external",
    "pager.ls-files",
    "credential.helper",
    "remote.origin.uploadpack",
)


async def floods(target: Target, outcome: Outcome) -> None:
    """Heads and bodies that do not end are rejected before they fill the memory. Beside them,
    costly requests, pipelined requests and tiny WebSocket frames, another client receives responses
    in time, and its WebSocket stays open.
    """
    for start in LARGE_STARTS:
        async with AsyncExitStack() as stack:
            waiting = []
            for _ in range(FLOOD_BYTES // len(start)):
                reader, writer = await target.gateway.connect(start)
                stack.callback(writer.close)
                waiting.append(asyncio.create_task(ended(reader)))
            responds = [await target.gateway.is_healthy() for _ in range(5)]
            outcome.check(all(responds), f"{start[:30]!r}: /healthz does not respond")
            rejected = await _first(waiting, target)
            outcome.check(rejected, f"{start[:30]!r}: {FLOOD_BYTES:,} bytes are accepted")
    pipelined = b"GET / HTTP/1.1\r\nHost: " + HOST + b"\r\n\r\n"
    floods: list[tuple[str, Service, Flood]] = [
        (
            f"{operation.path!r} {body.unit!r}",
            operation.service,
            partial(_repeat, operation.service, operation.request(body)),
        )
        for operation in target.all_operations
        for body in operation.costly[:FLOODS_OF_BODIES]
    ]
    for connections, requests in ((1, 2_000), (PIPELINES, 28)):
        pipelining = partial(_stream_many, target.gateway, pipelined * requests, connections)
        floods.append(
            (f"pipelined requests on {connections} connections", target.gateway, pipelining)
        )
    floods += [
        (f"frames {frames[:7]!r}", target.gateway, partial(_stream, *_socket(target), frames))
        for frames in FRAMES
    ]
    # In another process, because the flood occupies this one.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        for name, service, flood in floods:
            await _flood(target, outcome, other, name, service, flood)


async def _flood(
    target: Target,
    outcome: Outcome,
    other: ProcessPoolExecutor,
    name: str,
    service: Service,
    flood: Flood,
) -> None:
    """Check the requests and the WebSocket of another client beside a flood of a service."""
    reader, writer = await target.gateway.connect(_socket(target)[1])
    opened = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), target.deadline_s)
    outcome.check(b" 101 " in opened, f"{name}: WebSocket not accepted: {opened[:400]!r}")
    closed = asyncio.create_task(ended(reader))
    flooding = [asyncio.create_task(flood()) for _ in range(CLIENTS)]
    path = VERIFY if service == target.gateway else b"/healthz"
    raw = request(b"GET", path, *target.credential)
    measure = partial(_measure, service, raw, target.usage, REQUESTS)
    valid, cpu_s, p99_s = await asyncio.get_running_loop().run_in_executor(other, measure)
    for task in flooding:
        task.cancel()
    await asyncio.wait(flooding)
    outcome.check(valid == REQUESTS, f"{name}: {REQUESTS - valid} requests fail")
    outcome.check(
        cpu_s <= CPU_S_MAX, f"{name}: {cpu_s:.2f} s of CPU time pass until a request has a response"
    )
    outcome.check(p99_s <= P99_S_MAX, f"{name}: p99 of the other client is {p99_s:.2f} s")
    outcome.p99_s = max(outcome.p99_s, p99_s)
    outcome.check(not closed.done(), f"{name}: the WebSocket of the other client is closed")
    closed.cancel()
    writer.close()


def _measure(
    service: Service, raw: bytes, usage: Callable[[], dict[str, Usage]] | None, requests: int
) -> tuple[int, float, float]:
    """Sends requests one after another. Returns the number of responses with status 200, the
    longest CPU time of all services during a request, and the 99th percentile of the waiting time.
    """
    assert usage is not None  # noqa: S101

    def cpu_s() -> float:
        return sum(each.cpu_s for each in usage().values())

    async def send() -> tuple[int, float, float]:
        valid, longest_s, waits_s = 0, 0.0, []
        for _ in range(requests):
            before_s, start_s = cpu_s(), time.monotonic()
            valid += statuses(await service.send(raw)) == [200]
            waits_s.append(time.monotonic() - start_s)
            longest_s = max(longest_s, cpu_s() - before_s)
        return valid, longest_s, quantiles(waits_s, n=100, method="inclusive")[-1]

    return asyncio.run(send())


async def _repeat(service: Service, raw: bytes) -> None:
    while True:
        await service.send(raw)


async def _stream(service: Service, start: bytes, data: bytes) -> None:
    """Send data on connections, and read the responses, until the task is cancelled."""
    while True:
        reader, writer = await service.connect(start)
        reading = asyncio.create_task(ended(reader))
        try:
            with suppress(ConnectionError):
                while not reading.done():
                    writer.write(data.replace(HOST, b"a"))
                    await writer.drain()
                    await asyncio.sleep(0)
        finally:
            reading.cancel()
            writer.close()


async def _stream_many(service: Service, data: bytes, connections: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(_stream(service, b"", data))


def _socket(target: Target) -> tuple[Service, bytes]:
    head = [b"GET " + target.core_path + b"/x HTTP/1.1", b"Host: " + HOST, b"Upgrade: websocket"]
    head += [b"Connection: Upgrade", b"Sec-WebSocket-Version: 13"]
    head += [b"Sec-WebSocket-Key: " + base64.b64encode(bytes(16))]
    head += [field.encode() for field in target.credential]
    return target.gateway, b"\r\n".join((*head, b"", b""))


async def _first(tasks: list[asyncio.Task[None]], target: Target) -> bool:
    timeout_s = min(FLOOD_S, target.deadline_s)
    done, pending = await asyncio.wait(
        tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
    )
    for task in pending:
        task.cancel()
    return bool(done)


async def ipv6_networks(target: Target, outcome: Outcome) -> None:
    """The addresses of a /64 share the bound on unfinished bodies. IPv4 addresses that are mapped
    to IPv6 have one bound each, which is that of the IPv4 address.
    """
    assert target.proxied is not None  # noqa: S101
    same, mapped = "2001:db8:0:1::{:x}", "::ffff:198.51.100.{}"
    for addresses, is_rejected in (
        ([same.format(number) for number in range(1, 3 * BODIES_MAX)], True),
        ([mapped.format(1)] * BODIES_MAX + ["198.51.100.1"], True),
        ([mapped.format(number) for number in range(2, 3 * BODIES_MAX)], False),
    ):
        async with AsyncExitStack() as stack:
            waiting = []
            for address in addresses:
                head = b"POST /x HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\n"
                length = b"Content-Length: 20000\r\n\r\n"
                start = head % (HOST, address.encode()) + length
                reader, writer = await target.proxied.connect(start)
                stack.callback(writer.close)
                waiting.append(asyncio.create_task(ended(reader)))
            outcome.check(
                await _first(waiting, target) == is_rejected,
                f"unfinished bodies of {addresses[0]} to {addresses[-1]} are "
                f"{'accepted' if is_rejected else 'rejected'}",
            )


async def memory(target: Target, outcome: Outcome) -> None:
    """Unfinished heads and bodies of many networks, and pipelined requests whose responses are not
    read, do not fill the memory of a service.
    """
    assert target.usage is not None  # noqa: S101
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8_192, files_max), files_max))
    before = target.usage()
    loads = [(target.gateway, LARGE_STARTS[0])] * (UNFINISHED * 15)
    loads += [
        (operation.service, operation.unfinished)
        for operation in target.operations
        for _ in range(UNFINISHED // 2)
    ]
    document = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    loads += [
        (service, document * (PIPELINED_BYTES // len(document)))
        for service in (target.gateway, *target.services)
        for _ in range(UNREAD)
    ]
    async with AsyncExitStack() as stack:
        for number, (service, start) in enumerate(loads):
            # Other systems have one loopback address.
            source = f"127.0.1.{number % NETWORKS + 1}" if sys.platform == "linux" else None
            with suppress(ConnectionError):
                _, writer = await service.connect(start, source)
                stack.callback(writer.close)
                writer.transport.pause_reading()  # type: ignore[attr-defined]  # typeshed has a base class
                with suppress(TimeoutError):
                    await asyncio.wait_for(writer.drain(), 0.05)
        for name, used in target.usage().items():
            increase = used.memory_bytes - before.get(name, used).memory_bytes
            outcome.check(
                increase <= INCREASE_BYTES_MAX, f"{name} needs {increase / 1e6:.0f} MB more memory"
            )


async def hostile_repositories(target: Target, outcome: Outcome) -> None:
    """`gatehouse scan` of a folder runs no program, neither one of the folder nor Git, and follows
    no symbolic link.
    """
    with TemporaryDirectory(prefix="gatehouse-") as name:
        folder = Path(name)
        repository, ran = folder / "repository", folder / "ran"
        program, token = _hostile_repository(repository, ran)
        (folder / "bin").mkdir()
        for command in ("git", "less", "ssh", "sh", "bash"):
            (folder / "bin" / command).write_bytes(program.read_bytes())
            (folder / "bin" / command).chmod(0o755)
        (folder / "outside").write_text(token)
        (repository / "link").symlink_to(folder / "outside")
        (repository / "links").symlink_to(folder)
        environment = {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        result = await asyncio.to_thread(
            subprocess.run,
            [*target.scan, str(repository)],
            env=environment,
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        outcome.check(not ran.exists(), "gatehouse scan runs a program")
        outcome.check(
            result.returncode == 0, f"gatehouse scan follows a link, or fails: {result.returncode}"
        )


def _hostile_repository(repository: Path, ran: Path) -> tuple[Path, str]:
    """Create a repository for which Git runs a program. Returns the program and a token."""
    git = repository / ".git"
    for folder in ("hooks", "objects", "refs/heads"):
        (git / folder).mkdir(parents=True)
    program = git / "hooks" / "post-index-change"
    program.write_text(f"#!{Path('/bin/sh').resolve()}\n: > '{ran}'\n")
    program.chmod(0o755)
    (git / "hooks" / "post-checkout").write_bytes(program.read_bytes())
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    settings = [f'[remote "origin"]\n\turl = {repository}\n\tpromisor = true\n']
    settings.append("[extensions]\n\tpartialClone = origin\n")
    for setting in _GIT_SETTINGS:
        *section, name = setting.split(".")
        heading = section[0] if len(section) == 1 else f'{section[0]} "{section[1]}"'
        settings.append(f"[{heading}]\n\t{name} = {program}\n")
    (git / "config").write_text("".join(settings))
    (repository / ".gitattributes").write_text("* filter=a diff=a\n")
    (repository / "file").write_text("text\n")
    return program, "gtk_admin_" + "0" * 48


@asynccontextmanager
async def proxied_service() -> AsyncIterator[Service]:
    """A service on this machine that trusts the X-Forwarded-For of its clients."""

    async def respond(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        parts = [part async for part in asgi.body_chunks(scope, receive, 1 << 20)]
        await asgi.reply(send, 200, b"%d" % sum(map(len, parts)))

    addresses = ClientAddresses((ipaddress.ip_network("127.0.0.0/8"),))
    worker = Connections(ConnectionSettings(address_bodies_max=BODIES_MAX), addresses)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(respond, worker, {}), "127.0.0.1", 0)
    try:
        yield Service(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()


SANDBOX_ATTACKS: tuple[Attack, ...] = (floods, ipv6_networks, memory, hostile_repositories)
