"""Renders HTML pages in the language of the browser, from the folders `templates/`, `locales/` and
`static/` of a package.

The pages work without JavaScript, and load everything from their own origin.
"""

import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from gatehouse.core.clock import rfc3339
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Header, Response

LANGUAGE_DEFAULT = "en"

#: Rules that all pages have in common, before those of a package.
_STYLES = (resources.files("gatehouse.platform.web") / "pages.css").read_bytes()

_HEADERS: tuple[Header, ...] = (
    (b"x-robots-tag", b"noindex, nofollow"),
    (b"vary", b"Accept-Language"),
)


class PageSet:
    """The pages of a package.

    texts: by language and name. styles: the style sheet.
    headers: of every page. variables: of every template.
    """

    def __init__(self, package: str, headers: Iterable[Header], **variables: Any) -> None:
        self._folder, self._headers = resources.files(package), (*_HEADERS, *headers)
        self.texts: Mapping[str, Mapping[str, str]] = {
            file.name.removesuffix(".json"): json.loads(file.read_text("utf-8"))
            for file in (self._folder / "locales").iterdir()
        }
        self._templates = Environment(
            loader=PackageLoader(package),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            auto_reload=False,
        )
        self._templates.globals |= {"rfc3339": rfc3339, **variables}

    def static(self, name: str) -> bytes:
        """Content of a file in `static/`. A style sheet begins with the rules of all pages."""
        content = (self._folder / "static" / name).read_bytes()
        return _STYLES + content if name.endswith(".css") else content

    def language(self, accept_language: str) -> str:
        """Return the best available language for an Accept-Language header (RFC 9110, section
        12.5.4).
        """
        best, best_quality = LANGUAGE_DEFAULT, 0.0
        for part in accept_language[:200].split(","):
            tag, _, parameter = part.strip().partition(";")
            name = tag.strip().lower().partition("-")[0]
            try:
                quality = float(parameter.strip().removeprefix("q=")) if parameter else 1.0
            except ValueError:
                continue
            if name in self.texts and quality > best_quality:
                best, best_quality = name, quality
        return best

    def response(
        self,
        request: Request,
        language: str,
        template: str,
        heading: str,
        status: int = 200,
        headers: Iterable[Header] = (),
        **values: Any,
    ) -> Response:
        """Return a page. `values`: variables of the template, which are escaped."""
        html = self._templates.get_template(f"{template}.html").render(
            t=self.texts[language].__getitem__, language=language, heading=heading, **values
        )
        return request.response(
            status,
            html.encode(),
            content_type=b"text/html; charset=utf-8",
            headers=[*self._headers, *headers],
        )
