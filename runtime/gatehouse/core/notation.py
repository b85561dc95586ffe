"""Notation of durations and rate limits in options of commands and in files from other systems, and
text of URLs and tokens.
"""

import base64
import re

RATE_LIMIT_FORM = "[NAME=]QUOTA[/WINDOW][:BURST][*COST]"

_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_RATE_LIMIT = re.compile(
    r"(?:([a-z][a-z0-9_.-]{0,63})=)?([0-9]{1,10})(?:/([0-9]{1,9}[smhdw]?))?(?::([0-9]{1,10}))?"
    r"(?:\*([0-9]{1,7}))?",
    re.ASCII,
)


def duration_s(text: str) -> int | None:
    """The seconds of a duration such as `90d`, `12h` or `45`, or None for other text."""
    match = _DURATION.fullmatch(text)
    return None if match is None else int(match[1]) * _UNITS_S[match[2]]


def duration(seconds: int) -> str:
    """The shortest text that `duration_s` converts to these seconds, without weeks."""
    unit = next((each for each in "dhm" if seconds and seconds % _UNITS_S[each] == 0), "s")
    return f"{seconds // _UNITS_S[unit]}{unit}"


def plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun != "key" else f"{noun}s"


def count(number: int, noun: str) -> str:
    """Number with its noun, such as `1 key` or `2 keys`."""
    return f"{number} {noun if number == 1 else plural(noun)}"


def rate_limit(text: str) -> dict[str, str | int] | None:
    """The fields of a rate limit in the form RATE_LIMIT_FORM, or None for other text. WINDOW is a
    duration (default: one minute), and NAME is `requests` by default.
    """
    match = _RATE_LIMIT.fullmatch(text)
    if match is None:
        return None
    name, quota, window, burst, cost = match.groups()
    limit: dict[str, str | int] = {
        "name": name or "requests",
        "quota": int(quota),
        "window_s": duration_s(window or "1m") or 0,
    }
    optional = {"burst": burst, "cost": cost}
    return limit | {field: int(number) for field, number in optional.items() if number}


def base64url(content: bytes) -> str:
    """Base64 with the URL-safe alphabet and without padding (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def is_visible_ascii(text: str) -> bool:
    """True if all characters are visible ASCII characters, of which a space is none."""
    return text.isascii() and text.isprintable() and " " not in text
