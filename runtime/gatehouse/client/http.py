"""How the client speaks HTTP: what may be sent again and when, and how a problem document becomes a typed error.

Sent again: what is repeatable by itself (GET, HEAD, PUT, DELETE), what carries an Idempotency-Key, and anything that never left
this machine. The wait doubles, is jittered, and never shorter than Retry-After says (RFC 9110, section 10.2.3); one that asks for
more than `wait_s_max` is raised instead, so that the caller decides."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import httpx

from gatehouse import __version__
from gatehouse.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GatehouseError,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    RateLimited,
    Unauthorized,
    Unavailable,
)

#: A revocation waits for every gateway, up to the staleness bound, which may be set to a minute.
TIMEOUT_S = 75.0


CONNECT_TIMEOUT_S = 5.0


IDEMPOTENCY_KEY = "Idempotency-Key"


_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


_TRY_AGAIN = frozenset({429, 502, 503, 504})


_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


_BY_STATUS: dict[int, type[GatehouseError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: BadRequest,
    428: PreconditionRequired,
    429: RateLimited,
}


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how patiently. `attempts`: in all, the first one counted. wait_s: before the second; it doubles."""

    attempts: int = 4
    wait_s: float = 0.25
    wait_s_max: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random  # 0 to 1

    def wait(self, attempt: int, asked_s: float | None) -> float | None:
        """Seconds before attempt `attempt` + 1 (from 1), None when it is not worth waiting. asked_s: Retry-After."""
        if attempt >= self.attempts or (asked_s is not None and asked_s > self.wait_s_max):
            return None
        backoff: float = min(self.wait_s * 2 ** (attempt - 1), self.wait_s_max)
        return max(backoff * (0.5 + self.jitter() / 2), asked_s or 0.0)


#: For a caller who tries again by themselves.
ONCE = Retries(attempts=1)


class Wire:
    """`who`: what is spoken to, in the words of an error: `console` or `gateway`."""

    def __init__(
        self, who: str, url: str, headers: dict[str, str], *, retries: Retries, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._who = who
        self.url = url.rstrip("/")
        self._retries = retries
        self._client = httpx.Client(
            base_url=self.url,
            headers={"User-Agent": f"gatehouse-client/{__version__}", **headers},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,  # a redirect must not carry the credential elsewhere
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def send(self, method: str, path: str, *, again: bool = False, **parts: Any) -> httpx.Response:
        """The answer, a success. `again`: it may be repeated although its method does not say so.

        Raises the GatehouseError that the problem document names; Unavailable when nothing that can be understood came back.
        """
        repeatable = again or method in _REPEATABLE
        attempt = 1
        while True:
            asked_s: float | None = None
            try:
                reply = self._client.request(method, path, **parts)
            except httpx.InvalidURL as exc:
                raise BadRequest(f"{self.url} is no URL of a {self._who}") from exc
            except httpx.HTTPError as exc:
                failure, may = self._broken(exc), repeatable or isinstance(exc, _NEVER_SENT)
            else:
                if reply.is_success:
                    return reply
                failure, asked_s = problem(reply, self._who), retry_after_s(reply)
                # The first of two requests with one Idempotency-Key is still at work: its answer comes.
                working = failure.code == "request_in_progress"
                may = repeatable and (reply.status_code in _TRY_AGAIN or working)
            wait_s = self._retries.wait(attempt, asked_s) if may else None
            if wait_s is None:
                raise failure
            self._retries.sleep(wait_s)
            attempt += 1

    def post(self, path: str, *, key: str | None = None, **parts: Any) -> httpx.Response:
        """A POST that acts once, however often it has to be sent. `key`: the caller's own, to go on with after a crash."""
        value = key if key is not None else str(uuid.uuid4())
        if not value or len(value) > 255 or not value.isascii() or not value.isprintable() or '"' in value or "\\" in value:
            raise BadRequest("An idempotency key is 1 to 255 visible ASCII characters without quotes and backslashes")
        headers = {**parts.pop("headers", {}), IDEMPOTENCY_KEY: f'"{value}"'}
        return self.send("POST", path, again=True, headers=headers, **parts)

    def stream(self, path: str, **parts: Any) -> Iterator[bytes]:
        """A download, piece by piece; never begun again, since pieces may have been used already."""
        try:
            with self._client.stream("GET", path, **parts) as reply:
                if not reply.is_success:
                    reply.read()
                    raise problem(reply, self._who)
                yield from reply.iter_bytes()
        except httpx.HTTPError as exc:
            raise Unavailable(f"the download from {self.url} broke off: {_reason(exc)}") from exc

    def _broken(self, exc: httpx.HTTPError) -> GatehouseError:
        if isinstance(exc, httpx.TimeoutException):
            failure = Unavailable(f"the {self._who} at {self.url} does not answer")
        else:
            failure = Unavailable(f"cannot reach the {self._who} at {self.url}: {_reason(exc)}")
        failure.__cause__ = exc
        return failure


class Client:
    """What the clients of console and gateway share: they are closed, or used as a context."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._wire.close()


def problem(reply: httpx.Response, who: str) -> GatehouseError:
    """The error that an answer names by its `code`, else by its status."""
    try:
        document = reply.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        kind = _BY_STATUS.get(reply.status_code, Unavailable)
        return kind(f"the {who} answers {reply.status_code}, and not in the way a {who} does: check its URL")
    named = {one.code: one for one in _every(GatehouseError)}.get(str(document["code"]))
    kind = named if named is not None and named.status == reply.status_code else _BY_STATUS.get(reply.status_code, Unavailable)
    errors = tuple(
        Problem(str(error.get("location", "")), str(error.get("message", "")), str(error.get("fix", "")))
        for error in document.get("errors", [])
        if isinstance(error, dict)
    )
    return kind(str(document.get("detail", "")), detail=str(document.get("request_id", "")), errors=errors)


def retry_after_s(reply: httpx.Response) -> float | None:
    """Retry-After in seconds or as a date (RFC 9110, section 10.2.3); None when it says nothing that can be read."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def some(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _every(kind: type[GatehouseError]) -> Iterator[type[GatehouseError]]:
    for one in kind.__subclasses__():
        yield one
        yield from _every(one)


def _reason(exc: httpx.HTTPError) -> str:
    """The text of the connection's own error, which holds an address at most."""
    return str(exc) or type(exc).__name__
