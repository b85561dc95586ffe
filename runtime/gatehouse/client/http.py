"""Sends HTTP requests for the clients, with retries and with typed errors from problem documents.

The clients retry idempotent methods (GET, HEAD, PUT, DELETE), requests with an Idempotency-Key, and
requests that were never sent. The wait grows exponentially with jitter and is not shorter than
Retry-After (RFC 9110, section 10.2.3). If Retry-After exceeds `wait_s_max`, the client raises the
error instead.
"""

import random
import re
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import http_sf
import httpx
import msgspec

from gatehouse import __version__
from gatehouse.core.errors import BadRequest, GatehouseError, Problem, Unavailable
from gatehouse.platform.trusted_certificates import tls_context

#: A revocation waits for every gateway, up to the propagation bound, which can be up to one minute.
TIMEOUT_S = 75.0
CONNECT_TIMEOUT_S = 5.0
RESPONSE_BYTES_MAX = 64 * 1024 * 1024
IDEMPOTENCY_KEY = "Idempotency-Key"
_IDEMPOTENT = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_RETRYABLE_STATUSES = frozenset({429, 502, 503, 504})
_LOCAL = re.compile(r"https?://(localhost|127\.[0-9.]+|\[::1\])(:|/|\Z)")
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class Retries:
    """Retry policy. `attempts` includes the first attempt. `wait_s` is the wait before the second
    attempt and doubles for each further attempt."""

    attempts: int = 4
    wait_s: float = 0.25
    wait_s_max: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random  # 0 to 1

    def wait(self, attempt: int, retry_after_s: float | None) -> float | None:
        """Return the seconds to wait after the failed attempt number `attempt`, or None to give
        up.
        """
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
    """Return the seconds to wait after consecutive failures. `wait_s` doubles up to `wait_s_max`.
    `jitter` is from 0 to 1.
    """
    return min(wait_s_max, wait_s * 2.0 ** min(failures - 1, 30)) * (0.5 + jitter / 2)


class Client:
    """Base class of the clients. Close a client after use, or use the client as a context manager.

    service: name of the service in error messages, such as `console`.
    transport: HTTP transport for tests.
    """

    def __init__(
        self,
        service: str,
        url: str,
        headers: dict[str, str],
        retries: Retries | None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._service = service
        self.url = url.rstrip("/")
        self._retries = retries or Retries()
        try:
            self._client = httpx.Client(
                base_url=self.url,
                headers={
                    "User-Agent": f"gatehouse-client/{__version__}",
                    "Accept-Encoding": "identity",
                    **headers,
                },
                timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                follow_redirects=False,  # a redirect must not send the credential to another host
                verify=tls_context(self.url, trust_env=True),
                transport=transport,
                trust_env=uses_proxy(self.url),
            )
        except (httpx.InvalidURL, ImportError, OSError, ValueError) as exc:
            raise BadRequest(
                "a variable of the environment for proxies or certificates is not valid: "
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
            ) from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def _send(
        self, method: str, path: str, *, retryable: bool = False, **arguments: Any
    ) -> httpx.Response:
        """Send a request and return the successful response. `retryable`: the request is idempotent
        even if its method is not.

        Raises the GatehouseError for the problem document, Unavailable if there is no valid
        response, and BadRequest if the URL of the service is invalid.
        """
        retryable = retryable or method in _IDEMPOTENT
        attempt = 1
        while True:
            delay_s: float | None = None
            try:
                with self._client.stream(method, path, **arguments) as streamed:
                    reply = _received(streamed)
            except httpx.InvalidURL as exc:
                raise BadRequest(f"{self.url} is not a valid URL of a {self._service}") from exc
            except httpx.HTTPError as exc:
                failure = self._unavailable(exc)
                may_retry = retryable or isinstance(exc, _NEVER_SENT)
            else:
                if reply.is_success:
                    return reply
                failure, delay_s = problem(reply, self._service), retry_after_s(reply)
                # The first request with this Idempotency-Key is still being processed.
                in_progress = failure.code == "request_in_progress"
                may_retry = retryable and (reply.status_code in _RETRYABLE_STATUSES or in_progress)
            wait_s = self._retries.wait(attempt, delay_s) if may_retry else None
            if wait_s is None:
                raise failure
            self._retries.sleep(wait_s)
            attempt += 1

    def _send_once(self, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        """Send a POST request that takes effect only once, and return the response. `key`: the
        Idempotency-Key. Default: a random key. Raises BadRequest if the key is malformed, and the
        errors of `_send`."""
        try:
            value = http_sf.ser(str(uuid.uuid4()) if key is None else key)
        except ValueError:
            raise BadRequest("An idempotency key must be printable ASCII characters.") from None
        headers = {**arguments.pop("headers", {}), IDEMPOTENCY_KEY: value}
        return self._send("POST", path, retryable=True, headers=headers, **arguments)

    def _stream(self, method: str, path: str, **arguments: Any) -> Iterator[bytes]:
        """Yield the body of a response in chunks. Never retries, because the caller may already
        have used some chunks.

        Raises the GatehouseError for the problem document, and Unavailable if the connection fails.
        """
        try:
            with self._client.stream(method, path, **arguments) as reply:
                if not reply.is_success:
                    raise problem(_received(reply), self._service)
                yield from _parts(reply)
        except httpx.HTTPError as exc:
            raise Unavailable(
                f"the download from {self.url} was interrupted: {_reason(exc)}"
            ) from exc

    def _unavailable(self, exc: httpx.HTTPError) -> GatehouseError:
        if isinstance(exc, httpx.TimeoutException):
            failure = Unavailable(f"the {self._service} at {self.url} did not respond in time")
        else:
            failure = Unavailable(f"cannot reach the {self._service} at {self.url}: {_reason(exc)}")
        failure.__cause__ = exc
        return failure

    def _decode(self, response: type[_Response], reply: httpx.Response) -> _Response:
        try:
            return msgspec.json.decode(reply.content or b"null", type=response)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            text = (
                f"{self.url} returned an unexpected response: is it a {self._service} of "
                f"this version?"
            )
            raise Unavailable(text) from exc


class _Problem(msgspec.Struct):
    """The members of a problem document that clients of all versions use."""

    code: str
    detail: str = ""
    request_id: str = ""
    errors: tuple[Problem, ...] = ()


def problem(reply: httpx.Response, service: str) -> GatehouseError:
    """Return the error for a response, selected by the `code` in the body or otherwise by the
    status.
    """
    status = reply.status_code
    kinds = [kind for kind in _subclasses(GatehouseError) if kind.status == status]
    # The first of several errors with a status is the general one.
    general = kinds[0] if kinds and status < 500 else Unavailable
    try:
        document = msgspec.json.decode(reply.content, type=_Problem)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return general(f"the {service} returned {status} without a problem document: check its URL")
    kind = next((kind for kind in kinds if kind.code == document.code), general)
    return kind(document.detail, detail=document.request_id, errors=document.errors)


def _received(reply: httpx.Response) -> httpx.Response:
    """Return the response with its body, which has at most RESPONSE_BYTES_MAX. Raises
    HTTPError.
    """
    content = bytearray()
    for part in _parts(reply):
        content += part
        if len(content) > RESPONSE_BYTES_MAX:
            raise httpx.ReadError("the response is too large")
    return httpx.Response(reply.status_code, headers=reply.headers, content=bytes(content))


def _parts(reply: httpx.Response) -> Iterator[bytes]:
    """Return the parts of a body. Raises HTTPError if it is compressed: a few bytes could take
    gigabytes.
    """
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("the response is compressed")
    return reply.iter_bytes()


def retry_after_s(reply: httpx.Response) -> float | None:
    """Return Retry-After in seconds, or None if the header is missing or not a number."""
    text = reply.headers.get("retry-after", "").strip()
    return float(text[:9]) if text.isascii() and text.isdecimal() else None


def _subclasses(kind: type[GatehouseError]) -> Iterator[type[GatehouseError]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _reason(exc: httpx.HTTPError) -> str:
    """Return the text of a connection error, which contains at most an address."""
    return str(exc) or type(exc).__name__
