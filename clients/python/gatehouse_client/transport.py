"""Sends HTTP requests for the clients, with retries and with typed errors.

The clients repeat idempotent methods (GET, HEAD, PUT, DELETE), requests with an Idempotency-Key,
and requests that were never sent. The wait grows exponentially with jitter and is not shorter than
Retry-After (RFC 9110, section 10.2.3). If Retry-After exceeds `wait_s_max`, the client raises the
error instead.
"""

import math
import random
import re
import ssl
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import httpx
import msgspec

from gatehouse_client.credentials import base_url, check_url, not_unicode, redacted, secrets_in
from gatehouse_client.errors import ApiError, BadRequest, Reply, Unavailable, problem, retry_after_s

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

#: The errors of the library for a request that cannot be sent, and all errors.
_INVALID = (httpx.InvalidURL, httpx.LocalProtocolError, httpx.UnsupportedProtocol, UnicodeError)
FAILURES = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)
_Failure = httpx.HTTPError | httpx.InvalidURL | UnicodeError


class _TooLarge(httpx.ReadError):
    pass


_REASONS: dict[type[Exception], str] = {
    _TooLarge: "the response is too large",
    httpx.ProxyError: "the proxy refused the connection",
    httpx.RemoteProtocolError: "the connection was closed, or the response is not valid HTTP",
    httpx.DecodingError: "the response is compressed",
    httpx.ConnectError: "the connection failed",
    httpx.NetworkError: "the connection was lost",
    httpx.LocalProtocolError: "a header is malformed",
    httpx.InvalidURL: "the path or the query is malformed",
    httpx.UnsupportedProtocol: "the protocol is not supported",
}

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
class Attempts:
    """The attempts of one request: decides about the next one after each."""

    service: str
    url: str
    retries: Retries
    repeated_after: RepeatedAfter
    credential: str = field(repr=False)
    arguments: dict[str, Any] = field(repr=False)  # of the request
    count: int = 0
    failure: ApiError | None = None
    repeated: bool = False
    deadline: float = math.inf  # of `time.monotonic`

    def fail(self, exc: _Failure) -> None:
        """Records an error of the library for `wait_s`."""
        self.failure = self.failed(exc)
        self.repeated = isinstance(exc, self.repeated_after) and not isinstance(exc, _INVALID)

    def reject(self, reply: Reply) -> None:
        """Records a response that is not successful for `wait_s`."""
        self.failure = problem(reply, self.service, self.redact)
        # The first request with this Idempotency-Key is still being processed.
        in_progress = self.failure.code == "request_in_progress"
        self.repeated = self.repeated_after is not NEVER_SENT and (
            reply.status_code in _RETRYABLE_STATUSES or in_progress
        )

    def wait_s(self) -> float:
        """The seconds until the next attempt. Raises the recorded error if there is none. Called
        after the error of the library was handled, so that it is no part of the traceback.
        """
        assert self.failure is not None  # noqa: S101 - recorded before
        self.count += 1
        wait_s = None
        if self.repeated:
            wait_s = self.retries.wait(self.count, self.failure.retry_after_s)
        if wait_s is None or time.monotonic() + wait_s >= self.deadline:
            raise self.failure
        self.failure = None
        return wait_s

    def failed(self, exc: _Failure) -> ApiError:
        """The error for a request without a valid response: BadRequest if it cannot be sent."""
        if isinstance(exc, UnicodeError):
            return not_unicode(self.arguments.get("json"))
        if isinstance(exc, _INVALID):
            return BadRequest(f"the request to {self.url} is not valid: {reason(exc)}")
        if isinstance(exc, httpx.TimeoutException):
            return Unavailable(f"the {self.service} at {self.url} did not respond in time")
        return Unavailable(f"cannot reach the {self.service} at {self.url}: {reason(exc)}")

    def interrupted(self, exc: _Failure) -> ApiError:
        """As `failed`, for a download."""
        if isinstance(exc, (*_INVALID, *NEVER_SENT)):
            return self.failed(exc)
        return Unavailable(f"the download from {self.url} was interrupted: {reason(exc)}")

    def redact(self, text: str) -> str:
        return redacted(text, (self.credential, *secrets_in(self.arguments)))


class Base:
    """What the synchronous and the asynchronous clients have in common."""

    def __init__(self, service: str, url: str, retries: Retries) -> None:
        self._service = service
        self.url = base_url(service, url)
        self._retries = retries
        self._credential = ""
        self._timeout_s = math.inf

    def _options(
        self, headers: dict[str, str], timeout_s: float, transport: object
    ) -> dict[str, Any]:
        """The arguments of the httpx client."""
        self._credential = headers.get("Authorization", "").removeprefix("Bearer ")
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

    def _attempts(
        self,
        method: str,
        path: str,
        arguments: dict[str, Any],
        repeated_after: RepeatedAfter | None = None,
    ) -> Attempts:
        """Raises BadRequest if the request cannot be sent."""
        check_url(path, arguments.get("params"))
        default = ANY_ERROR if method in _IDEMPOTENT else NEVER_SENT
        return Attempts(
            self._service,
            self.url,
            self._retries,
            repeated_after or default,
            self._credential,
            arguments,
            deadline=time.monotonic() + self._timeout_s,
        )

    def _decode(self, response: type[_Response], reply: Reply) -> _Response:
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(reply.content or b"null", type=response)
        text = (
            f"{self.url} returned an unexpected response: is it a {self._service} of this version?"
        )
        raise Unavailable(text, status=reply.status_code, retry_after_s=retry_after_s(reply))


def idempotency_key(key: str | None) -> dict[str, str]:
    """The header of a POST request that takes effect only once. key: default: a random key. Raises
    BadRequest if the key is malformed.
    """
    value = str(uuid.uuid4()) if key is None else key
    if not (value.isascii() and value.isprintable()):
        raise BadRequest("An idempotency key must be printable ASCII characters.")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return {IDEMPOTENCY_KEY: f'"{escaped}"'}  # a String (RFC 9651, section 3.3.3)


def check_encoding(streamed: httpx.Response | Reply) -> None:
    """Raises HTTPError if a body is compressed: a few bytes could take gigabytes."""
    if streamed.headers.get("content-encoding", "identity") != "identity":
        raise httpx.DecodingError("")


def check_size(size: int) -> None:
    if size > RESPONSE_BYTES_MAX:
        raise _TooLarge("")


def whole(streamed: httpx.Response, content: bytes) -> Reply:
    return Reply(streamed.status_code, streamed.headers, content)


def reason(exc: BaseException) -> str:
    """Why a request failed: text of the operating system or of ours. The texts of httpx and h11 can
    contain headers, URLs and what a server sent.
    """
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({cause.reason or 'connection closed'})"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    for kind, text in _REASONS.items():
        if isinstance(exc, kind):
            return text
    return type(exc).__name__


#: The errors of a new httpx client for an invalid environment, and the message for users.
INVALID_ENVIRONMENT = (httpx.InvalidURL, ImportError, OSError, ValueError)
ENVIRONMENT = (
    "a variable of the environment for proxies or certificates is not valid: HTTP_PROXY, "
    "HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE or SSL_CERT_DIR"
)
