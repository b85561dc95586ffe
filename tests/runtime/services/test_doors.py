"""What is refused is refused in the same way at each door: of each service, over HTTP/1.0, HTTP/1.1
and HTTP/2, with a problem document and without a retry.
"""

import asyncio
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events
import pytest
from gatehouse.platform.header_limits import BYTES_MAX, FIELDS_MAX
from gatehouse.services.gateway.check import TARGET_BYTES_MAX

from tests.runtime.features.secrets.conftest import aws
from tests.runtime.services.gateway.conftest import (
    Core,
    Gateway,
    Key,
    Reply,
    core,
    docs,
    gateway,
    gateway_process,
    module_gateway,
    read_reply,
)
from tests.runtime.services.test_processes import Services, services

__all__ = ["aws", "core", "docs", "gateway", "gateway_process", "module_gateway", "services"]

VERSIONS = ("1.0", "1.1", "2")
CORES = ("path", "host")
DOORS = ("worker", "verify", "authorize", "agents", *CORES, "console", "sharing")


class Request(NamedTuple):
    method: bytes = b"GET"
    target: bytes = b""
    fields: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""


class Rule(NamedTuple):
    """valid: a request that the rule just permits. refused: one that it just refuses, with this
    status and code. versions, doors: where the rule applies.
    """

    name: str
    valid: Request
    refused: Request
    status: int
    code: str
    versions: tuple[str, ...] = VERSIONS
    doors: tuple[str, ...] = DOORS


def fields(number: int, size: int = 0) -> Request:
    """A request with a number of fields, or with this number of bytes of names and values. The
    field of the host is one of them.
    """
    rest = [(b"x-%04d" % each, b"") for each in range(number - 1)]
    size -= len(b"host") + len(HOST) + 6 * len(rest)
    lengths = [max(0, min(8000, size - 8000 * each)) for each in range(len(rest))]
    return Request(
        fields=tuple((name, b"a" * x) for (name, _), x in zip(rest, lengths, strict=True))
    )


HOST, HOST_OF_CORE = b"gateway.example", b"docs.cores.test"  # of the same length
LENGTH, CODING = b"content-length", b"transfer-encoding"
RULES = (
    Rule("number of fields", fields(FIELDS_MAX), fields(FIELDS_MAX + 1), 431, "headers_too_large"),
    Rule("many fields", fields(FIELDS_MAX), fields(4 * FIELDS_MAX), 431, "headers_too_large"),
    Rule("bytes", fields(20, BYTES_MAX), fields(20, BYTES_MAX + 1), 431, "headers_too_large"),
    Rule("many bytes", fields(20, BYTES_MAX), fields(20, 100_000), 431, "headers_too_large"),
    *(
        Rule(f"method {method.decode()}", Request(), Request(method), 400, "bad_request")
        for method in (b"FOO", b"get", b"PRI", b"M-FOO")
    ),
    *(
        Rule(f"target {target!r}", Request(target=b"/%C3%BC?%C3%BC"), Request(target=target), *rest)
        for target in (b"/\xc3\xbc", b"/a?\xfc", b"/\x80", b"/\xff\xff?a")
        for rest in [(400, "bad_request")]
    ),
    Rule(
        "length of the target",
        Request(target=b"/" + b"a" * (TARGET_BYTES_MAX - 30)),
        Request(target=b"/" + b"a" * TARGET_BYTES_MAX),
        *(414, "target_too_long", VERSIONS, CORES),
    ),
    *(
        Rule(
            f"transfer coding {coding.decode()}",
            Request(fields=((CODING, b"chunked"),), body=b"0\r\n\r\n"),
            Request(fields=((CODING, coding),), body=b"0\r\n\r\n"),
            *(400, "bad_request", ("1.1",)),
        )
        for coding in (b"gzip, chunked", b"identity", b"xchunked", b"chunked, chunked", b"gzip")
    ),
    Rule(
        "WebSocket",
        Request(fields=((b"connection", b"upgrade"), (b"upgrade", b"h2c"))),
        Request(fields=((b"connection", b"upgrade"), (b"upgrade", b"WebSocket"))),
        *(400, "bad_request", ("1.1",)),
        tuple(door for door in DOORS if door not in CORES),
    ),
    Rule(
        "length with a zero",
        Request(fields=((LENGTH, b"0"),)),
        Request(fields=((LENGTH, b"00"),)),
        *(400, "bad_request"),
    ),
    Rule(
        "character of a value",
        Request(fields=((b"x-a", b"a\tb"),)),
        Request(fields=((b"x-a", b"a\x00b"),)),
        *(400, "bad_request", ("1.0", "1.1")),
    ),
    Rule(
        "character of a name",
        Request(fields=((b"x-a!", b"a"),)),
        Request(fields=((b"x a", b"a"),)),
        *(400, "bad_request", ("1.0", "1.1")),
    ),
)


CASES = [
    pytest.param(door, rule, version, id=f"{door}-{rule.name}-{version}")
    for rule in RULES
    for door in rule.doors
    for version in rule.versions
]


@pytest.fixture
def door(
    request: Any, gateway: Gateway, docs: Any, services: Services
) -> tuple[str, Gateway, bytes]:
    """Name, gateway with the port, and beginning of the path."""
    name = request.param
    if name in ("console", "sharing"):
        port = int(getattr(services, name).rpartition(":")[2])
        return name, gateway.on_port(port), b"/v1/keys" if name == "console" else b"/v1/links"
    paths = {
        "worker": b"/healthz",
        "verify": b"/v1/keys/verify",
        "authorize": b"/v1/keys/authorize",
        "agents": b"/v1/cores/docs",
        "path": b"/cores/docs",
        "host": b"",
    }
    return name, gateway, paths[name]


@pytest.fixture(scope="module")
async def key(module_gateway: Gateway) -> Key:
    return await module_gateway.create_key()


@pytest.mark.parametrize(("door", "rule", "version"), CASES, indirect=["door"])
async def test_refusal_is_the_same_at_each_door(
    door: tuple[str, Gateway, bytes], key: Key, core: Core, rule: Rule, version: str
) -> None:
    name, service, path = door
    host = HOST_OF_CORE if name == "host" else HOST
    own = (
        ()
        if "field" in rule.name or "bytes" in rule.name
        else ((b"x-api-key", key.token.encode()),)
    )
    valid = await send(service.port, version, host, path, rule.valid, own)
    assert valid.status < 500
    assert valid.status not in (rule.status, 400)
    refused = await send(service.port, version, host, path, rule.refused, own)
    problem = refused.json
    assert (refused.status, problem["code"]) == (rule.status, rule.code)
    assert refused.header("content-type") == "application/problem+json"
    assert refused.header("x-request-id") == problem["request_id"]
    assert await retries(service) == 0


async def retries(service: Gateway) -> float:
    page = (await service.request("GET", "/metrics")).body.decode()
    lines = [line for line in page.splitlines() if "upstream_rq_retry" in line and line[0] != "#"]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def send(
    port: int, version: str, host: bytes, path: bytes, request: Request, own: Any
) -> Reply:
    target = path + (request.target or (b"/" if not path else b""))
    sent = request._replace(target=target, fields=(*own, *request.fields))
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if version == "2":
                return await _http2(reader, writer, host, sent)
            lines = [b"%b %b HTTP/%b" % (sent.method, target, version.encode()), b"host: " + host]
            lines += [b"%b: %b" % field for field in sent.fields]
            writer.write(b"\r\n".join([*lines, b"", sent.body]))
            return await read_reply(reader)
        finally:
            writer.close()


async def _http2(reader: Any, writer: Any, host: bytes, request: Request) -> Reply:
    """A response over HTTP/2 with prior knowledge. Status 0: the stream was reset."""
    configuration = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"
    )
    connection = h2.connection.H2Connection(configuration)
    connection.initiate_connection()
    pseudo = ((b":method", request.method), (b":scheme", b"http"), (b":authority", host))
    head = [*pseudo, (b":path", request.target), *request.fields]
    connection.send_headers(1, head, end_stream=not request.body)
    if request.body:
        connection.send_data(1, request.body, end_stream=True)
    status, found, body = 0, list[tuple[str, str]](), b""
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(65536)
        events = connection.receive_data(data) if data else [None]
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                found = [(str(name), str(value)) for name, value in event.headers]
                status = int(dict(found)[":status"])
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
            elif event is None or isinstance(
                event,
                h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated,
            ):
                return Reply(status, found, body)
