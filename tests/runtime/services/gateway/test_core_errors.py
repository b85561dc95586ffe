"""Errors of Cores that Envoy responds with, which tell their causes apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gatehouse.services.gateway.completions import problem_of

from sandbox import ports
from tests.runtime.services.gateway.conftest import LARGE, Gateway, large_core, read_reply, serving

MALFORMED = (
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(300)) + b"\r\n",
    b"HTTP/1.1 200 OK\r\nx: " + b"a" * 200_000 + b"\r\n\r\n",
)


@asynccontextmanager
async def core(response: Any) -> AsyncIterator[str]:
    """A Core that responds with these bytes and closes the connection. None: never responds. `tls`:
    without TLS, which its URL requires. `refused`: does not listen.
    """
    if response == "refused":
        yield f"http://127.0.0.1:{ports.free_port()}"
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (reader.read(1) if response == "tls" else reader.readuntil(b"\r\n\r\n"))
        if response is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" if response == "tls" else response)
        writer.close()

    async with serving(serve) as port:
        yield f"http{'s' * (response == 'tls')}://127.0.0.1:{port}"


CASES = [
    *((response, 502, "core_malformed", "malformed") for response in MALFORMED),
    (b"", 502, "core_unreachable", "closed"),
    ("refused", 502, "core_unreachable", "refused"),
    ("tls", 502, "core_unreachable", "tls"),
    (None, 504, "core_timeout", "timeout"),
]


@pytest.mark.parametrize("error_format", ["problem", "openai"])
@pytest.mark.parametrize(("response", "status", "code", "problem"), CASES)
async def test_error_names_the_cause(
    gateway: Gateway, response: Any, status: int, code: str, problem: str, error_format: str
) -> None:
    async with (
        core(response) as url,
        gateway.core(url, response_timeout_s=1, error_format=error_format) as key,
    ):
        for method in ("GET", "POST"):
            reply = await gateway.request(method, "/cores/docs/x", key.header, body=b"")
            document = reply.json.get("error", reply.json)
            assert (reply.status, document["code"]) == (status, code)
            assert (error_format == "openai") is ("error" in reply.json)
            request_id = reply.header("x-request-id") or ""
            [line] = await gateway.lines_with(request_id=request_id, event="request")
            assert problem_of(line["detail"]) == problem, line["detail"]


@pytest.mark.parametrize("ends", ["none", "all"])
async def test_client_can_pause_for_longer_than_the_core(gateway: Gateway, ends: str) -> None:
    """ends: `all` for a request that passes the relay."""
    async with large_core(gateway, end_on_revocation=ends) as key:
        head = f"GET /cores/docs/x HTTP/1.1\r\nHost: a\r\n{key.header}\r\n\r\n".encode()
        async with gateway.connection(head) as (reader, writer):
            transport: Any = writer.transport
            transport.pause_reading()
            for _ in range(2):  # until the time of the Core is over, twice
                assert (await gateway.get("/cores/docs/silent", key.header)).status == 504
            transport.resume_reading()
            assert len((await read_reply(reader)).body) == LARGE


async def test_end_of_a_response_can_be_read_late(gateway: Gateway) -> None:
    """Envoy closes the connection when it has sent the response."""
    async with large_core(gateway) as key:
        lines = ("GET /cores/docs/x HTTP/1.1", "Host: a", key.header, "Connection: close", "", "")
        async with gateway.connection("\r\n".join(lines).encode()) as (reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(LARGE - 2_000_000)
            transport: Any = writer.transport
            transport.pause_reading()
            for _ in range(2):
                assert (await gateway.get("/cores/docs/silent", key.header)).status == 504
            transport.resume_reading()
            assert len(await reader.read()) == 2_000_000
