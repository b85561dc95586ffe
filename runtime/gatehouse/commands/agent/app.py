"""ASGI application of the Core agent. Serves listings and files (RFC 9110), but only for requests
that contain the gateway's secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import mimetypes
import os
import re
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.commands.agent.directory import Directory, Entry, OpenFile, decode_path
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import (
    BadRequest,
    GatehouseError,
    MethodNotAllowed,
    NotFound,
    Problem,
    Unauthorized,
)
from gatehouse.platform.http import asgi

#: Maximum number of entries of a listing.
MAX_ENTRIES = 5000
#: Path of the health checks.
HEALTH_PATH = "/healthz"
_PREFIX = b"/files/"
CHUNK_BYTES = 262_144
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
#: The content is not trusted, so browsers must neither execute the content nor guess its type.
_HEADERS = {
    "Accept-Ranges": "bytes",
    "Cache-Control": "public, no-cache",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(slots=True)
class GatewaySecrets:
    """Secrets that are accepted from the gateway: the secret of the current registration and, for
    requests in flight, the secret of the previous registration."""

    _digests: list[bytes] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"GatewaySecrets({len(self._digests)})"

    def accept(self, secret: str) -> None:
        """Accepts the secret of a new registration."""
        self._digests = [_digest(secret), *self._digests][:2]

    def matches(self, secret: str) -> bool:
        """True if the secret is accepted. Compares the secret with every accepted secret in
        constant time.
        """
        digest = _digest(secret)
        return sum(hmac.compare_digest(digest, accepted) for accepted in self._digests) > 0


@dataclass(frozen=True, slots=True)
class Files:
    """Endpoints of the served directory."""

    directory: Directory
    secrets: GatewaySecrets

    async def healthz(self, request: Request) -> Response:
        """GET /healthz."""
        return JSONResponse({"status": "ok"})

    async def listing(self, request: Request) -> Response:
        """GET /files: the listing of the served directory."""
        self._authenticate(request)
        return await self._listing(())

    async def content(self, request: Request) -> Response:
        """GET /files/{path}: the content of a file, or the listing of a directory."""
        self._authenticate(request)
        path = decode_path(_raw_path(request))
        file = await asyncio.to_thread(self.directory.open, path)
        if file is None:
            return await self._listing(path)
        if request.scope["path"].endswith("/"):
            file.close()
            raise NotFound("This is a file. Remove the slash at the end of the URL.")
        return FileResponse(file, request)

    async def _listing(self, path: tuple[str, ...]) -> Response:
        listing = await asyncio.to_thread(self.directory.listing, path, max_entries=MAX_ENTRIES)
        return JSONResponse(
            {
                "path": "/".join(path),
                "entries": [_entry(entry) for entry in listing.entries],
                "truncated": listing.truncated,
                "omitted": listing.omitted,
            },
            headers={"Cache-Control": "public, no-cache", "X-Content-Type-Options": "nosniff"},
        )

    def _authenticate(self, request: Request) -> None:
        values = request.headers.getlist("authorization")
        scheme, _, secret = (values[0] if len(values) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not self.secrets.matches(secret.strip()):
            raise Unauthorized("Only the gateway can use this Core.")


def create(directory: Directory, secrets: GatewaySecrets) -> ASGIApp:
    """Returns the ASGI application."""
    files = Files(directory, secrets)
    app = Starlette(
        routes=[
            Route(HEALTH_PATH, files.healthz, methods=["GET"]),
            Route("/files", files.listing, methods=["GET"]),
            Route("/files/{path:path}", files.content, methods=["GET"]),
        ],
        exception_handlers=dict.fromkeys((GatehouseError, HTTPException, Exception), _on_error),
    )
    app.router.redirect_slashes = False
    return app


def _raw_path(request: Request) -> bytes:
    """Path below /files/ as the client sent it. `scope["path"]` is already decoded. Raises
    BadRequest.
    """
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    if not raw.startswith(_PREFIX):
        raise BadRequest(
            "The path is invalid.",
            errors=(
                Problem("path", "has a percent-encoded prefix", "begin the path with /files/"),
            ),
        )
    return raw.removeprefix(_PREFIX)


def _entry(entry: Entry) -> dict[str, str | int]:
    modified_at = rfc3339(entry.modified_ns // 1_000_000_000)
    return {"path": entry.path, "type": entry.type, "size": entry.size, "modified_at": modified_at}


async def _on_error(request: Request, exc: Exception) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    error = GatehouseError("Internal error of the Core.")
    if isinstance(exc, GatehouseError):
        error = exc
    elif isinstance(exc, HTTPException):
        error = MethodNotAllowed("Use GET or HEAD.") if exc.status_code == 405 else NotFound()
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = "GET, HEAD"
    elif isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Bearer realm="core"'
    return Response(
        asgi.problem(error, asgi.request_id()),
        error.status,
        headers,
        media_type="application/problem+json",
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


class FileResponse(Response):
    """Streams an open file and always closes it."""

    def __init__(self, file: OpenFile, request: Request) -> None:
        self._file = file
        tag, modified = etag(file), formatdate(file.modified_ns // 1_000_000_000, usegmt=True)
        headers = {**_HEADERS, "ETag": tag, "Last-Modified": modified}
        self._first, self._length, status = 0, file.size, 200
        if not_modified(request, tag, file.modified_ns):
            self._length, status = 0, 304
        else:
            headers["Content-Type"] = content_type(file.name)
            headers["Content-Disposition"] = disposition(file.name)
            part = byte_range(request, tag, modified, file.size)
            if part == "unsatisfiable":
                self._length, status = 0, 416
                headers["Content-Range"] = f"bytes */{file.size}"
            elif isinstance(part, tuple):
                self._first, self._length, status = part[0], part[1] - part[0] + 1, 206
                headers["Content-Range"] = f"bytes {part[0]}-{part[1]}/{file.size}"
            headers["Content-Length"] = str(self._length)
        if request.method == "HEAD":
            self._length = 0
        super().__init__(None, status, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            position, end = self._first, self._first + self._length
            while position < end:
                size = min(CHUNK_BYTES, end - position)
                chunk = await asyncio.to_thread(os.pread, self._file.fd, size, position)
                if not chunk:
                    # The body is shorter than Content-Length. Only closing the connection signals
                    # this to the client.
                    raise ConnectionAbortedError("the file was truncated while it was sent")
                position += len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()


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
    tags = request.headers.get("if-none-match")
    if tags is not None:
        return tags.strip() == "*" or tag in {
            value.strip().removeprefix("W/") for value in tags.split(",")
        }
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and modified_ns // 1_000_000_000 <= since


def byte_range(
    request: Request, tag: str, modified: str, size: int
) -> tuple[int, int] | str | None:
    """First and last byte of the requested range, or "unsatisfiable".

    None for the whole file: if the request contains no range, several ranges or a malformed range,
    or if If-Range does not match.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    condition = request.headers.get("if-range")
    if match is None or (condition is not None and condition not in {tag, modified}):
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        return (max(0, size - int(last)), size - 1) if int(last) and size else "unsatisfiable"
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        return "unsatisfiable"
    return int(first), min(int(last), size - 1) if last else size - 1


def _date(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
