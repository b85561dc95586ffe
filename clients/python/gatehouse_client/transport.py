"""Sends HTTP requests for the clients, with retries and with typed errors.

The clients repeat idempotent methods (GET, HEAD, PUT, DELETE), requests with an Idempotency-Key,
and requests that were never sent. The wait grows exponentially with jitter and is not shorter than
Retry-After (RFC 9110, section 10.2.3). If Retry-After exceeds `wait_s_max`, the client raises the
error instead.
"""

import asyncio
import random
import re
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Self, TypeVar

import httpx
import msgspec

from gatehouse_client.errors import ApiError, BadRequest, Unavailable, problem

VERSION = version("gatehouse-client")
CONNECT_TIMEOUT_S = 5.0
RESPONSE_BYTES_MAX = 64 * 1024 * 1024
IDEMPOTENCY_KEY = "Idempotency-Key"
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})
_LOCAL = re.compile(r"https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|\Z)")

#: The errors after which a request is sent again: of a request that was never sent, of one whose
#: connection was lost, and every error.
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
CONNECTION_LOST = (httpx.NetworkError, httpx.RemoteProtocolError)
ANY_ERROR = (httpx.HTTPError,)
RepeatedAfter = tuple[type[httpx.HTTPError], ...]

_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class Retries:
    """Retry policy. `attempts` includes the first attempt. `wait_s` is the wait before the second
    attempt and doubles for each further attempt."""

    attempts: int = 4
    wait_s: float = 0.25
    wait_s_max: float = 20.0
    sleep: Callable[[float], None] = time.sleep  # the asynchronous clients use asyncio.sleep
    jitter: Callable[[], float] = random.random  # 0 to 1

    def wait(self, attempt: int, retry_after_s: float | None) -> float | None:
        """The seconds to wait after the failed attempt number `attempt`, or None to give up."""
        if attempt >= self.attempts or (
            retry_after_s is not None and retry_after_s > self.wait_s_max
        ):
            return None
        return max(
            backoff_s(attempt, self.jitter(), wait_s=self.wait_s, wait_s_max=self.wait_s_max),
            retry_after_s or 0.0,
        )


def uses_proxy(url: str) -> bool:
    """False for a server on this machine, whose credential must reach no proxy."""
    return _LOCAL.match(url) is None


def backoff_s(failures: int, jitter: float, *, wait_s: float, wait_s_max: float) -> float:
    """The seconds to wait after consecutive failures. `wait_s` doubles up to `wait_s_max`.
    `jitter` is from 0 to 1.
    """
    return min(wait_s_max, wait_s * 2.0 ** min(failures - 1, 30)) * (0.5 + jitter / 2)


@dataclass(slots=True)
class _Attempts:
    """The attempts of one request: decides about the next one after each."""

    service: str
    url: str
    retries: Retries
    repeated_after: RepeatedAfter
    count: int = 0

    def after_error(self, exc: httpx.HTTPError) -> float:
        """The seconds until the next attempt. Raises Unavailable if there is none."""
        self.count += 1
        return self._wait(
            unavailable(self.service, self.url, exc),
            exc,
            repeated=isinstance(exc, self.repeated_after),
        )

    def after_reply(self, reply: httpx.Response) -> float | None:
        """None if the response is successful. Otherwise, the seconds until the next attempt.
        Raises the error of the response if there is none.
        """
        if reply.is_success:
            return None
        self.count += 1
        failure = problem(reply, self.service)
        # The first request with this Idempotency-Key is still being processed.
        in_progress = failure.code == "request_in_progress"
        repeated = self.repeated_after is not NEVER_SENT
        repeated = repeated and (reply.status_code in _RETRYABLE_STATUSES or in_progress)
        return self._wait(failure, None, repeated=repeated)

    def _wait(self, failure: ApiError, cause: Exception | None, *, repeated: bool) -> float:
        wait_s = self.retries.wait(self.count, failure.retry_after_s) if repeated else None
        if wait_s is None:
            raise failure from cause
        return wait_s


class _Base:
    """What the synchronous and the asynchronous clients have in common."""

    def __init__(self, service: str, url: str, retries: Retries) -> None:
        self._service = service
        self.url = url.rstrip("/")
        self._retries = retries

    def _options(
        self, headers: dict[str, str], timeout_s: float, transport: object
    ) -> dict[str, Any]:
        """The arguments of the httpx client."""
        local = self.url.startswith("http://")
        return {
            "base_url": self.url,
            "headers": {
                "User-Agent": f"gatehouse-client/{VERSION}",
                "Accept-Encoding": "identity",
                **headers,
            },
            "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            "follow_redirects": False,  # a redirect must not send the credential to another host
            # Reading the trusted certificates takes about 40 ms.
            "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            if local
            else httpx.create_ssl_context(),
            "transport": transport,
            "trust_env": uses_proxy(self.url),
        }

    def _attempts(self, method: str, repeated_after: RepeatedAfter | None) -> _Attempts:
        default = ANY_ERROR if method in _IDEMPOTENT else NEVER_SENT
        return _Attempts(self._service, self.url, self._retries, repeated_after or default)

    def _invalid_url(self, exc: Exception) -> BadRequest:
        error = BadRequest(f"{self.url} is not a valid URL of a {self._service}")
        error.__cause__ = exc
        return error

    def _decode(self, response: type[_Response], reply: httpx.Response) -> _Response:
        try:
            return msgspec.json.decode(reply.content or b"null", type=response)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            text = (
                f"{self.url} returned an unexpected response: is it a {self._service} of "
                f"this version?"
            )
            raise Unavailable(text, status=reply.status_code) from exc


class Client(_Base):
    """Base of the synchronous clients. Close a client after use, or use it as a context manager."""

    def __init__(
        self,
        service: str,
        url: str,
        headers: dict[str, str],
        retries: Retries,
        *,
        timeout_s: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(service, url, retries)
        try:
            self._client = httpx.Client(**self._options(headers, timeout_s, transport))
        except _INVALID_ENVIRONMENT as exc:
            raise BadRequest(_ENVIRONMENT) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def _send(
        self, method: str, path: str, repeated_after: RepeatedAfter | None = None, **arguments: Any
    ) -> httpx.Response:
        """Sends a request and returns the successful response. repeated_after: the errors after
        which the request is sent again. Default: every error for an idempotent method.

        Raises the ApiError of the problem document, Unavailable if there is no valid response, and
        BadRequest if the URL of the service is invalid.
        """
        attempts = self._attempts(method, repeated_after)
        while True:
            wait_s: float | None
            try:
                with self._client.stream(method, path, **arguments) as streamed:
                    reply = _whole(streamed, b"".join(_limited(_parts(streamed))))
            except httpx.InvalidURL as exc:
                raise self._invalid_url(exc) from None
            except httpx.HTTPError as exc:
                wait_s = attempts.after_error(exc)
            else:
                wait_s = attempts.after_reply(reply)
                if wait_s is None:
                    return reply
            self._retries.sleep(wait_s)

    def _stream(self, method: str, path: str, **arguments: Any) -> Iterator[bytes]:
        """Yields the body of a response in chunks. Never retries, because the caller may already
        have used some chunks.

        Raises the ApiError of the problem document, and Unavailable if the connection fails.
        """
        try:
            with self._client.stream(method, path, **arguments) as streamed:
                if not streamed.is_success:
                    content = b"".join(_limited(_parts(streamed)))
                    raise problem(_whole(streamed, content), self._service)
                yield from _parts(streamed)
        except httpx.HTTPError as exc:
            text = f"the download from {self.url} was interrupted: {_reason(exc)}"
            raise Unavailable(text) from exc


class AsyncClient(_Base):
    """Base of the asynchronous clients. Close a client after use with `await client.aclose()`, or
    use it with `async with`.
    """

    def __init__(
        self,
        service: str,
        url: str,
        headers: dict[str, str],
        retries: Retries,
        *,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(service, url, retries)
        try:
            self._client = httpx.AsyncClient(**self._options(headers, timeout_s, transport))
        except _INVALID_ENVIRONMENT as exc:
            raise BadRequest(_ENVIRONMENT) from exc

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _send(
        self, method: str, path: str, repeated_after: RepeatedAfter | None = None, **arguments: Any
    ) -> httpx.Response:
        """As `Client._send`."""
        attempts = self._attempts(method, repeated_after)
        while True:
            wait_s: float | None
            try:
                async with self._client.stream(method, path, **arguments) as streamed:
                    reply = await self._received(streamed)
            except httpx.InvalidURL as exc:
                raise self._invalid_url(exc) from None
            except httpx.HTTPError as exc:
                wait_s = attempts.after_error(exc)
            else:
                wait_s = attempts.after_reply(reply)
                if wait_s is None:
                    return reply
            await asyncio.sleep(wait_s)

    async def _stream(self, method: str, path: str, **arguments: Any) -> AsyncIterator[bytes]:
        """As `Client._stream`."""
        try:
            async with self._client.stream(method, path, **arguments) as streamed:
                if not streamed.is_success:
                    raise problem(await self._received(streamed), self._service)
                _check_encoding(streamed)
                async for part in streamed.aiter_bytes():
                    yield part
        except httpx.HTTPError as exc:
            text = f"the download from {self.url} was interrupted: {_reason(exc)}"
            raise Unavailable(text) from exc

    async def _received(self, streamed: httpx.Response) -> httpx.Response:
        _check_encoding(streamed)
        content = bytearray()
        async for part in streamed.aiter_bytes():
            content += part
            _check_size(len(content))
        return _whole(streamed, bytes(content))


def idempotency_key(key: str | None) -> dict[str, str]:
    """The header of a POST request that takes effect only once. key: default: a random key. Raises
    BadRequest if the key is malformed.
    """
    value = str(uuid.uuid4()) if key is None else key
    if not (value.isascii() and value.isprintable()):
        raise BadRequest("An idempotency key must be printable ASCII characters.")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return {IDEMPOTENCY_KEY: f'"{escaped}"'}  # a String (RFC 9651, section 3.3.3)


def unavailable(service: str, url: str, exc: httpx.HTTPError) -> Unavailable:
    """The error for a request without a valid response."""
    if isinstance(exc, httpx.TimeoutException):
        return Unavailable(f"the {service} at {url} did not respond in time")
    return Unavailable(f"cannot reach the {service} at {url}: {_reason(exc)}")


def _parts(streamed: httpx.Response) -> Iterator[bytes]:
    _check_encoding(streamed)
    return streamed.iter_bytes()


def _limited(parts: Iterator[bytes]) -> Iterator[bytes]:
    size = 0
    for part in parts:
        size += len(part)
        _check_size(size)
        yield part


def _check_encoding(streamed: httpx.Response) -> None:
    """Raises HTTPError if a body is compressed: a few bytes could take gigabytes."""
    if streamed.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("the response is compressed")


def _check_size(size: int) -> None:
    if size > RESPONSE_BYTES_MAX:
        raise httpx.ReadError("the response is too large")


def _whole(streamed: httpx.Response, content: bytes) -> httpx.Response:
    return httpx.Response(streamed.status_code, headers=streamed.headers, content=content)


def _reason(exc: httpx.HTTPError) -> str:
    """The text of a connection error, which contains at most an address."""
    return str(exc) or type(exc).__name__


_INVALID_ENVIRONMENT = (httpx.InvalidURL, ImportError, OSError, ValueError)
_ENVIRONMENT = (
    "a variable of the environment for proxies or certificates is not valid: HTTP_PROXY, "
    "HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
)
