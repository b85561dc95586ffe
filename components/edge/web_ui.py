"""The built files of the console's web UI, and how CloudFront serves them: keys, headers, pages and
forwarded paths.
"""

import json
import mimetypes
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_RUNTIME = Path(__file__).parent.parent.parent / "runtime" / "gatehouse"
FOLDER = _RUNTIME / "services" / "console" / "static"
"""The files that `scripts/setup.sh` builds from `runtime/web`."""
HEADERS = _RUNTIME / "platform" / "web" / "security_headers.toml"
INDEX = "index.html"
API_PATHS = (
    *("/v1/*", "/openapi.json", "/operations.json", "/sign-in/*", "/sign-out"),
    *("/portal", "/portal/*"),
)
"""Paths, besides those of the health checks, that the console serves in addition to the web UI."""

_FUNCTION = """\
var PAGES = new RegExp(%s);

function handler(event) {
    var request = event.request;
    if (PAGES.test(request.uri)) {
        request.uri = '/%s';
        return request;
    }
    if (request.uri.startsWith('/assets/')) {
        return request;
    }
    return {
        statusCode: 404,
        statusDescription: 'Not Found',
        headers: { 'content-type': { value: 'text/html; charset=utf-8' } },
        body: { encoding: 'text', data: %s }
    };
}
"""
"""A CloudFront function that serves the index for the pages of the web UI and returns 404 for all
other paths except assets. The function runs only for paths that are not forwarded to the console,
so it does not change error responses of the API."""


_NOT_FOUND = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    "<title>Page not found – Gatehouse console</title></head>"
    '<body><h1>Page not found</h1><p>There is no page at this address.</p><p><a href="/">Go to '
    "the overview</a></p></body></html>"
)
"""The body of a response with status 404. A CloudFront function cannot respond with an object of
the bucket and this status.
"""


@dataclass(frozen=True)
class WebFile:
    """An object in the bucket of the web UI."""

    key: str
    path: Path
    content_type: str
    cache_control: str


def files(folder: Path = FOLDER) -> list[WebFile]:
    """Return the built files. Raises FileNotFoundError if the web UI is not built."""
    if not (folder / INDEX).is_file():
        raise FileNotFoundError(
            f"{folder} does not contain the web UI, which services.console.hosting cloudfront "
            "uploads. Run scripts/setup.sh, which builds the web UI and requires npm."
        )
    assets = sorted((folder / "assets").iterdir())
    # The names of assets contain a hash of their content.
    immutable = "public, max-age=31536000, immutable"
    return [
        WebFile(INDEX, folder / INDEX, _content_type(INDEX), "no-cache"),
        *(
            WebFile(f"assets/{path.name}", path, _content_type(path.name), immutable)
            for path in assets
        ),
    ]


def function_code() -> str:
    routes = json.loads((FOLDER / "routes.json").read_bytes())
    pages = sorted(re.sub(r":\w+", "[^/]+", route["path"]) for route in routes)
    return _FUNCTION % (json.dumps(f"^({'|'.join(pages)})$"), INDEX, json.dumps(_NOT_FOUND))


def response_headers() -> Mapping[str, str]:
    """Return the security headers of the web UI, which are the same if the console serves it."""
    tables = tomllib.loads(HEADERS.read_text(encoding="utf-8"))
    return {**tables["all"], **tables["https"], **tables["web_ui"]}


def _content_type(name: str) -> str:
    """Return the content type of a file. Raises ValueError for an unknown extension."""
    media_type = mimetypes.guess_type(name)[0]
    if media_type is None:
        raise ValueError(f"{name} has an unknown media type")
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
