"""Security headers for all pages and for the management API, declared in
`security_headers.toml`.
"""

import tomllib
from collections.abc import Mapping
from importlib import resources
from urllib.parse import quote

from gatehouse.platform.web.responses import NO_STORE, Header

_HEADERS: dict[str, dict[str, str]] = tomllib.loads(
    (resources.files("gatehouse.platform.web") / "security_headers.toml").read_text("utf-8")
)


def _encoded(headers: Mapping[str, str]) -> list[Header]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


#: Headers for the pages of the web UI. They replace the headers of the same name for every
#: response.
WEB_UI = _encoded(_HEADERS["web_ui"])


def security_headers(*, https: bool) -> list[Header]:
    """Headers for every response, which is not cached. `https`: the public URL of the service uses
    https.
    """
    return [*NO_STORE, *_encoded({**_HEADERS["all"], **(_HEADERS["https"] if https else {})})]


def download_headers(name: str) -> list[Header]:
    """Headers of a file whose content is not trusted. Browsers save the file under `name` and never
    display it.
    """
    return _encoded(
        {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
    )
