"""Server-rendered HTML pages of the services and their style sheet. Pages have no scripts and no external resources."""

from __future__ import annotations

from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from gatehouse.http.middleware import Address

STYLE_PATH = "/style.css"

_STYLE = """\
:root { color-scheme: light dark; --ink: #1b2430; --paper: #fbfbf9; --line: #d8dbe0; --mark: #0b5c4a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #14181d; --line: #333a43; --mark: #6fd3b8; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 40rem; margin: 12vh auto 4rem; padding: 0 1.5rem; }
h1 { margin: 0 0 1rem; font-size: 1.6rem; line-height: 1.25; }
h1::before { content: ""; display: block; width: 2.5rem; height: .3rem; margin-bottom: 1rem; background: var(--mark); }
a { color: var(--mark); }
code { padding: .1em .35em; border: 1px solid var(--line); border-radius: .25em; font-size: .9em; }
li { margin: .3rem 0; }
"""


def page(title: str, body: str, status: int = 200) -> HTMLResponse:
    """HTML page. `title` is escaped; `body` is trusted HTML and is not."""
    return HTMLResponse(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="robots" content="noindex">\n'
        f'<title>{escape(title)}</title>\n<link rel="stylesheet" href="{STYLE_PATH}">\n</head>\n'
        f"<body>\n<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n",
        status,
    )


def style_route() -> Address:
    return Address(STYLE_PATH, _style, methods=["GET"])


async def _style(request: Request) -> Response:
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
