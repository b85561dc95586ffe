"""ASGI application of the Core agent. Serves listings and files (RFC 9110), but only for requests
that contain the gateway's secret."""

import asyncio
import hashlib
import hmac
import mimetypes
import os
import re
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from gatehouse.commands.agent.directory import Directory, Entry, OpenFile, decode_path
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock, rfc3339
from gatehouse.core.errors import NotFound, Unauthorized
from gatehouse.platform.limits import Limit
from gatehouse.platform.observability import Observer
from gatehouse.platform.web import asgi
from gatehouse.platform.web.application import Application, Routes
from gatehouse.platform.web.asgi import Response
from gatehouse.platform.web.request import Refused, Reply, Request, Service

#: Maximum number of entries of a listing.
MAX_ENTRIES = 5000
#: Number of listings that are read at the same time. Those of a key have at most half of them.
LISTINGS_PARALLEL = 2
#: Path of the health checks.
HEALTH_PATH = "/healthz"
_PREFIX = b"/files/"
CHUNK_BYTES = 65_536
#: Maximum size of a file whose content is cached, and of the cache.
CACHED_FILE_BYTES_MAX, CACHE_BYTES_MAX = 1024 * 1024, 64 * 1024 * 1024
#: A file that has changed later is not cached, because the next change could leave the ETag as it
#: is: timestamps of file systems have a resolution of milliseconds, sometimes of a second.
CACHED_AGE_S = 3.0
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
#: The content is not trusted, so browsers must neither execute the content nor guess its type.
_HEADERS = {
    "accept-ranges": "bytes",
    "cache-control": "public, no-cache",
    "content-security-policy": "default-src 'none'; sandbox",
}


@dataclass(slots=True)
class GatewaySecrets:
    """Secrets that are accepted from the gateway: the secret of the current registration and, for
    requests in flight, the secret of the previous registration."""

    _digests: list[bytes] = field(default_factory=list, repr=False)

    def accept(self, secret: str) -> None:
        self._digests = [_digest(secret), *self._digests][:2]

    def matches(self, secret: str) -> bool:
        """True if the secret is accepted. Compares the secret with every accepted secret in
        constant time.
        """
        digest = _digest(secret)
        return sum(hmac.compare_digest(digest, accepted) for accepted in self._digests) > 0


@dataclass(slots=True)
class FileCache:
    """The content of the files that were requested last. Each request opens the file, and content
    with another ETag is not served.
    """

    _files: OrderedDict[tuple[str, ...], tuple[str, bytes]] = field(default_factory=OrderedDict)
    _size: int = 0

    def get(self, path: tuple[str, ...], tag: str) -> bytes | None:
        stored_tag, content = self._files.get(path, ("", b""))
        if stored_tag != tag:
            return None
        self._files.move_to_end(path)
        return content

    def add(self, path: tuple[str, ...], tag: str, content: bytes) -> None:
        _, previous = self._files.pop(path, ("", b""))
        self._files[path] = tag, content
        self._size += len(content) - len(previous)
        while self._size > CACHE_BYTES_MAX:
            _, (_, oldest) = self._files.popitem(last=False)
            self._size -= len(oldest)


@dataclass(frozen=True)
class Files:
    directory: Directory
    secrets: GatewaySecrets
    cache: FileCache = field(default_factory=FileCache)
    listings: Limit = field(default_factory=lambda: Limit(LISTINGS_PARALLEL))

    async def healthz(self, request: Request) -> Response:
        return request.response(200, b'{"status":"ok"}')

    async def listing(self, request: Request) -> Response:
        self._authenticate(request)
        return await self._listing(request, ())

    async def content(self, request: Request) -> Reply:
        """GET /files/{path}: the content of a file, or the listing of a directory."""
        self._authenticate(request)
        raw_path = request.raw_path.removeprefix(_PREFIX)
        path = decode_path(raw_path)
        file = await asyncio.to_thread(self.directory.open, path)
        if file is None:
            return await self._listing(request, path)
        if raw_path.endswith(b"/"):
            file.close()
            raise NotFound("This is a file. Remove the slash at the end of the URL.")
        content = await self._cached(path, file, request.now) if request.method == "GET" else None
        return file_response(file, content, request)

    async def _cached(self, path: tuple[str, ...], file: OpenFile, now: float) -> bytes | None:
        """The content of a file, which is then in the cache. None if it is not cached."""
        tag = etag(file)
        content = self.cache.get(path, tag)
        age_s = now - file.modified_ns / 1_000_000_000
        if content is None and file.size <= CACHED_FILE_BYTES_MAX and age_s > CACHED_AGE_S:
            content = await asyncio.to_thread(os.pread, file.fd, file.size, 0)
            if len(content) < file.size:  # it was truncated
                return None
            self.cache.add(path, tag, content)
        return content

    async def _listing(self, request: Request, path: tuple[str, ...]) -> Response:
        async with self.listings:
            body = await asyncio.to_thread(self._encoded_listing, path)
        headers = [(b"cache-control", b"public, no-cache")]
        return request.response(200, body, headers=headers)

    def _encoded_listing(self, path: tuple[str, ...]) -> bytes:
        listing = self.directory.listing(path, max_entries=MAX_ENTRIES)
        body = {
            "path": "/".join(path),
            "entries": [_entry(entry) for entry in listing.entries],
            "truncated": listing.truncated,
            "omitted": listing.omitted,
        }
        return asgi.encode(body)

    def _authenticate(self, request: Request) -> None:
        values = request.values(b"authorization")
        scheme, _, secret = (values[0] if len(values) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not self.secrets.matches(secret.strip()):
            error = Unauthorized("Only the gateway can use this Core.")
            raise Refused(error, headers=[(b"www-authenticate", b'Bearer realm="core"')])


def create(directory: Directory, secrets: GatewaySecrets) -> Application:
    service = Service(
        observer=Observer("core", "error", ""),
        addresses=ClientAddresses(()),
        clock=Clock(),
        headers=(*asgi.NO_STORE, (b"x-content-type-options", b"nosniff")),
    )
    files, routes = Files(directory, secrets), Routes(service)
    routes.add(HEALTH_PATH, files.healthz)
    routes.add("/files", files.listing)
    routes.add("/files/{path:path}", files.content)
    return Application(service.observer, routes=routes)


def _entry(entry: Entry) -> dict[str, str | int]:
    modified_at = rfc3339(entry.modified_ns // 1_000_000_000)
    return {"path": entry.path, "type": entry.type, "size": entry.size, "modified_at": modified_at}


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def file_response(file: OpenFile, content: bytes | None, request: Request) -> Reply:
    """content: None if it has to be read."""
    tag, modified = etag(file), formatdate(file.modified_ns // 1_000_000_000, usegmt=True)
    headers = {**_HEADERS, "etag": tag, "last-modified": modified}
    first, length, status = 0, file.size, 200
    if not_modified(request, tag, file.modified_ns):
        length, status = 0, 304
    else:
        headers["content-type"] = content_type(file.name)
        headers["content-disposition"] = disposition(file.name)
        part = byte_range(request, tag, modified, file.size)
        if part is not None:
            first, length, status = part.start, len(part), 206 if part else 416
            positions = f"{part[0]}-{part[-1]}" if part else "*"
            headers["content-range"] = f"bytes {positions}/{file.size}"
        headers["content-length"] = str(length)
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    if request.is_head or not length:
        file.close()
    parts = _chunks(file, content, first, length)
    return request.streamed(parts, status=status, headers=encoded)


async def _chunks(
    file: OpenFile, content: bytes | None, position: int, length: int
) -> AsyncIterator[bytes]:
    end = position + length
    try:
        while position < end:
            size = min(CHUNK_BYTES, end - position)
            if content is None:
                chunk = await asyncio.to_thread(os.pread, file.fd, size, position)
            else:
                chunk = content[position : position + size]
            if not chunk:
                # The body is shorter than Content-Length. Only closing the connection signals this
                # to the client.
                raise ConnectionAbortedError("the file was truncated while it was sent")
            position += len(chunk)
            yield chunk
    finally:
        file.close()


def etag(file: OpenFile) -> str:
    """Strong validator. Writing to the file changes the modification time; replacing the file
    changes the inode.
    """
    return f'"{file.modified_ns:x}-{file.size:x}-{file.inode:x}"'


def content_type(name: str) -> str:
    """Media type for a file name. Text is declared as UTF-8. A compressed file has the media type
    of the compression format.
    """
    guessed, encoding = mimetypes.guess_type(name, strict=True)
    if encoding is not None:
        return {
            "gzip": "application/gzip",
            "bzip2": "application/x-bzip2",
            "xz": "application/x-xz",
        }.get(encoding, "application/octet-stream")
    if guessed is None:
        return "application/octet-stream"
    return f"{guessed}; charset=utf-8" if guessed.startswith("text/") else guessed


def disposition(name: str) -> str:
    """Content-Disposition value: `attachment` with the plain and the extended file name (RFC 6266,
    RFC 8187).
    """
    plain = re.sub(r"[^ !#-\[\]-~]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def not_modified(request: Request, tag: str, modified_ns: int) -> bool:
    """Evaluates If-None-Match or, if that header is missing, If-Modified-Since (RFC 9110, section
    13.2.2).
    """
    tags = request.header(b"if-none-match")
    if tags:
        return tags.strip() == "*" or tag in {
            value.strip().removeprefix("W/") for value in tags.split(",")
        }
    since = _date(request.header(b"if-modified-since"))
    return since is not None and modified_ns // 1_000_000_000 <= since


def byte_range(request: Request, tag: str, modified: str, size: int) -> range | None:
    """The positions of the requested bytes; empty if the file has none of them.

    None for the whole file: if the request contains no range, several ranges or a malformed range,
    or if If-Range does not match.
    """
    match = _RANGE.fullmatch(request.header(b"range").replace(" ", ""))
    condition = request.header(b"if-range")
    if match is None or condition not in ("", tag, modified):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
