"""Renders the HTML pages for links and for requested secrets from the templates in `templates/`.

The pages work without JavaScript, and load one style sheet and one script from the same origin.
"""

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gatehouse.core.clock import rfc3339
from gatehouse.features.secrets.models import FILES_BYTES_MAX
from gatehouse.features.secrets.schemas import FILES_MAX, display_name
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Header, Response

_FOLDER = resources.files("gatehouse.services.sharing")
STATIC = {
    "/share.css": ("text/css; charset=utf-8", (_FOLDER / "static/share.css").read_bytes()),
    "/share.js": ("text/javascript; charset=utf-8", (_FOLDER / "static/share.js").read_bytes()),
}
#: Text of the pages by language and name.
TEXTS: Mapping[str, Mapping[str, str]] = {
    file.name.removesuffix(".json"): json.loads(file.read_text("utf-8"))
    for file in (_FOLDER / "locales").iterdir()
}
_LANGUAGE_DEFAULT = "en"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action "
    "'self'; base-uri 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (
        b"permissions-policy",
        b"camera=(), geolocation=(), microphone=(), payment=(), usb=(), clipboard-write=(self)",
    ),
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"vary", b"Accept-Language"),
)
_UNITS = ("B", "kB", "MB")


class Pages:
    """Renders the pages for a request in its language."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._language = language(request.header(b"accept-language"))
        self.texts = TEXTS[self._language]

    def page(
        self,
        template: str,
        heading: str,
        status: int = 200,
        headers: Iterable[Header] = (),
        **values: Any,
    ) -> Response:
        """Return a page. `heading`: name of its text. `values`: variables of the template, which
        are escaped.
        """
        html = _TEMPLATES.get_template(f"{template}.html").render(
            t=self.texts.__getitem__, language=self._language, heading=self.texts[heading], **values
        )
        return self._request.response(
            status,
            html.encode(),
            content_type=b"text/html; charset=utf-8",
            headers=[*_HEADERS, *headers],
        )

    def message(
        self, title: str, name: str, status: int = 200, headers: Iterable[Header] = ()
    ) -> Response:
        """Return a page with only a text. `title`, `name`: names of the texts."""
        return self.page("message", title, status, headers, id=title, message=self.texts[name])


def language(accept_language: str) -> str:
    """Return the best available language for an Accept-Language header (RFC 9110, section
    12.5.4).
    """
    best, best_quality = _LANGUAGE_DEFAULT, 0.0
    for part in accept_language[:200].split(","):
        tag, _, parameter = part.strip().partition(";")
        name = tag.strip().lower().partition("-")[0]
        try:
            quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
        except ValueError:
            continue
        if name in TEXTS and quality > best_quality:
            best, best_quality = name, quality
    return best


def display_size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"


_TEMPLATES = Environment(
    loader=PackageLoader("gatehouse.services.sharing"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    auto_reload=False,
)
_TEMPLATES.globals |= {
    "display_name": display_name,
    "display_size": display_size,
    "limits": {"count": FILES_MAX, "size": display_size(FILES_BYTES_MAX)},
    "rfc3339": rfc3339,
}
