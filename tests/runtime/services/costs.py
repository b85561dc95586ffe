"""CPU time of requests to an application, without a server, and heads that are costly to read."""

import ast
import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gatehouse
from gatehouse.platform.http import asgi

from tools.fuzz.cpu_time import BUDGET_S, FIELD_BYTES, TARGET_BYTES, adjusted

#: Requests of which the one with the shortest CPU time counts. It depends less on the load of
#: the machine.
RUNS_MAX = 400
#: Texts that are repeated in a field.
UNITS = (b",", b";", b"a=&", b'"', b"%25", b".eyJ")
#: Fields whose values the server checks before it calls the application.
CHECKED = {b"host", b"content-length", b"transfer-encoding"}
#: Fields that are not read if the request contains the other field.
EXCLUDED = {b"cookie": b"authorization"}
ADDRESS = "192.0.2.7"


class Reply(NamedTuple):
    """cpu_s: the longest CPU time of the event loop until a part of the response was sent."""

    status: int
    body: bytes
    headers: dict[str, str]
    cpu_s: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def send(
    app: asgi.App,
    method: str,
    target: str | bytes,
    headers: list[asgi.Header],
    body: bytes = b"",
    host: str = "service.test",
) -> Reply:
    raw = target if isinstance(target, bytes) else target.encode()
    path, _, query = raw.partition(b"?")
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path.decode("ascii"),
        "raw_path": path,
        "query_string": query,
        "headers": [
            (b"host", host.encode()),
            *headers,
            *([(b"content-length", b"%d" % len(body))] if body else []),
        ],
        "client": (ADDRESS, 4711),
        "server": ("192.0.2.1", 443),
        "scheme": "https",
        "state": {},
    }
    waiting = [{"type": "http.request", "body": body, "more_body": False}]
    started, parts, cpu_s = dict[str, Any](), list[bytes](), 0.0
    since = time.thread_time()

    async def receive() -> asgi.Message:
        if waiting:
            return waiting.pop()
        return await asyncio.Future()

    async def respond(message: asgi.Message) -> None:
        nonlocal cpu_s, since
        cpu_s = max(cpu_s, time.thread_time() - since)
        started.update(message)
        parts.append(message.get("body", b""))
        await asyncio.sleep(0)
        since = time.thread_time()

    await app(scope, receive, respond)
    cpu_s = max(cpu_s, time.thread_time() - since)
    received = {name.decode(): value.decode("latin-1") for name, value in started["headers"]}
    return Reply(started["status"], b"".join(parts), received, adjusted(cpu_s))


async def cheapest(call: Callable[[], Awaitable[Reply]]) -> Reply:
    """The reply with the shortest CPU time of at most RUNS_MAX; stops at one within the budget."""
    best = await call()
    for _ in range(RUNS_MAX - 1):
        if best.cpu_s <= BUDGET_S:
            break
        best = min(best, await call(), key=lambda reply: reply.cpu_s)
    return best


def header_names() -> set[bytes]:
    names = set()
    for path in Path(gatehouse.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            match node.func.attr, node.args:
                case (("values" | "header"), [ast.Constant(value=bytes() as name)]):
                    names.add(name)
    return names


def costly_heads(template: str, *fixed: asgi.Header) -> Iterator[tuple[bytes, list[asgi.Header]]]:
    """Targets and additional header fields of requests, of which one part has the maximum size."""
    parts = re.split("{[^}]*}", template)
    path, after = "a".join(parts).encode(), "a".join(parts[1:]).encode()
    for unit in UNITS:
        encoded = unit.replace(b'"', b"%22")
        text = encoded * ((TARGET_BYTES - len(path)) // len(encoded))
        yield path + b"?" + text, [*fixed]
        yield parts[0].encode() + text + after, [*fixed]
    names = {*header_names(), b"idempotency-key", b"x-csrf-token", b"x"} - CHECKED
    for name in sorted(names):
        others = [field for field in fixed if field[0] not in (name, EXCLUDED.get(name))]
        size = FIELD_BYTES - len(name)
        for unit in UNITS:
            yield path, [*others, (name, unit * (size // len(unit)))]


async def slow_heads(
    app: asgi.App, method: str, template: str, *fixed: asgi.Header
) -> list[tuple[bytes, bytes, bytes, float]]:
    slow = []
    for target, headers in costly_heads(template, *fixed):
        reply = await cheapest(partial(send, app, method, target, headers, b"{}"))
        assert reply.status < 500
        if reply.cpu_s > BUDGET_S:
            slow.append((target[:80], headers[-1][0], headers[-1][1][:10], reply.cpu_s))
    return slow
