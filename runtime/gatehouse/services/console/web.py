"""Serves the web UI of the console: the built files, which are kept in memory, and the pages of the
router.

The source is in `runtime/web`. The setup script and the image build write the files to the
directory `static`. Requests look up files by name in a table and never build a file path. Asset
names contain a hash of the content, so browsers can cache assets indefinitely.
"""

import json
import mimetypes
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gatehouse.core.errors import NotFound
from gatehouse.platform.web import responses
from gatehouse.platform.web.application import Handler, Routes
from gatehouse.platform.web.endpoint import Endpoint
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Header, Response
from gatehouse.platform.web.security_headers import WEB_UI

FOLDER = Path(__file__).parent / "static"

_IMMUTABLE = ((b"cache-control", b"public, max-age=31536000, immutable"),)

#: Beginnings of the paths of the API and of the assets, at which there are no pages.
_WITHOUT_PAGES = (b"/v1/", b"/assets/")

_NOT_BUILT = b"""\
This is the management API of a Gatehouse deployment. /openapi.json describes the API.
The web UI is not part of this installation. scripts/setup.sh builds the web UI and reports missing
prerequisites.
"""


@dataclass(frozen=True, slots=True)
class WebFile:
    content: bytes
    media_type: str

    def respond(self, request: Request, headers: Sequence[Header], status: int = 200) -> Response:
        return request.response(
            status, self.content, content_type=self.media_type.encode(), headers=headers
        )


@dataclass(frozen=True, slots=True)
class WebFiles:
    """The built UI. index: None if the UI is not built. paths: path templates of the
    pages.
    """

    index: WebFile | None
    assets: Mapping[str, WebFile]
    paths: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path = FOLDER) -> "WebFiles":
        """Read the built files. Raises ValueError if the folder is incomplete."""
        if not (folder / "index.html").is_file():
            return cls(None, {}, ("/",))
        assets = {path.name: _read(path) for path in sorted((folder / "assets").iterdir())}
        paths = [
            re.sub(r":(\w+)", r"{\1}", route["path"])
            for route in json.loads((folder / "routes.json").read_bytes())
        ]
        return cls(_read(folder / "index.html"), assets, tuple(paths))

    def add(self, routes: Routes) -> None:
        for path in self.paths:
            routes.add(path, self._page)
        routes.add("/assets/{name}", self._asset)

    def not_found(self, request: Request) -> Response | None:
        """Return the index with status 404 if a browser opens an unknown address. The UI then shows
        that the page does not exist.

        Returns None for other requests, whose response is a problem document.
        """
        is_page = request.method in ("GET", "HEAD") and "text/html" in request.header(b"accept")
        if self.index is None or not is_page or request.raw_path.startswith(_WITHOUT_PAGES):
            return None
        return self.index.respond(request, WEB_UI, status=404)

    async def _page(self, request: Request) -> Response:
        if self.index is None:
            return request.response(200, _NOT_BUILT, content_type=b"text/plain; charset=utf-8")
        return self.index.respond(request, WEB_UI)

    async def _asset(self, request: Request) -> Response:
        asset = self.assets.get(request.path_parameters["name"])
        if asset is None:
            raise NotFound
        return asset.respond(request, _IMMUTABLE)


def operations(
    endpoints: list[Endpoint], missing: Callable[[Endpoint], object], identity_provider: str | None
) -> Handler:
    """Return the handler of /operations.json, which lists method, path, roles and step-up rule of
    each operation that accepts a session. `missing`: returns None unless the operation needs a
    service that is not configured. `identity_provider`: name of the provider with which browsers
    can sign in.

    The UI shows only operations that the roles of the session permit. The file contains the same
    information as the OpenAPI document at a fraction of the size.
    """
    listed = {
        endpoint.operation_id: {
            "method": endpoint.method,
            "path": endpoint.path,
            "roles": sorted(endpoint.roles),
            "configured": missing(endpoint) is None,
            "step_up": None if endpoint.step_up is None else endpoint.step_up.value,
        }
        for endpoint in endpoints
        if endpoint.roles
    }
    content = responses.encode({"operations": listed, "identity_provider": identity_provider})

    async def respond(request: Request) -> Response:
        return request.response(200, content)

    return respond


def _read(path: Path) -> WebFile:
    media_type = mimetypes.guess_type(path.name)[0]
    if media_type is None:
        raise ValueError(f"{path} has an unknown media type")
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    return WebFile(path.read_bytes(), media_type)
