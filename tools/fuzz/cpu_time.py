"""Searches inputs that cost the most CPU time: `python -m tools.fuzz.cpu_time`.

An input is a text that is repeated up to the maximum size of the input of an endpoint, between a
beginning and an end. The search changes the best inputs of each endpoint at random. The worst ones
are stored in `cpu_time.json`, which the tests replay for every endpoint.
"""

import argparse
import asyncio
import io
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from gatehouse.core import http_signatures, token_scanner
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.errors import GatehouseError
from gatehouse.core.verification import SignedRequest
from gatehouse.features.cores.schemas import decode_lease
from gatehouse.features.identity import service as identity
from gatehouse.features.verification import schemas as verification
from gatehouse.platform.http import asgi, forwarding, validation
from gatehouse.platform.http.application import Application, Routes
from gatehouse.platform.http.connections import Connections
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.protocol import HttpProtocol
from gatehouse.platform.http.request import Service
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.settings import ConnectionSettings
from gatehouse.services.console import asgi as console
from gatehouse.services.console import pipeline
from gatehouse.services.gateway import routes as gateway
from gatehouse.services.gateway.asgi import RequestContext
from gatehouse.services.sharing import routes as sharing

from tools.attack.corpora import Body

_RANDOM = random.Random()  # noqa: S311 - not for secrets
STORED = Path(__file__).with_suffix(".json")
#: Maximum CPU time of one input, on a processor that runs `_reference` in this time.
BUDGET_S, _REFERENCE_S = 0.020, 0.009
BODY_BYTES, TARGET_BYTES, FIELD_BYTES, HEAD_BYTES = 65_536, 16_384, 16_384, 65_536
_KEPT, _STORED_MAX = 4, 12
#: The data before and after an input that a client sends on a connection.
_HEAD = "GET /x HTTP/1.1\r\nHost: a\r\n"
_CONNECTIONS = {
    "requests": ("", ""),
    "request line": ("GET /", " HTTP/1.1\r\nHost: a\r\n\r\n"),
    "fields": (_HEAD, "\r\n\r\n"),
    "cookie": (_HEAD + "Cookie: ", "\r\n\r\n"),
    "trace state": (
        _HEAD + f"traceparent: 00-{'a' * 32}-{'b' * 16}-01\r\ntracestate: ",
        "\r\n\r\n",
    ),
    "chunks": (_HEAD.replace("GET", "POST") + "Transfer-Encoding: chunked\r\n\r\n", ""),
}
#: A request for which no token prefix but `gtk` is searched.
_CONTEXT: Any = SimpleNamespace(
    template="",
    service=SimpleNamespace(verification=SimpleNamespace(finder=SimpleNamespace(prefix="gtk"))),
)
_TEXTS = (
    *'{}[]",:\\/%;=&#._-+ \n\0\x7f0aA',
    *('"":', '{"a":', "[]", "{},", '"",', "1e9,", "-0.", "\\n", "\\u0000", "\\ud800", "true,"),
    *("%25", "%2e", "%00", "/../", "eyJ", ".eyJ", "gtk_test_", "_admin_", "whsec_", "_signin_"),
    *("é", "\u2028", "😀", "0" * 43, "A" * 61, "2031-01-01T00:00:00Z", "10.0.0.0/8", "::1"),
    *('("@method");', "sha-256=:", "sig=(", ":a:,", "?1;", "<a>", "*.", "{n}"),
    *("\r\n", "GET / HTTP/1.1\r\n", "Host: a\r\n", "Cookie: a=b;", "tracestate: a=b,", "0\r\n"),
)


class Shape(NamedTuple):
    before: str
    unit: str
    after: str

    def of_size(self, size: int) -> bytes:
        before, unit, after = (text.encode() for text in self)
        return Body(before, unit or b"a", after).of_size(size)


class Target(NamedTuple):
    """What an endpoint does with an input of at most `bytes_max` before it needs another service.

    texts: parts of inputs that the endpoint accepts.
    """

    bytes_max: int
    run: Callable[[bytes], object]
    texts: tuple[str, ...] = ()


def targets() -> dict[str, Target]:
    """The targets by name: the body and the query of every endpoint, the rest of a request, and the
    data of a connection.
    """
    result = {
        **{
            name: Target(HEAD_BYTES, Connection(before.encode(), after.encode()))
            for name, (before, after) in _CONNECTIONS.items()
        },
        "head in parts": Target(
            FIELD_BYTES // 2, Connection(b"GET / HTTP/1.1\r\nX: ", b"a" * 200, 1)
        ),
        "path": Target(TARGET_BYTES, _path),
        "signature": Target(HEAD_BYTES, _signature),
        "log line": Target(HEAD_BYTES, lambda data: token_scanner.redacted(data.decode("latin-1"))),
        "user agent": Target(HEAD_BYTES, lambda data: identity.printable(data.decode("latin-1"))),
        "lease": Target(BODY_BYTES, decode_lease),
        "verification": Target(BODY_BYTES, lambda data: verification.decode(data, lambda: "::1")),
        "parameters": Target(
            TARGET_BYTES, lambda data: verification.decode_parameters(data, "::1")
        ),
    }
    for endpoint in (*gateway.ENDPOINTS, *console.ENDPOINTS, *sharing.ENDPOINTS):
        if endpoint.body is not None:
            size, texts = BODY_BYTES + endpoint.body_extra_bytes, tuple(_members(endpoint.body))
            result[f"{endpoint.operation_id} body"] = Target(size, _body(endpoint), texts)
        if endpoint.query is not None:
            texts = tuple(f"{name}=" for name in endpoint.query.__struct_fields__)
            result[f"{endpoint.operation_id} query"] = Target(TARGET_BYTES, _query(endpoint), texts)
    return result


class Connection:
    """A connection that receives a beginning, an input and an end, with an application that
    responds to every request with 404 and logs it.
    """

    def __init__(self, before: bytes, after: bytes, part_bytes: int = 0) -> None:
        """part_bytes: size of the parts in which the end is received; 0: everything at once."""
        self._before, self._after = before, after
        self._part_bytes = part_bytes
        self._loop = asyncio.new_event_loop()
        observer = Observer("gateway", "info", "test", Stream(_Discarded()))
        self._addresses = ClientAddresses(())
        routes = Routes(Service(observer=observer, addresses=self._addresses, clock=Clock()))
        self._application = Application(observer, routes=routes)

    def __call__(self, data: bytes) -> None:
        start, size, after = self._before + data, self._part_bytes, self._after
        parts = [after[at : at + size] for at in range(0, len(after), size)] if size else []
        self._loop.run_until_complete(self._receive([start, *parts] if size else [start + after]))

    async def _receive(self, parts: list[bytes]) -> None:
        worker = Connections(ConnectionSettings(), self._addresses)
        protocol = HttpProtocol(self._application, worker, {})
        protocol.connection_made(_Transport())
        for part in parts:
            protocol.data_received(part)
        protocol.connection_lost(None)


class _Discarded(io.BytesIO):
    def write(self, data: Any) -> int:
        return len(data)


class _Transport(asyncio.Transport):
    _is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 4711) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self._is_closing = True

    def is_closing(self) -> bool:
        return self._is_closing

    def get_write_buffer_size(self) -> int:
        return 0


def adjusted(cpu_s: float) -> float:
    """A CPU time above BUDGET_S that was just measured, in proportion less if the processor is
    slower at present. Others are returned unchanged.
    """
    if cpu_s <= BUDGET_S:
        return cpu_s
    return cpu_s * min(1.0, _REFERENCE_S / min(_reference() for _ in range(3)))


def _reference() -> float:
    started = time.thread_time()
    body = msgspec.json.encode(["é" * 50] * 25_000)
    msgspec.json.decode(body)
    body.strip(b"[").decode()
    return time.thread_time() - started


def cpu_s(target: Target, shape: Shape, runs: int = 1) -> float:
    """The shortest CPU time of at most this number of runs, of which one within the budget is the
    last.
    """
    data, shortest = shape.of_size(target.bytes_max), float("inf")
    for _ in range(runs):
        started = time.process_time()
        try:
            target.run(data)
        except GatehouseError as error:
            asgi.problem(error, asgi.request_id())
        except ValueError:
            pass
        shortest = min(shortest, adjusted(time.process_time() - started))
        if shortest <= BUDGET_S:
            break
    return shortest


def stored() -> list[Shape]:
    return [Shape(*texts) for texts in json.loads(STORED.read_text())]


def _members(kind: Any) -> Iterator[str]:
    for part in validation.parts(msgspec.inspect.type_info(kind)):
        if isinstance(part, msgspec.inspect.StructType):
            for field in part.fields:
                yield f'{{"{field.encode_name}":'
                yield f',"{field.encode_name}":'


def _body(endpoint: Endpoint) -> Callable[[bytes], object]:
    def run(data: bytes) -> None:
        value = validation.small_value(data) if endpoint in console.ENDPOINTS else None
        try:
            value = validation.decode_json(data, endpoint.body)[1]
        finally:
            if endpoint in console.ENDPOINTS:
                with suppress(GatehouseError):
                    pipeline.reject_tokens(endpoint, {"body": value})

    return run


def _query(endpoint: Endpoint) -> Callable[[bytes], object]:
    return lambda data: validation.decode_query(data, endpoint.query)


def _path(data: bytes) -> None:
    with suppress(ValueError):
        forwarding.core_path(forwarding.CORES.encode() + data)
    RequestContext.logged(_CONTEXT, data)


def _signature(data: bytes) -> None:
    text = data.decode("latin-1")
    names = ("signature-input", "signature", "content-digest")
    for name in names:
        others = {
            "signature-input": 'sig=("@method");created=1;nonce="a"',
            "signature": "sig=:YQ==:",
        }
        fields = tuple((other, text if other == name else others.get(other, "")) for other in names)
        request = SignedRequest("POST", "https", "a", "/", "", fields, True, ())
        with suppress(http_signatures.Rejected):
            http_signatures.check(request, key_id="3fGh82kLmQ0a", public_key="A" * 43 + "=", now=1)


def search(target: Target, seconds: float) -> list[tuple[float, Shape]]:
    texts = (*_TEXTS, *target.texts)

    def piece() -> str:
        return "".join(_RANDOM.choices(texts, k=_RANDOM.randrange(4)))

    best = sorted(((cpu_s(target, shape), shape) for shape in stored()), reverse=True)[:_KEPT]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        shape = _RANDOM.choice(best)[1]
        name = _RANDOM.choice(Shape._fields)
        old = getattr(shape, name)
        at = _RANDOM.randrange(len(old) + 1)
        changed = _RANDOM.choice((piece(), old[:at] + piece(), old[:at] + piece() + old[at:]))
        shape = shape._replace(**{name: changed})
        best = sorted({*best, (cpu_s(target, shape), shape)}, reverse=True)[:_KEPT]
    return sorted(((cpu_s(target, shape, runs=3), shape) for _, shape in best), reverse=True)


def main() -> None:
    """Searches, prints the worst input of each target, and stores the worst ones of all."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz.cpu_time", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30, help="Duration for each target.")
    seconds: float = parser.parse_args().seconds
    worst: dict[Shape, float] = {}
    for name, target in targets().items():
        found = search(target, seconds)
        for cost, shape in found:
            worst[shape] = max(worst.get(shape, 0.0), cost / target.bytes_max)
        print(f"{name}: {found[0][0] * 1e3:.1f} ms, {found[0][1]!r}", flush=True)
    kept = sorted(worst, key=lambda shape: -worst[shape])[:_STORED_MAX]
    shapes = sorted({*stored(), *kept})
    STORED.write_text(json.dumps(shapes, indent=1) + "\n")


if __name__ == "__main__":
    main()
