""".gatehouse/docs/headers.md: names of the header fields that the gateway forwards between clients
and Cores.
"""

from __future__ import annotations

from collections.abc import Iterable

from gatehouse.platform.http import header_names as names

from tools.docs import markdown


def page() -> str:
    """The lists of names and words, in alphabetical order."""
    return markdown.page(
        "headers",
        request_fields=_joined(names.REQUEST_FIELDS),
        request_prefixes=_joined(prefix + b"*" for prefix in names.REQUEST_PREFIXES),
        request_words=_joined(names.REQUEST_WORDS),
        response_fields=_joined(names.RESPONSE_FIELDS),
        response_prefixes=_joined(prefix + b"*" for prefix in names.RESPONSE_PREFIXES),
        response_words=_joined(names.RESPONSE_WORDS),
        handshake_fields=_joined(names.HANDSHAKE_FIELDS),
        name_chars_max=names.NAME_CHARS_MAX,
    )


def _joined(listed: Iterable[bytes]) -> str:
    return ", ".join(f"`{name.decode('ascii')}`" for name in sorted(listed))
