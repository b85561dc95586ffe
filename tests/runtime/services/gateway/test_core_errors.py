"""Errors of Cores that Envoy responds with, which tell their causes apart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from gatehouse.services.gateway.completions import problem_of

from sandbox import ports
from tests.runtime.services.gateway.conftest import Gateway, read_reply, serving

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


async def test_body_without_progress_is_ended(gateway: Gateway) -> None:
    async with core(None) as url, gateway.core(url, response_timeout_s=1) as key:
        lines = ("PUT /cores/docs/x HTTP/1.1", "Host: g", key.header, "Content-Length: 9", "", "")
        async with gateway.connection("\r\n".join(lines).encode()) as (reader, writer):
            for _ in range(2):
                writer.write(b"a")
                await writer.drain()
            assert (await read_reply(reader)).status in (408, 504)
