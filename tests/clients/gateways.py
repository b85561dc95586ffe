"""A gateway in every state, on a real socket: one table of behaviour for the clients of all
languages.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.certificates import server_context

UNAVAILABLE, ERROR = "UNAVAILABLE", "error"
STEP_S = 0.02


def http(status: str, content: bytes = b"<html>", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def decision(code: str, *headers: str, **fields: Any) -> bytes:
    empty = dict.fromkeys(("reason", "key_id", "name", "customer_id", "environment", "scopes"))
    nulls = dict.fromkeys(("expires_at", "credits", "shared_credits"))
    others: dict[str, Any] = {**nulls, "limits": [], "staleness_ms": 0}
    last = {"decided_at": "2026-01-01T00:00:00Z", "request_id": "req_1"}
    document = {"valid": code == "VALID", "code": code, **empty, **others, **last, **fields}
    return http("200 OK", json.dumps(document).encode(), *headers)


def problem(status: str, location: str = "") -> bytes:
    errors = [{"location": location, "message": "is malformed"}] if location else []
    document = {"code": "bad_request", "detail": "malformed", "errors": errors}
    return http(status, json.dumps(document).encode())


def _repeated(request: bytes) -> str:
    """The request as it was sent, and the texts in its JSON."""
    body = json.dumps(json.loads(request.partition(b"\r\n\r\n")[2] or b"null"), ensure_ascii=False)
    return request.decode("utf-8", "replace") + body


def _hostile_problem(status: str) -> Callable[[bytes], bytes]:
    def answer(request: bytes) -> bytes:
        text = _repeated(request)
        error = {"location": text, "message": text, "fix": text}
        document = {"code": text, "detail": text, "request_id": text, "errors": [error]}
        return http(status, json.dumps(document).encode())

    return answer


def _line(request: bytes) -> str:
    return _repeated(request).replace("\r\n", " ").encode("ascii", "replace").decode()


@dataclass(frozen=True)
class State:
    """What a gateway answers, and the code of the result: ERROR if `verify` raises. An answer can
    depend on the request. retry_after: of the result, or of the response of middleware. tail: bytes
    that follow one by one, without end. later: the answers to the requests after the first one.
    """

    answer: bytes | Callable[[bytes], bytes]
    code: str
    retry_after: str = "1"
    tail: bytes = b""
    scheme: str = "http"
    ends: bool = False
    delay_s: float = 0.0
    later: tuple[bytes, ...] = ()


DATE = "Retry-After: Fri, 31 Dec 1999 23:59:59 GMT"
STATES = {
    "valid": State(decision("VALID"), "VALID"),
    "unknown key": State(decision("NOT_FOUND"), "NOT_FOUND"),
    "limit": State(decision("RATE_LIMITED", "Retry-After: 9"), "RATE_LIMITED", "9"),
    "later code": State(decision("NEW_CODE"), "NEW_CODE"),
    "no decision": State(decision(UNAVAILABLE, "Retry-After: 7"), UNAVAILABLE, "7"),
    "silent": State(b"", UNAVAILABLE),
    "head byte by byte": State(b"HTTP/1.1 200 OK\r\n", UNAVAILABLE, tail=b"a: b\r\n"),
    "body byte by byte": State(http("200 OK", b" " * 9999)[:-9999], UNAVAILABLE, tail=b" "),
    "closed": State(b"", UNAVAILABLE, ends=True),
    "truncated": State(decision("VALID")[:-3], UNAVAILABLE, ends=True),
    "not HTTP": State(b"SSH-2.0-x\r\n", UNAVAILABLE, ends=True),
    "not TLS": State(decision("VALID"), UNAVAILABLE, scheme="https", ends=True),
    "certificate": State(decision("VALID"), UNAVAILABLE, scheme="https"),
    "408": State(problem("408 Timeout"), UNAVAILABLE),
    "429": State(http("429 Wait", b"", "Retry-After: 7"), UNAVAILABLE, "7"),
    "500": State(problem("500 Error"), UNAVAILABLE),
    "503": State(http("503 Wait", b"", "Retry-After: 7"), UNAVAILABLE, "7"),
    "503, date": State(http("503 Wait", b"", DATE), UNAVAILABLE),
    "503, date without GMT": State(http("503 Wait", b"", "Retry-After: 2099-12-31"), UNAVAILABLE),
    "503, at once": State(http("503 Wait", b"", "Retry-After: 0"), UNAVAILABLE),
    "503, decimals": State(http("503 Wait", b"", "Retry-After: 7.5"), UNAVAILABLE),
    "503, malformed": State(http("503 Wait", b"", "Retry-After: soon"), UNAVAILABLE),
    "HTML": State(http("200 OK"), UNAVAILABLE),
    "empty": State(http("200 OK", b""), UNAVAILABLE),
    "204": State(b"HTTP/1.1 204 No Content\r\n\r\n", UNAVAILABLE),
    "null": State(http("200 OK", b"null"), UNAVAILABLE),
    "list": State(http("200 OK", b"[]"), UNAVAILABLE),
    "another document": State(http("200 OK", b"{}"), UNAVAILABLE),
    "no boolean": State(decision("VALID", valid="true"), UNAVAILABLE),
    "no text": State(http("200 OK", b"\xff\xfe"), UNAVAILABLE),
    "compressed": State(http("200 OK", b"\x1f\x8b", "Content-Encoding: gzip"), UNAVAILABLE),
    "400": State(problem("400 Bad Request"), ERROR),
    "302": State(http("302 Found", b"", "Location: /"), ERROR),
    "302, later": State(http("302 Found", b"", "Location: /", "Retry-After: 7"), ERROR, "7"),
    "403, later": State(http("403 Forbidden", b"", "Retry-After: 7"), ERROR, "7"),
    "401": State(http("401 Unauthorized"), ERROR),
    "403": State(http("403 Forbidden"), ERROR),
    "404": State(http("404 Not Found"), ERROR),
    "413": State(problem("413 Large"), ERROR),
    "too large": State(lambda _: http("200 OK", b" " * (65 * 1024 * 1024)), UNAVAILABLE, ends=True),
    "repeated in a problem": State(_hostile_problem("400 Bad Request"), ERROR),
    "repeated in an error": State(_hostile_problem("500 Error"), UNAVAILABLE),
    "repeated in a redirect": State(
        lambda request: http("302 Found", b"", f"Location: /{_line(request)}"), ERROR
    ),
    "repeated in HTML": State(
        lambda request: http("200 OK", b"<html>" + _repeated(request).encode()), UNAVAILABLE
    ),
    "repeated in JSON": State(
        lambda request: http("200 OK", json.dumps({_repeated(request): 1}).encode()), UNAVAILABLE
    ),
    "repeated in a header": State(
        lambda request: http("200 OK", b"", f"a: {_line(request)}"), UNAVAILABLE
    ),
    "repeated as a header": State(
        lambda request: http("200 OK", b"", _line(request)), UNAVAILABLE, ends=True
    ),
    "repeated as it is": State(lambda request: request, UNAVAILABLE, ends=True),
}


@dataclass
class Gateway:
    """Serves each state on a port of its own. received: requests of each state. most: maximum
    number of requests that were in progress at once.
    """

    folder: Path
    states: dict[str, State]
    urls: dict[str, str] = field(default_factory=dict)
    received: dict[str, list[bytes]] = field(default_factory=dict)
    connections: int = 0
    in_progress: int = 0
    most: int = 0

    async def serve(self) -> AsyncIterator[None]:
        servers = []
        tls = server_context(self.folder, "other.test")
        for name, state in self.states.items():
            secured = tls if name == "certificate" else None
            server = await asyncio.start_server(
                self._handler(name, state), "127.0.0.1", 0, ssl=secured, backlog=1024
            )
            servers.append(server)
            port = server.sockets[0].getsockname()[1]
            self.urls[name] = f"{state.scheme}://127.0.0.1:{port}"
        yield
        for server in servers:
            server.close()

    def _handler(self, name: str, state: State) -> Any:
        received = self.received.setdefault(name, [])

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    lines = head.lower().split(b"\r\n")
                    sizes = [int(line[15:]) for line in lines if line[:15] == b"content-length:"]
                    request = head + await reader.readexactly(sum(sizes))
                    later = state.later[: len(received)]
                    received.append(request)
                    self.in_progress += 1
                    self.most = max(self.most, self.in_progress)
                    await asyncio.sleep(state.delay_s)
                    self.in_progress -= 1
                    answer = later[-1] if later else state.answer
                    writer.write(answer if isinstance(answer, bytes) else answer(request))
                    while state.tail:
                        for byte in state.tail:
                            writer.write(bytes([byte]))
                            await writer.drain()
                            await asyncio.sleep(STEP_S)
                    if state.ends:
                        return
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                return
            finally:
                writer.close()

        return handle


@contextmanager
def serving(gateway: Gateway) -> Iterator[dict[str, str]]:
    """Serves in a thread. Yields the URL of each state, and of `refused`."""
    loop = asyncio.new_event_loop()
    states = gateway.serve()
    loop.run_until_complete(anext(states))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        try:
            yield {**gateway.urls, "refused": f"http://127.0.0.1:{closed.getsockname()[1]}"}
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(anext(states, None))
    loop.close()
