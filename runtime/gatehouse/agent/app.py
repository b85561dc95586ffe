"""What the agent answers: the structure of the directory, the content of a file, and nothing without the gateway's secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from gatehouse.agent import names
from gatehouse.agent.content import FileResponse
from gatehouse.agent.tree import Entry, Tree
from gatehouse.errors import BadRequest, GatehouseError, MethodNotAllowed, NotFound, Problem, Unauthorized
from gatehouse.http import asgi

DEPTH_MAX = 16


ENTRIES_MAX = 5000


_PREFIX = b"/files/"


@dataclass(slots=True)
class Secrets:
    """What the gateway must send: the secret of the present registration, and of the one before it for requests on their way."""

    _digests: list[bytes] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Secrets({len(self._digests)})"

    def accept(self, secret: str) -> None:
        self._digests = [_digest(secret), *self._digests][:2]

    def matches(self, offered: str) -> bool:
        """Constant-time, over digests of equal length; every secret is compared."""
        digest = _digest(offered)
        return sum(hmac.compare_digest(digest, known) for known in self._digests) > 0


@dataclass(frozen=True, slots=True)
class Files:
    """The endpoints on one directory."""

    tree: Tree
    secrets: Secrets

    async def listing(self, request: Request) -> Response:
        """GET /files: `path` and `depth` narrow it."""
        self._admit(request)
        unknown = sorted(set(request.query_params) - {"path", "depth"})
        if unknown or len(request.query_params.multi_items()) != len(request.query_params):
            raise _bad_query("query", "takes path and depth, each once")
        wanted = names.split(request.query_params.get("path", "").removeprefix("/"))
        return await self._structure(wanted, _depth(request.query_params.get("depth")))

    async def content(self, request: Request) -> Response:
        """GET /files/{path}: the bytes of a file, or the structure of a directory."""
        self._admit(request)
        wanted = names.decode(_raw(request))
        file = await asyncio.to_thread(self.tree.open, wanted)
        if file is None:
            return await self._structure(wanted, DEPTH_MAX)
        if request.scope["path"].endswith("/"):
            file.close()
            raise NotFound("This is a file, and the address of a file has no slash at its end")
        return FileResponse(file, request)

    async def _structure(self, wanted: tuple[str, ...], depth: int) -> Response:
        found = await asyncio.to_thread(self.tree.structure, wanted, depth_max=depth, entries_max=ENTRIES_MAX)
        return JSONResponse(
            {
                "path": "/".join(wanted),
                "entries": [_entry(entry) for entry in found.entries],
                "truncated": found.truncated,
                "omitted": found.omitted,
                "bounds": {"depth": depth, "entries": ENTRIES_MAX},
            },
            headers={"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"},
        )

    def _admit(self, request: Request) -> None:
        values = request.headers.getlist("authorization")
        scheme, _, secret = (values[0] if len(values) == 1 else "").partition(" ")
        if scheme.lower() != "bearer" or not self.secrets.matches(secret.strip()):
            raise Unauthorized("This Core answers its gateway alone")


def create(tree: Tree, secrets: Secrets, *, instance: str) -> ASGIApp:
    """The ASGI application. `instance` is told by /healthz, so that the agent knows its own server from a stranger's."""
    files = Files(tree, secrets)
    methods = ["GET"]
    app = Starlette(
        routes=[
            Route("/healthz", _healthz(instance), methods=methods),
            Route("/files", files.listing, methods=methods),
            Route("/files/{path:path}", files.content, methods=methods),
        ],
        exception_handlers={GatehouseError: _ours, HTTPException: _routing, Exception: _unexpected},
    )
    app.router.redirect_slashes = False
    return app


def _healthz(instance: str) -> Callable[[Request], Awaitable[Response]]:
    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok", "instance": instance})

    return healthz


def _raw(request: Request) -> bytes:
    """The path below /files/ as it was sent: `scope["path"]` is decoded already and so says less."""
    raw: bytes = request.scope["raw_path"].partition(b"?")[0]
    if not raw.startswith(_PREFIX):
        raise BadRequest("This path is not served", errors=(Problem("path", "is spelled with escapes", "begin with /files/"),))
    return raw.removeprefix(_PREFIX)


def _depth(text: str | None) -> int:
    if text is None:
        return DEPTH_MAX
    if not text.isdecimal() or len(text) > 3 or not 1 <= int(text) <= DEPTH_MAX:
        raise _bad_query("query.depth", f"must be 1 to {DEPTH_MAX}")
    return int(text)


def _entry(entry: Entry) -> dict[str, str | int]:
    modified = datetime.fromtimestamp(entry.modified_ns // 1_000_000_000, UTC)
    return {
        "path": entry.path,
        "type": entry.type,
        "size": entry.size,
        "modified_at": modified.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _bad_query(location: str, message: str) -> BadRequest:
    return BadRequest("The query does not fit", errors=(Problem(location, message, "GET /files?path=docs&depth=2"),))


async def _ours(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, GatehouseError)  # noqa: S101 - the handler's registration says so
    challenge = {"WWW-Authenticate": 'Bearer realm="core"'} if isinstance(exc, Unauthorized) else {}
    return _problem(exc, challenge)


async def _routing(request: Request, exc: Exception) -> Response:
    if isinstance(exc, HTTPException) and exc.status_code == 405:
        return _problem(MethodNotAllowed("Files can be read here, nothing else"), {"Allow": "GET, HEAD"})
    return _problem(NotFound(), {})


async def _unexpected(request: Request, exc: Exception) -> Response:
    return _problem(GatehouseError("The Core could not answer"), {})


def _problem(error: GatehouseError, headers: dict[str, str]) -> Response:
    body = asgi.problem(error, asgi.request_id())
    sent = {**headers, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(body, error.status, sent, media_type="application/problem+json")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
