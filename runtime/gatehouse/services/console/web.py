"""Serves the web UI of the console: the built files, which are kept in memory, and the pages of the
router.

The source is in `runtime/web`. The setup script and the image build write the files to the
directory `static`. Requests look up files by name in a table and never build a file path. Asset
names contain a hash of the content, so browsers can cache assets indefinitely.
"""

from __future__ import annotations

import json
import mimetypes
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatehouse.core.errors import NotFound
from gatehouse.platform.http.endpoint import Endpoint
from gatehouse.platform.http.security_headers import WEB_UI
from gatehouse.platform.http.starlette_apps import LoggedRoute, page, style_route

FOLDER = Path(__file__).parent / "static"

_IMMUTABLE = "public, max-age=31536000, immutable"
_PAGE_HEADERS = {**WEB_UI, "Cache-Control": "no-store"}

#: Beginnings of the paths of the API and of the assets, at which there are no pages.
_WITHOUT_PAGES = ("/v1/", "/assets/")

#: Content codings of the built files, most preferred first, with the suffixes of their files.
_CODINGS = {"br": ".br", "gzip": ".gz"}

_NOT_BUILT = """\
<p>This is the management API of a Gatehouse deployment. <a href="/openapi.json">/openapi.json</a> describes the API.</p>
<p>The web UI is not part of this installation. <code>scripts/setup.sh</code> builds the web UI
and reports missing prerequisites.</p>"""  # noqa: E501

_Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class WebFile:
    """A built file. codings: the compressed file by content coding."""

    content: bytes
    media_type: str
    codings: Mapping[str, bytes] = field(default_factory=dict)

    def respond(self, request: Request, headers: Mapping[str, str], status: int = 200) -> Response:
        """Return the file in the most preferred coding that the client accepts."""
        accepted = _accepted_codings(request.headers.get("accept-encoding", ""))
        coding = next((name for name in self.codings if name in accepted), None)
        content = self.content if coding is None else self.codings[coding]
        all_headers = {**headers, "Vary": "Accept-Encoding"}
        if coding is not None:
            all_headers["Content-Encoding"] = coding
        return Response(content, status, all_headers, self.media_type)


@dataclass(frozen=True, slots=True)
class WebFiles:
    """The built UI. index: None if the UI is not built. paths: paths of the pages, as Starlette
    path templates.
    """

    index: WebFile | None
    assets: Mapping[str, WebFile]
    paths: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> WebFiles:
        """Read the built files. Raises ValueError if the folder is incomplete."""
        if not (folder / "index.html").is_file():
            return cls(None, {}, ("/",))
        assets = {
            path.name: _read(path)
            for path in sorted((folder / "assets").iterdir())
            if path.suffix not in _CODINGS.values()
        }
        paths = [
            re.sub(r":(\w+)", r"{\1}", route["path"])
            for route in json.loads((folder / "routes.json").read_bytes())
        ]
        # Paths without parameters come first, so that /keys/new is not treated as a key.
        return cls(
            _read(folder / "index.html"), assets, tuple(sorted(paths, key=lambda path: "{" in path))
        )

    def routes(self) -> list[LoggedRoute]:
        pages = [LoggedRoute(path, self._page, methods=["GET"]) for path in self.paths]
        return [
            *pages,
            LoggedRoute("/assets/{name}", self._asset, methods=["GET"]),
            *([] if self.index else [style_route()]),
        ]

    def not_found(self, request: Request) -> Response | None:
        """Return the index with status 404 if a browser opens an unknown address. The UI then shows
        that the page does not exist.

        Returns None for other requests, whose response is a problem document.
        """
        is_page = request.method in ("GET", "HEAD") and "text/html" in request.headers.get(
            "accept", ""
        )
        if self.index is None or not is_page or request.url.path.startswith(_WITHOUT_PAGES):
            return None
        return self.index.respond(request, _PAGE_HEADERS, status=404)

    async def _page(self, request: Request) -> Response:
        if self.index is None:
            return page("Gatehouse console", _NOT_BUILT)
        return self.index.respond(request, _PAGE_HEADERS)

    async def _asset(self, request: Request) -> Response:
        asset = self.assets.get(request.path_params["name"])
        if asset is None:
            raise NotFound
        return asset.respond(request, {"Cache-Control": _IMMUTABLE})


def operations_route(endpoints: list[Endpoint], identity_provider: str | None) -> LoggedRoute:
    """Return the route for /operations.json, which lists method, path, roles and step-up rule of
    each operation that accepts a session. `identity_provider`: name of the provider with which
    browsers can sign in.

    The UI shows only operations that the roles of the session permit. The file contains the same
    information as the OpenAPI document at a fraction of the size.
    """
    operations = {
        endpoint.operation_id: {
            "method": endpoint.method,
            "path": endpoint.path,
            "roles": sorted(str(role) for role in endpoint.roles),
            "step_up": None if endpoint.step_up is None else endpoint.step_up.value,
        }
        for endpoint in endpoints
        if endpoint.roles
    }
    content = {"operations": operations, "identity_provider": identity_provider}
    return LoggedRoute("/operations.json", _json(content), methods=["GET"])


def _json(content: object) -> _Handler:
    async def respond(request: Request) -> Response:
        return JSONResponse(content, headers={"Cache-Control": "no-store"})

    return respond


def _read(path: Path) -> WebFile:
    media_type = mimetypes.guess_type(path.name)[0]
    if media_type is None:
        raise ValueError(f"{path} has an unknown media type")
    compressed = {coding: path.with_name(path.name + suffix) for coding, suffix in _CODINGS.items()}
    codings = {coding: file.read_bytes() for coding, file in compressed.items() if file.is_file()}
    return WebFile(path.read_bytes(), media_type, codings)


def _accepted_codings(header: str) -> frozenset[str]:
    """Return the codings in an Accept-Encoding header, except for codings with the quality 0 (RFC
    9110, section 12.5.3).
    """
    parts = [part.replace(" ", "").lower().partition(";q=") for part in header.split(",")]
    return frozenset(name for name, _, quality in parts if not re.fullmatch(r"0(\.0*)?", quality))
