"""Recognizes requests on a connection that have the same head, so that the head is parsed only once."""

from __future__ import annotations

from typing import NamedTuple

from gatehouse.http import asgi


class RepeatedHead(NamedTuple):
    """The head of the previous request of a connection, byte by byte, and the function that responds to requests with this head.

    size: size of a request with this head, including the body.
    """

    head: bytes
    size: int
    respond: asgi.RespondNow


def repeated_head(data: bytes, respond: asgi.RespondNow, body_size: int) -> RepeatedHead | None:
    """The head of the only request in `data`, or None if `data` does not consist of a head and a body of this size (for example,
    because the body is chunked)."""
    head, end, body = data.partition(b"\r\n\r\n")
    return RepeatedHead(head + end, len(data), respond) if end and len(body) == body_size else None
