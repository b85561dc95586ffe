"""Checks credentials before they are sent, and removes them from texts of servers.

Every error names the parameter and never contains its value.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from gatehouse_client.errors import BadRequest, Problem
from gatehouse_client.response import SECRET_FIELDS

#: White space around the text of a file, and the byte order mark of some editors.
_AROUND = " \t\r\n\v\f\ufeff"
_SURROGATE = ("contains an unpaired surrogate", "remove it")
#: Shorter texts are parts of ordinary words.
_REDACTED_CHARS_MIN = 4
#: A part of every token and of every link.
_TOKEN = re.compile(
    r"_(?:test|live|admin|signin|session|core)_[\w-]{20}|[0-9A-Za-z]{22}#[0-9A-Za-z]{20}", re.ASCII
)


def credential(name: str, value: object) -> str:
    """The credential without the white space around it, which files have. name: of the parameter.
    Raises BadRequest if the credential is empty, or no header can contain it.
    """
    text = trimmed(value) if isinstance(value, str) else ""
    if not text:
        raise BadRequest(f"The {name} is empty: pass the credential as text.")
    if text[0] in "\"'`":
        raise BadRequest(f"The {name} is in quotation marks: remove them.")
    if not (text.isascii() and text.isprintable() and " " not in text):
        raise BadRequest(
            f"The {name} contains a character that is not allowed in a credential: only visible "
            "ASCII characters are."
        )
    return text


def trimmed(value: str) -> str:
    return value.strip(_AROUND)


def base_url(service: str, url: object) -> str:
    """The URL without slashes at its end. Raises BadRequest for text that is no URL of a service:
    it may be another parameter, or contain a password or the secret of a link.
    """
    text = trimmed(url).rstrip("/") if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)  # which accepts brackets around an IPv6 address only
        valid = parts.scheme in ("http", "https") and "@" not in parts.netloc
        valid = valid and bool(httpx.URL(text).host)
    except (httpx.InvalidURL, ValueError):
        valid = False
    if not valid or "?" in text or "#" in text:
        raise BadRequest(
            f"The URL of the {service} is not valid: pass a URL such as https://host.example.com, "
            "without a user name, a password, a query and a fragment."
        )
    return text


def check_url(path: str, query: Any = None) -> None:
    """Raises BadRequest for a token or a link in the path or the query, because programs record
    URLs, and for text that a URL cannot contain.
    """
    for location, text in (("path", path), *strings(query, "query")):
        if _TOKEN.search(text):
            raise _invalid(location, "contains a token or a link", "send an ID or a name")
        if not _is_unicode(text):
            raise _invalid(location, *_SURROGATE)


def not_unicode(body: Any) -> BadRequest:
    """The error for a body that contains text which UTF-8 cannot represent."""
    places = [location for location, text in strings(body, "body") if not _is_unicode(text)]
    return _invalid(places[0] if places else "body", *_SURROGATE)


def secrets_in(arguments: dict[str, Any]) -> list[str]:
    """The credentials and the secret content of a request."""
    headers = arguments.get("headers", {})
    texts = [
        text
        for location, text in strings(arguments.get("json"), "body")
        if not SECRET_FIELDS.isdisjoint(re.split(r"[.\[]", location))
    ]
    texts += [headers[name].strip('"') for name in ("Idempotency-Key",) if name in headers]
    texts += [text.rpartition("#")[2] for text in texts if "#" in text]
    return texts + [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """The text of a server, which may repeat what it received, without the secrets."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _REDACTED_CHARS_MIN:
            text = text.replace(secret, "...")
    return text


def strings(value: Any, location: str) -> Iterator[tuple[str, str]]:
    """Every string in JSON, with its location, such as `body.limits[0].name`."""
    if isinstance(value, str):
        yield location, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, f"{location}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from strings(item, f"{location}[{index}]")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _invalid(location: str, message: str, fix: str) -> BadRequest:
    return BadRequest(f"{location} {message}: {fix}.", errors=(Problem(location, message, fix),))
