"""Security headers for all pages and for the management API, declared in
`security_headers.toml`.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from urllib.parse import quote

_HEADERS: dict[str, dict[str, str]] = tomllib.loads(
    (resources.files("gatehouse.platform.http") / "security_headers.toml").read_text("utf-8")
)

#: Headers for the pages of the web UI. They replace the headers of the same name for every
#: response.
WEB_UI = _HEADERS["web_ui"]


def security_headers(*, https: bool) -> dict[str, str]:
    """Headers for every response. `https`: the public URL of the service uses https."""
    return {**_HEADERS["all"], **(_HEADERS["https"] if https else {})}


def download_headers(name: str) -> dict[str, str]:
    """Headers of a file whose content is not trusted. Browsers save the file under `name` and never
    display it.
    """
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
