"""Reads directories and files of Cores for operators of the console.

Only the Core agent serves directories and files. The console connects to a Core as the gateway does (cores/upstream.py): it
connects to a checked address, does not follow redirects, and authenticates with the secret of the Core. Responses are not
trusted: every wait and size has a bound, and listings are decoded strictly. Each request is recorded in the audit trail before it
is sent. Sources: CWE-22 (path traversal), CWE-918 (server-side request forgery).
"""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from gatehouse.audit.models import AuditAction
from gatehouse.audit.repository import AuditRepository
from gatehouse.clock import Clock
from gatehouse.cores.concurrency import ConcurrencyLimit
from gatehouse.cores.models import CoreName, CoreRecord, Network, UpstreamRequest
from gatehouse.cores.repository import CoreRepository
from gatehouse.cores.service import core_secret, live_instances
from gatehouse.cores.upstream import SystemResolver, UpstreamClients, UpstreamResponse
from gatehouse.crypto.token import Pepper
from gatehouse.db.pool import Pool
from gatehouse.errors import CoreNotRegistered, CoreTimeout, CoreUnreachable, NotFound, NotServed
from gatehouse.http.forwarding import CORE_NAME, flaw
from gatehouse.http.validation import invalid
from gatehouse.identity.models import Actor
from gatehouse.keys.models import KeyEnvironment

#: Maximum number of entries in a listing, and maximum size of the Core response that contains the listing.
ENTRIES_MAX = 1000
_LISTING_BYTES_MAX = 4 * 1024 * 1024

#: Maximum size of the text that is returned from a file.
TEXT_BYTES_MAX = 256 * 1024

#: Maximum size of a file that the console serves. Larger files are available from the gateway.
FILE_BYTES_MAX = 64 * 1024 * 1024

#: Limits of one console process for each Core: requests in progress, requests that wait, and the wait in seconds.
REQUESTS_MAX, QUEUE_MAX, QUEUE_TIMEOUT_S = 4, 16, 10.0

#: Maximum time without data from the Core, and maximum duration of a request.
READ_TIMEOUT_S, TIMEOUT_S = 10.0, 300.0

#: Characters that a path must not contain: control characters, characters that change the text direction (which can disguise a
#: name), and the backslash (which some systems treat as a separator).
_NOT_SERVED = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\\\\]")

_NOT_AN_AGENT = "The Core did not return a valid Core agent response. Only Cores that serve a directory have files."


class Entry(msgspec.Struct, frozen=True):
    """An entry of a directory, as the Core agent describes it. `path`: path from the root of the served directory."""

    path: Annotated[str, Meta(min_length=1, max_length=8192)]
    type: Literal["directory", "file"]
    size: Annotated[int, Meta(ge=0)]
    modified_at: Annotated[datetime, Meta(tz=True)]


class Listing(msgspec.Struct, frozen=True):
    """A directory, as the Core agent describes it. `omitted`: number of entries that are not served, such as symbolic links. The
    agent's field `truncated` is not used, because it also reports that the entries of subdirectories are omitted."""

    entries: list[Entry]
    omitted: Annotated[int, Meta(ge=0)]


class FileText(msgspec.Struct, frozen=True):
    """The beginning of a file. `text`: None if the file is not UTF-8 text. `size`: size of the whole file in bytes."""

    size: int
    text: str | None
    truncated: bool


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file whose content has not been read yet."""

    size: int
    _response: UpstreamResponse

    async def chunks(self) -> AsyncIterator[bytes]:
        """The content. Raises CoreUnreachable if the content does not have the expected size, and CoreTimeout."""
        remaining = self.size
        while (part := await self._response.read()) is not None:
            remaining -= len(part)
            if remaining < 0:
                break
            yield part
        if remaining:
            raise CoreUnreachable(detail="the content does not have the expected size")


_decode_listing = msgspec.json.Decoder(Listing).decode


@dataclass(frozen=True, slots=True)
class CoreFiles:
    """Directories and files of the Cores of one key environment.

    All methods raise BadRequest for an invalid path, NotFound, NotServed, CoreNotRegistered, CoreUnreachable, CoreTimeout,
    CoreOverloaded, and Unavailable if the request cannot be recorded.
    """

    cores: CoreRepository
    upstreams: UpstreamClients
    concurrency_limit: ConcurrencyLimit
    audit: AuditRepository
    pepper: Pepper
    environment: KeyEnvironment
    clock: Clock

    @classmethod
    def create(
        cls, pool: Pool, networks: Sequence[Network], pepper: Pepper, environment: KeyEnvironment, clock: Clock
    ) -> CoreFiles:
        """networks: private networks in which Cores are allowed."""
        upstreams = UpstreamClients(SystemResolver(), networks, read_timeout_s=READ_TIMEOUT_S)
        limit = ConcurrencyLimit(REQUESTS_MAX, QUEUE_MAX, QUEUE_TIMEOUT_S)
        return cls(CoreRepository(pool), upstreams, limit, AuditRepository(pool), pepper, environment, clock)

    async def list_directory(self, actor: Actor, name: str, path: str) -> tuple[Listing, bool]:
        """Up to ENTRIES_MAX entries of a directory, and True if the directory has more. `path` is empty for the root."""
        _check_path(path, is_root_allowed=True)
        async with self._get(actor, name, path, f"/files?path={quote(path, safe='')}&depth=1") as response:
            body = await _read(response, _LISTING_BYTES_MAX)
        try:
            listing = _decode_listing(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as exc:
            raise CoreUnreachable(_NOT_AN_AGENT, detail="invalid listing") from exc
        prefix = f"{path}/" if path else ""
        if not all(entry.path.startswith(prefix) and _is_name(entry.path[len(prefix) :]) for entry in listing.entries):
            raise CoreUnreachable(_NOT_AN_AGENT, detail="invalid path in a listing")
        served = [entry for entry in listing.entries if not _NOT_SERVED.search(entry.path)]
        omitted = listing.omitted + len(listing.entries) - len(served)
        return Listing(served[:ENTRIES_MAX], omitted), len(served) > ENTRIES_MAX

    async def read_text(self, actor: Actor, name: str, path: str) -> FileText:
        """The first TEXT_BYTES_MAX bytes of a file, as text."""
        _check_path(path)
        first_bytes = ("range", f"bytes=0-{TEXT_BYTES_MAX - 1}")
        async with self._get(actor, name, path, _content_target(path), first_bytes) as response:
            size = _size(response)
            data = await _read(response, TEXT_BYTES_MAX) if size else b""
        truncated = size > len(data)
        return FileText(size, _text(data, truncated=truncated), truncated)

    @asynccontextmanager
    async def open(self, actor: Actor, name: str, path: str) -> AsyncIterator[FileContent]:
        """A file, whose content can be read until the context exits. Raises NotServed if the file is too large."""
        _check_path(path)
        async with self._get(actor, name, path, _content_target(path)) as response:
            size = _size(response)
            if size > FILE_BYTES_MAX:
                size_max = f"{FILE_BYTES_MAX // 1024**2} MiB"
                raise NotServed(
                    f"The console serves files of up to {size_max}. To download this file, use the gateway with an API key."
                )
            yield FileContent(size, response)

    @asynccontextmanager
    async def _get(
        self, actor: Actor, name: str, path: str, target: str, *headers: tuple[str, str]
    ) -> AsyncIterator[UpstreamResponse]:
        core, secret = await self._core(name)
        event = actor.event(AuditAction.CORE_READ, target_id=name, at=self.clock.now(), details={"path": path})
        await self.audit.append(event)
        own = [
            ("authorization", f"Bearer {secret}"),
            ("gatehouse-request-id", actor.request_id),
            ("accept", "*/*"),
            ("accept-encoding", "identity"),
            ("user-agent", "gatehouse"),
        ]
        request = UpstreamRequest("GET", target, [*own, *headers], None)
        await self.concurrency_limit.acquire(core.name)
        try:
            async with asyncio.timeout(TIMEOUT_S), self.upstreams.send(core.url, request) as response:
                _check_status(response)
                yield response
        except TimeoutError as exc:
            raise CoreTimeout(detail=f"not completed within {TIMEOUT_S:.0f} s") from exc
        finally:
            self.concurrency_limit.release(core.name)

    async def _core(self, name: str) -> tuple[CoreRecord, str]:
        """The first healthy instance of a Core, or the first instance if none is healthy, and the secret of the instance."""
        registered = await self.cores.instances(CoreName(name)) if CORE_NAME.fullmatch(name) else []
        live = live_instances(registered, self.environment, self.pepper, now=self.clock.now())
        core = next((core for core in live if core.healthy), live[0])
        secret = core_secret(self.pepper, core)
        if secret is None:
            raise CoreNotRegistered
        return core, secret


def _check_path(path: str, *, is_root_allowed: bool = False) -> None:
    """Applies the rules of the gateway to a path. Raises BadRequest."""
    if _NOT_SERVED.search(path) or flaw(_content_target(path).encode("ascii")):
        problem = "contains a dot segment, a backslash or a control character"
    elif "" in path.split("/") and not (is_root_allowed and not path):
        problem = "is empty, contains an empty name, or begins or ends with a slash"
    else:
        return
    raise invalid("query.path", problem, "use a path from the listing, such as docs/guide.txt")


def _content_target(path: str) -> str:
    return f"/files/{quote(path)}"


def _is_name(text: str) -> bool:
    return "/" not in text and text not in {"", ".", ".."}


def _check_status(response: UpstreamResponse) -> None:
    """Raises an error without text from the Core."""
    if response.status in (200, 206, 416):
        return
    if response.status == 404:
        raise NotFound("The Core has no such file or directory.")
    if response.status == 403:
        raise NotServed("The Core does not serve this file.")
    raise CoreUnreachable(_NOT_AN_AGENT, detail=f"status {response.status}")


def _size(response: UpstreamResponse) -> int:
    """Size of the whole file. Raises NotFound for a directory, and CoreUnreachable if the response specifies no valid size."""
    headers = dict(response.headers)
    if headers.get("accept-ranges") != "bytes":
        raise NotFound("The Core has no such file.")
    total = headers.get("content-range", "").rpartition("/")[2]
    if response.status == 200:
        total = headers.get("content-length", "")
    known = total.isascii() and total.isdigit() and len(total) < 20
    if not known or "content-encoding" in headers or (response.status == 416 and total != "0"):
        raise CoreUnreachable(_NOT_AN_AGENT, detail="invalid size of a file")
    return int(total)


async def _read(response: UpstreamResponse, bytes_max: int) -> bytes:
    """The body. Raises CoreUnreachable if the body is larger than `bytes_max`."""
    parts, size = [], 0
    while (part := await response.read()) is not None:
        parts.append(part)
        size += len(part)
        if size > bytes_max:
            raise CoreUnreachable(_NOT_AN_AGENT, detail="the response is too large")
    return b"".join(parts)


def _text(data: bytes, *, truncated: bool) -> str | None:
    """The text, or None if the data is not text. The last character of truncated data may be incomplete."""
    if b"\0" in data:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(data, final=not truncated)
    except UnicodeDecodeError:
        return None
