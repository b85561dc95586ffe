"""The pages of the portal, with the name, the logo and the colour of the company."""

import mimetypes
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gatehouse.core.errors import SettingsError
from gatehouse.core.keys import Key, KeyState
from gatehouse.platform.settings import Settings
from gatehouse.platform.web.pages import PageSet
from gatehouse.platform.web.request import Request
from gatehouse.platform.web.responses import Header, Response

#: The pages contain no script.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

LOGO_BYTES_MAX = 262_144
_LOGO_TYPES = frozenset({"image/svg+xml", "image/png", "image/jpeg", "image/webp"})

_DAY_S = 86_400


def date_of(expires_at: float | None) -> str:
    """The last day (UTC) of a key, such as 2031-01-31, or empty if it does not expire."""
    if expires_at is None:
        return ""
    last = datetime.fromtimestamp(expires_at, UTC) - timedelta(microseconds=1)
    return last.date().isoformat()


def end_of(date: str) -> float:
    """The end of a day in UTC, in Unix seconds. Raises ValueError."""
    return datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() + _DAY_S


def state_of(key: Key, now: float) -> str:
    if key.state in (KeyState.ACTIVE, KeyState.DISABLED):
        if key.expires_at is not None and key.expires_at <= now:
            return "expired"
        if key.successor_id is not None:
            return "replaced"
    return key.state.value


#: Units of a window, the longest first, with their lengths in seconds.
_UNITS = {"day": _DAY_S, "hour": 3600, "minute": 60, "second": 1}


def window_of(seconds: int, text: Callable[[str], str], number: Callable[[int], str]) -> str:
    """The window of a limit, in its longest unit: `day`, `15 minutes`."""
    unit = next(unit for unit, length in _UNITS.items() if seconds % length == 0)
    count = seconds // _UNITS[unit]
    return text(f"1_{unit}") if count == 1 else f"{number(count)} {text(f'n_{unit}')}"


PAGES = PageSet(
    "gatehouse.services.console.portal",
    [(b"content-security-policy", CONTENT_SECURITY_POLICY.encode())],
    date_of=date_of,
    state_of=state_of,
    window_of=window_of,
)


@dataclass(frozen=True, slots=True)
class Branding:
    """logo: media type and content. None: no logo."""

    name: str
    styles: bytes
    logo: tuple[str, bytes] | None

    @classmethod
    def of(cls, settings: Settings) -> "Branding":
        """Raises SettingsError if the logo cannot be read, or is no image."""
        colour, styles = settings.portal_colour, PAGES.static("portal.css")
        if colour:
            # The colour is a background only, with the text that has the higher contrast.
            styles += f":root {{ --brand: {colour}; --on-brand: {text_on(colour)}; }}\n".encode()
        return cls(settings.portal_name, styles, _logo(settings.portal_logo))


def _logo(path: str) -> tuple[str, bytes] | None:
    if not path:
        return None
    kind = mimetypes.guess_type(path)[0]
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise SettingsError(f"GATEHOUSE_PORTAL_LOGO cannot be read: {exc.strerror}") from None
    if kind not in _LOGO_TYPES or len(content) > LOGO_BYTES_MAX:
        raise SettingsError(
            f"GATEHOUSE_PORTAL_LOGO must be an SVG, PNG, JPEG or WebP file of at most "
            f"{LOGO_BYTES_MAX // 1024} KiB"
        )
    return kind, content


def text_on(colour: str) -> str:
    """Black or white, whichever has the higher contrast on a colour such as #0b5c4a, which is at
    least 4.58:1 (WCAG 2.2, relative luminance).
    """
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "#000" if (luminance + 0.05) ** 2 > 1.05 * 0.05 else "#fff"


@dataclass(frozen=True, slots=True)
class Pages:
    """Renders the pages for a request. language: empty for the language of the browser."""

    request: Request
    branding: Branding
    language: str = ""

    @property
    def texts(self) -> Mapping[str, str]:
        return PAGES.texts[self._language]

    @property
    def _language(self) -> str:
        accepted = self.request.header(b"accept-language")
        return self.language if self.language in PAGES.texts else PAGES.language(accepted)

    def page(
        self,
        template: str,
        heading: str,
        status: int = 200,
        headers: Iterable[Header] = (),
        **values: Any,
    ) -> Response:
        """Return a page. `values`: variables of the template."""
        language = self._language
        separator = "." if language == "de" else ","
        return PAGES.response(
            self.request,
            language,
            template,
            heading,
            status,
            headers,
            branding=self.branding,
            number=lambda value: f"{value:,}".replace(",", separator),
            now=self.request.now,
            **values,
        )

    def message(
        self, name: str, status: int = 200, headers: Iterable[Header] = (), **values: Any
    ) -> Response:
        """Return a page with only a text, whose name is `name`, and its title."""
        text = self.texts[name].format(**values)
        return self.page("message", self.texts[f"{name}_title"], status, headers, text=text)
