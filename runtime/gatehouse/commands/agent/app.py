"""ASGI application of the Core agent: lists and serves the files of one directory, but only for
requests that contain the gateway's secret.

Symbolic links, devices, and names that begin with a dot are neither listed nor served.
"""

import hashlib
import hmac
import mimetypes
import os
import stat
import time
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import GatehouseError, MethodNotAllowed, NotFound, Unauthorized
from gatehouse.platform.web.problems import problem_headers, problem_members

#: Path of the health checks.
HEALTH_PATH = "/healthz"
#: Maximum number of names that are read for a listing.
NAMES_MAX = 5000
#: Maximum size of a file whose content is cached, and maximum number of cached files.
CACHED_FILE_BYTES_MAX, CACHED_FILES_MAX = 1024 * 1024, 64
#: A file that has changed later is not cached, because the next change could leave the ETag as it
#: is: timestamps of file systems have a resolution of milliseconds, sometimes of a second.
CACHED_AGE_S = 3.0
#: The content is not trusted, so browsers must neither execute the content nor guess its type.
_HEADERS = {
    "cache-control": "public, no-cache",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
}
_OCTETS = "application/octet-stream"
#: 9999-12-31T23:59:59Z. File systems store later times.
_MODIFIED_AT_MAX = 253_402_300_799


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


class Files(StaticFiles):
    """Serves files and listings of directories (RFC 9110)."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._root = directory
        self._content = lru_cache(CACHED_FILES_MAX)(_read)

    async def get_response(self, path: str, scope: Scope) -> Response:
        _, status = await to_thread.run_sync(self.lookup_path, path)
        if status and stat.S_ISDIR(status.st_mode) and scope["method"] in ("GET", "HEAD"):
            return JSONResponse(await to_thread.run_sync(self._listing, path), headers=_HEADERS)
        response = await super().get_response(path, scope)
        if isinstance(response, FileResponse) and _is_cached(response, scope):
            read = partial(self._content, str(response.path), response.headers["etag"])
            content = await to_thread.run_sync(read)
            headers = {**response.headers, "content-length": str(len(content))}
            return Response(content, headers=headers)
        return response

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        expected = str(Path(os.path.realpath(self._root), path))
        try:
            full_path, status = super().lookup_path(path)
        except (OSError, ValueError):  # inaccessible, too long, or with NUL
            return "", None
        is_hidden = any(name.startswith(".") for name in path.split("/")) and path != "."
        if is_hidden or full_path != expected or not os.access(full_path, os.R_OK):
            return "", None
        return full_path, status

    def file_response(
        self, full_path: Any, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        # Replacing a file changes the inode.
        fields = stat_result.st_mtime_ns, stat_result.st_size, stat_result.st_ino
        name = Path(full_path).name
        media_type, encoding = mimetypes.guess_type(name)
        response = FileResponse(
            full_path,
            headers={**_HEADERS, "etag": '"{:x}-{:x}-{:x}"'.format(*fields)},
            media_type=_OCTETS if media_type is None or encoding else media_type,
            filename=name,
            stat_result=stat_result,
        )
        if self.is_not_modified(response.headers, Headers(scope=scope)):
            return NotModifiedResponse(response.headers)
        return response

    def _listing(self, path: str) -> dict[str, Any]:
        """Return the files and directories below a directory, sorted by path, until NAMES_MAX names
        have been read.
        """
        names_read, entries, queue = 0, list[dict[str, Any]](), deque([path])
        while queue and names_read <= NAMES_MAX:
            directory = queue.popleft()
            try:
                scan = os.scandir(self._root / directory)
            except OSError:  # removed or made inaccessible after its parent was read
                continue
            with scan:
                for entry in scan:
                    names_read += 1
                    if names_read > NAMES_MAX:
                        break
                    described = _entry(str(Path(directory, entry.name)), entry)
                    if described is not None:
                        entries.append(described)
                        if described["type"] == "directory":
                            queue.append(described["path"])
        return {
            "path": "" if path == "." else path,
            "entries": sorted(entries, key=lambda entry: entry["path"]),
            "truncated": names_read > NAMES_MAX,
        }


class _Authentication:
    """Denies requests without the gateway's secret."""

    def __init__(self, app: ASGIApp, secrets: GatewaySecrets) -> None:
        self._app = app
        self._secrets = secrets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        app = self._app
        if scheme.lower() != "bearer" or not self._secrets.matches(secret.strip()):
            error = Unauthorized("Only the gateway can use this Core.")
            app = _problem(error, {"www-authenticate": 'Bearer realm="core"'})
        await app(scope, receive, send)


def create(directory: Path, secrets: GatewaySecrets) -> Starlette:
    files = Files(directory)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def root(request: Request) -> Response:
        return await files.get_response(".", request.scope)

    authentication = [Middleware(_Authentication, secrets=secrets)]
    return Starlette(
        routes=[
            Route(HEALTH_PATH, health),
            Route("/files", root, middleware=authentication),
            Mount("/files", files, middleware=authentication),
        ],
        exception_handlers={HTTPException: _error_response},
    )


def _is_cached(response: FileResponse, scope: Scope) -> bool:
    status = response.stat_result
    return (
        status is not None
        and status.st_size <= CACHED_FILE_BYTES_MAX
        and time.time() - status.st_mtime > CACHED_AGE_S
        and scope["method"] == "GET"
        and "range" not in Headers(scope=scope)
    )


def _read(path: str, etag: str) -> bytes:
    return Path(path).read_bytes()


def _entry(path: str, entry: os.DirEntry[str]) -> dict[str, Any] | None:
    """None for a name that is not served, or not valid UTF-8, which a URL cannot contain."""
    try:
        path.encode()
        is_directory, is_file = (
            entry.is_dir(follow_symlinks=False),
            entry.is_file(follow_symlinks=False),
        )
        status = entry.stat(follow_symlinks=False)
    except (OSError, UnicodeEncodeError):
        return None
    if entry.name.startswith(".") or not (is_directory or is_file):
        return None
    return {
        "path": path,
        "type": "directory" if is_directory else "file",
        "size": 0 if is_directory else status.st_size,
        "modified_at": rfc3339(min(max(int(status.st_mtime), 0), _MODIFIED_AT_MAX)),
    }


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _error_response(_: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return _problem(MethodNotAllowed("Use GET or HEAD."), exc.headers)
    return _problem(NotFound("The file does not exist."))


def _problem(error: GatehouseError, headers: Any = None) -> Response:
    members = problem_members(error, "")
    own = {name.decode(): value.decode() for name, value in problem_headers(error)}
    return JSONResponse(
        members, error.status, {**own, **(headers or {})}, "application/problem+json"
    )
