"""The HTML pages for links and for requested secrets, which load one style sheet and one script."""

from collections.abc import Iterable
from typing import Any

from gatehouse.features.secrets.models import FILES_BYTES_MAX
from gatehouse.features.secrets.schemas import FILES_MAX, display_name
from gatehouse.platform.web.pages import PageSet
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Header, Response

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
)
_UNITS = ("B", "kB", "MB")


def display_size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"


PAGES = PageSet(
    "gatehouse.services.sharing",
    _HEADERS,
    display_name=display_name,
    display_size=display_size,
    limits={"count": FILES_MAX, "size": display_size(FILES_BYTES_MAX)},
)
STATIC = {
    "/share.css": ("text/css; charset=utf-8", PAGES.static("share.css")),
    "/share.js": ("text/javascript; charset=utf-8", PAGES.static("share.js")),
}


class Pages:
    """Renders the pages for a request in its language."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._language = PAGES.language(request.header(b"accept-language"))
        self.texts = PAGES.texts[self._language]

    def page(
        self,
        template: str,
        heading: str,
        status: int = 200,
        headers: Iterable[Header] = (),
        **values: Any,
    ) -> Response:
        """Return a page. `heading`: name of its text. `values`: variables of the template."""
        title = self.texts[heading]
        return PAGES.response(
            self._request, self._language, template, title, status, headers, **values
        )

    def message(
        self, title: str, name: str, status: int = 200, headers: Iterable[Header] = ()
    ) -> Response:
        """Return a page with only a text. `title`, `name`: names of the texts."""
        return self.page("message", title, status, headers, id=title, message=self.texts[name])
