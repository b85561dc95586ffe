"""Renders the HTML pages for links and for secret requests.

The pages work without JavaScript, and load one style sheet and one script from the same origin.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from importlib import resources

from starlette.responses import HTMLResponse

from gatehouse.core.clock import rfc3339
from gatehouse.features.sharing.links import Opened, OpenedItem
from gatehouse.features.sharing.models import Link, Secret
from gatehouse.features.sharing.requests.models import SecretRequest
from gatehouse.features.sharing.schemas import FILES_MAX
from gatehouse.services.sharing.texts import TEXTS

STYLE_PATH, SCRIPT_PATH = "/share.css", "/share.js"
_FILES = resources.files("gatehouse.services.sharing") / "static"
STATIC = {
    STYLE_PATH: ("text/css; charset=utf-8", (_FILES / "share.css").read_bytes()),
    SCRIPT_PATH: (
        "text/javascript; charset=utf-8",
        (_FILES / "share.js").read_bytes(),
    ),
}
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action "
    "'self'; base-uri 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_UNITS = ("B", "KiB", "MiB")


class Pages:
    """Renders the pages in one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.texts = TEXTS[language]

    def start(self, error: str = "") -> HTMLResponse:
        """Return the start page, which contains a field for a complete link."""
        form = (
            f'<form method="post" action="/" data-link="">{self._link_field("")}'
            f'<button type="submit">{self._text("reveal")}</button></form>'
        )
        body = f"{self._alert(error)}<p>{self._text('intro')}</p>{form}"
        return self._page("service", body, 400 if error else 200)

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
    ) -> HTMLResponse:
        """Return the page on which a client opens a link. `value`: the complete link, if the client
        sent the link.
        """
        used = self._text("opened_before" if link.uses else "not_opened")
        facts = (
            f"<dl><dt>{self._text('from')}</dt><dd>{escape(secret.sender)}</dd>"
            f"<dt>{self._text('created')}</dt><dd>{self._time(secret.created_at)}</dd>"
            f"<dt>{self._text('expires')}</dt><dd>{self._time(secret.expires_at)}"
            f' <span id="remaining" data-end="{rfc3339(secret.expires_at)}"></span></dd>'
            f"<dt>{self._text('uses')}</dt><dd>{link.uses_max - link.uses}</dd></dl><p>{used}</p>"
        )
        passphrase = (
            f'<label for="passphrase">{self._text("passphrase")}</label>'
            f'<p class="hint" id="passphrase-help">{self._text("passphrase_help")}</p>'
            '<input id="passphrase" name="passphrase" type="password" autocomplete="off" '
            'required maxlength="128"'
            ' aria-describedby="passphrase-help">'
            if link.salt
            else ""
        )
        form = (
            f'<form method="post" action="/s/{escape(path)}" '
            f'data-link="{escape(path)}">{_hidden(hidden)}'
            f"{self._link_field(value)}{passphrase}"
            f'<p class="hint">{self._text("explain")}</p><button type="submit" '
            f"data-once>{self._text('reveal')}</button></form>"
        )
        script = (
            f"<noscript><p>{self._text('needs_script')}</p></noscript>" if secret.end_to_end else ""
        )
        return self._page("title", f"{self._alert(error)}{facts}{script}{form}", status)

    def revealed(
        self, opened: Opened, path: str, text: bytes | None, hidden: Iterable[tuple[str, str]]
    ) -> HTMLResponse:
        """Return the page with the content, which contains the text and a download button for each
        file.
        """
        fields = list(hidden)
        left = opened.link.uses_max - opened.link.uses
        note = (
            self._text("used_up")
            if left <= 0
            else escape(self.texts["uses_left"].format(count=left))
        )
        files = [item for item in opened.items if item.name]
        body = f'<p role="status" id="status">{note}</p>'
        if text is not None:
            body += self._secret(text, end_to_end=opened.secret.end_to_end)
        if files:
            entries = "".join(self._download(item, path, fields) for item in files)
            body += f'<h2 id="files">{self._text("files")}</h2><ul>{entries}</ul>'
        automatic = " data-automatic" if text is not None and not files else ""
        body += (
            f'<form method="post" action="/s/{escape(path)}/acknowledge" '
            f'id="acknowledge"{automatic}>'
            f"{_hidden(fields)}"
            f'<p class="hint">{self._text("done_help")}</p>'
            f'<button type="submit" class="plain">{self._text("done")}</button></form>'
        )
        return self._page("revealed", body)

    def acknowledged(self) -> HTMLResponse:
        return self._page("acknowledged", f"<p>{self._text('acknowledged_text')}</p>")

    def request(
        self,
        secret_request: SecretRequest,
        hidden: Iterable[tuple[str, str]],
        *,
        files_bytes_max: int,
        uploads: bool = False,
        link: str = "",
        text: str = "",
        error: str = "",
    ) -> HTMLResponse:
        """Return the page for a secret request.

        uploads: programs can send larger files.
        link, text: values that the client sent.
        error: name of the error text in `locales/`.
        """
        limits = {"count": FILES_MAX, "size": display_size(files_bytes_max)}
        larger = f" {self._text('larger_files')}" if uploads else ""
        facts = (
            f"<dl><dt>{self._text('requester')}</dt><dd>{escape(secret_request.requester)}</dd>"
            f"<dt>{self._text('purpose')}</dt><dd "
            f'class="lines">{escape(secret_request.purpose)}</dd>'
            f"<dt>{self._text('expires')}</dt><dd>{self._time(secret_request.expires_at)}"
            f' <span id="remaining" '
            f'data-end="{rfc3339(secret_request.expires_at)}"></span></dd></dl>'
        )
        files = (
            f'<label for="file">{self._text("files")}</label>'
            f'<p class="hint" '
            f'id="file-help">{escape(self.texts["files_help"].format(**limits))}{larger}</p>'
            '<input id="file" name="file" type="file" multiple aria-describedby="file-help">'
            if files_bytes_max
            else ""
        )
        path = escape(secret_request.id)
        form = (
            f'<form method="post" action="/r/{path}" enctype="multipart/form-data" '
            f'data-link="{path}">{_hidden(hidden)}'
            f'{self._link_field(link)}<label for="text">{self._text("text")}</label>'
            f'<p class="hint" id="text-help">{self._text("text_help")}</p>'
            '<textarea id="text" name="text" spellcheck="false" autocomplete="off" '
            'aria-describedby="text-help">'
            f"\n{escape(text)}</textarea>{files}"
            f'<p class="hint">{self._text("request_explain")}</p>'
            f'<button type="submit" data-once>{self._text("send")}</button></form>'
        )
        alert = self._alert(self.texts[error].format(**limits)) if error else ""
        return self._page("request", f"{alert}{facts}{form}", 400 if error else 200)

    def submitted(self) -> HTMLResponse:
        return self._page("submitted", f'<p id="submitted">{self._text("submitted_text")}</p>')

    def message(self, name: str, status: int) -> HTMLResponse:
        """Return a page with the title `<name>_title` and the text `<name>`."""
        return self._page(f"{name}_title", f"<p>{self._text(name)}</p>", status)

    def _secret(self, text: bytes, *, end_to_end: bool) -> str:
        content, sealed = text.decode("utf-8", "replace"), ""
        if end_to_end:
            content, sealed = "", f' data-sealed="{base64.b64encode(text).decode()}"'
        encrypted = (
            f"<p "
            f'id="encrypted">{self._text("encrypted")}</p><noscript><p>{self._text("needs_script")}</p></noscript>'
            f'<p id="decrypt-failed" class="alert" role="alert" '
            f"hidden>{self._text('decrypt_failed')}</p>"
            if end_to_end
            else ""
        )
        # Browsers remove a line feed directly after <textarea>.
        return (
            f'{encrypted}<label for="secret">{self._text("content")}</label>'
            f'<textarea id="secret" readonly spellcheck="false" '
            f'autocomplete="off"{sealed}>\n{escape(content)}</textarea>'
            '<p id="tools" hidden>'
            f'<button type="button" id="copy" '
            f'data-done="{self._text("copied")}">{self._text("copy")}</button>'
            f'<button type="button" id="hide" class="plain" '
            f'aria-pressed="false">{self._text("hide")}</button></p>'
        )

    def _download(self, item: OpenedItem, path: str, fields: Iterable[tuple[str, str]]) -> str:
        text = self.texts["download"].format(
            name=display_name(item.name) or self.texts["unnamed"], size=display_size(item.size)
        )
        return (
            f'<li><form method="post" '
            f'action="/s/{escape(path)}/items/{item.number}">{_hidden(fields)}'
            f'<button type="submit" class="plain">{escape(text)}</button></form></li>'
        )

    def _link_field(self, value: str) -> str:
        return (
            f'<div id="link-field"><label for="link">{self._text("link")}</label>'
            f'<p class="hint" id="link-help">{self._text("link_help")}</p>'
            f'<input id="link" name="link" type="text" autocomplete="off" spellcheck="false" '
            f'required maxlength="400"'
            r' pattern=".*(#|%23)[0-9A-Za-z]{43}\s*"'
            f' aria-describedby="link-help" value="{escape(value)}"></div>'
        )

    def _time(self, seconds: float) -> str:
        text = rfc3339(seconds, "minutes").replace("T", " ").replace("Z", " UTC")
        return f'<time datetime="{rfc3339(seconds, "seconds")}">{text}</time>'

    def _alert(self, error: str) -> str:
        return f'<p class="alert" role="alert">{escape(error)}</p>' if error else ""

    def _text(self, name: str) -> str:
        return escape(self.texts[name])

    def _page(self, title: str, body: str, status: int = 200) -> HTMLResponse:
        heading = self._text(title)
        return HTMLResponse(
            f'<!doctype html>\n<html lang="{self.language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta '
            'name="robots" content="noindex">\n'
            f'<title>{heading}</title>\n<link rel="stylesheet" href="{STYLE_PATH}">\n'
            f'<script src="{SCRIPT_PATH}" defer></script>\n</head>\n'
            f"<body>\n<main>\n<h1>{heading}</h1>\n{body}\n</main>\n</body>\n</html>\n",
            status,
            headers={
                "Content-Security-Policy": CONTENT_SECURITY_POLICY,
                "Permissions-Policy": (
                    "camera=(), geolocation=(), microphone=(), payment=(), "
                    "usb=(), clipboard-write=(self)"
                ),
                "X-Robots-Tag": "noindex, nofollow",
                "Vary": "Accept-Language",
            },
        )


def display_name(name: str) -> str:
    """Return a file name without directories, control characters and characters that change the
    text direction.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    return "".join(character for character in base if character.isprintable())[:120].strip(". ")


def _hidden(fields: Iterable[tuple[str, str]]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields
    )


def display_size(size: int) -> str:
    number, unit = float(size), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return (
        f"{number:.0f} {_UNITS[unit]}"
        if unit == 0 or number >= 10
        else f"{number:.1f} {_UNITS[unit]}"
    )
