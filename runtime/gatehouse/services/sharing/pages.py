"""Renders the HTML pages for links and for secret requests from the templates in `templates/`.

The pages work without JavaScript, and load one style sheet and one script from the same origin.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from string import Template
from typing import Any

from gatehouse.core.clock import rfc3339
from gatehouse.features.sharing.links import Opened, OpenedItem
from gatehouse.features.sharing.models import FILES_BYTES_MAX, Link, Secret
from gatehouse.features.sharing.schemas import FILES_MAX
from gatehouse.platform.http.asgi import Header, Response
from gatehouse.platform.http.request import Request

_FOLDER = resources.files("gatehouse.services.sharing")
STATIC = {
    "/share.css": ("text/css; charset=utf-8", (_FOLDER / "static/share.css").read_bytes()),
    "/share.js": ("text/javascript; charset=utf-8", (_FOLDER / "static/share.js").read_bytes()),
}
_TEMPLATES = {
    file.name.removesuffix(".html"): Template(file.read_text("utf-8").removesuffix("\n"))
    for file in (_FOLDER / "templates").iterdir()
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


class Html(str):
    """Text that is HTML and is not escaped."""

    __slots__ = ()


class Pages:
    """Renders the pages for a request in its language."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._language = language(request.header(b"accept-language"))
        self.texts = TEXTS[self._language]
        self._escaped = {name: escape(text) for name, text in self.texts.items()}

    def link(
        self,
        secret: Secret,
        link: Link,
        path: str,
        hidden: Iterable[tuple[str, str]],
        *,
        value: str = "",
        error: str = "",
        status: int = 200,
        headers: Iterable[Header] = (),
    ) -> Response:
        """Return the page on which a client opens a link. `value`: the complete link, if the client
        sent the link.
        """
        body = self._html(
            "link",
            alert=self._alert(error),
            sender=secret.sender,
            created_at=self._time(secret.created_at),
            expires_at=self._time(secret.expires_at),
            end=rfc3339(secret.expires_at),
            left=link.uses_max - link.uses,
            state=self.texts["opened_before" if link.uses else "not_opened"],
            script=self._html("needs_script") if secret.end_to_end else "",
            path=path,
            hidden=self._hidden(hidden),
            link_field=self._link_field(value),
            passphrase_field=self._html("passphrase_field") if link.salt else "",
        )
        return self._page("title", body, status, headers)

    def revealed(
        self, opened: Opened, path: str, text: bytes | None, hidden: Iterable[tuple[str, str]]
    ) -> Response:
        """Return the page with the content, which contains the text and a download button for each
        file.
        """
        fields = self._hidden(hidden)
        left = opened.link.uses_max - opened.link.uses
        files = [item for item in opened.items if item.name]
        entries = [self._download(item, path, fields) for item in files]
        body = self._html(
            "revealed",
            state=self.texts["uses_left"].format(count=left) if left > 0 else self.texts["used_up"],
            text_field=self._text_field(text, opened) if text is not None else "",
            downloads=self._html("downloads", entries=Html("".join(entries))) if files else "",
            path=path,
            automatic=Html(" data-automatic" if text is not None and not files else ""),
            hidden=fields,
        )
        return self._page("revealed", body)

    def request(
        self,
        secret: Secret,
        purpose: str,
        hidden: Iterable[tuple[str, str]],
        *,
        link: str = "",
        text: str = "",
        error: str = "",
    ) -> Response:
        """Return the page on which a requested secret is submitted.

        link, text: values that the client sent.
        error: name of the error text in `locales/`.
        """
        limits = {"count": FILES_MAX, "size": display_size(FILES_BYTES_MAX)}
        body = self._html(
            "request",
            alert=self._alert(self.texts[error].format(**limits) if error else ""),
            requested_by=secret.sender,
            requested=purpose,
            expires_at=self._time(secret.expires_at),
            end=rfc3339(secret.expires_at),
            path=secret.id,
            hidden=self._hidden(hidden),
            link_field=self._link_field(link),
            value=text,
            limits=self.texts["files_help"].format(**limits),
        )
        return self._page("request", body, 400 if error else 200)

    def message(
        self, title: str, name: str, status: int = 200, headers: Iterable[Header] = ()
    ) -> Response:
        """Return a page with only a text. `title`, `name`: names of the texts."""
        body = self._html("message", id=title, message=self.texts[name])
        return self._page(title, body, status, headers)

    def _text_field(self, text: bytes, opened: Opened) -> Html:
        if not opened.secret.end_to_end:
            shown = text.decode("utf-8", "replace")
            return self._html("text_field", notice="", sealed="", shown=shown)
        return self._html(
            "text_field",
            notice=self._html("encrypted", script=self._html("needs_script")),
            sealed=Html(f' data-sealed="{base64.b64encode(text).decode()}"'),
            shown="",
        )

    def _download(self, item: OpenedItem, path: str, fields: Html) -> Html:
        label = self.texts["download"].format(
            name=display_name(item.name) or self.texts["unnamed"], size=display_size(item.size)
        )
        return self._html("download", path=path, number=item.number, hidden=fields, label=label)

    def _link_field(self, value: str) -> Html:
        return self._html("link_field", value=value)

    def _hidden(self, fields: Iterable[tuple[str, str]]) -> Html:
        return Html("".join(self._html("hidden", name=name, value=value) for name, value in fields))

    def _time(self, seconds: float) -> Html:
        shown = rfc3339(seconds, "minutes").replace("T", " ").replace("Z", " UTC")
        return self._html("time", datetime=rfc3339(seconds, "seconds"), shown=shown)

    def _alert(self, problem: str) -> Html:
        return self._html("alert", problem=problem) if problem else Html()

    def _html(self, template: str, **values: Any) -> Html:
        """Render a template with the texts of the language and these values, which are escaped
        unless they are Html.
        """
        escaped = {
            name: value if isinstance(value, Html) else escape(str(value))
            for name, value in values.items()
        }
        return Html(_TEMPLATES[template].substitute(self._escaped, **escaped))

    def _page(
        self, heading: str, body: Html, status: int = 200, headers: Iterable[Header] = ()
    ) -> Response:
        page = self._html("page", language=self._language, heading=self.texts[heading], body=body)
        return self._request.response(
            status,
            page.encode(),
            content_type=b"text/html; charset=utf-8",
            headers=[*_HEADERS, *headers],
        )


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


def display_name(name: str) -> str:
    """Return a file name without directories, control characters and characters that change the
    text direction.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in base if character.isprintable())[:120].strip(". ")


def display_size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f}".removesuffix(".0") + f" {_UNITS[unit]}"
