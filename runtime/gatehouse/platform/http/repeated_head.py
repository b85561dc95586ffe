"""Recognizes requests on a connection that have the same head, or the same header fields, so that they are parsed only once."""

from __future__ import annotations

import re

import msgspec

from gatehouse.platform.http import asgi

#: A request line with a path and an optional query, as the parser accepts it. The application checks the method and the path.
_REQUEST_LINE = re.compile(rb"([A-Z]{3,16}) (/[!\"$->@-~]*)(?:\?([!\"$-~]*))? HTTP/1\.1")

#: Longer request lines are parsed.
_REQUEST_LINE_BYTES_MAX = 8_192


class RepeatedHead(msgspec.Struct, frozen=True):
    """The head of the previous request of a connection, byte by byte, and the function that responds to requests with this head.

    size: size of a request with this head, including the body. line_size: size of the request line without its line break.
    """

    head: bytes
    size: int
    line_size: int
    respond: asgi.RespondNow

    def with_target(self, data: bytes) -> RepeatedHead | None:
        """The head of the only request in `data` if it differs only in the request line. None if the data has to be parsed."""
        if not isinstance(self.respond, asgi.RetargetedResponse):
            return None
        end = data.find(b"\r\n", 0, _REQUEST_LINE_BYTES_MAX)
        fields = self.head[self.line_size :]
        if end < 0 or len(data) - end != self.size - self.line_size or not data.startswith(fields, end):
            return None
        line = _REQUEST_LINE.fullmatch(data, 0, end)
        respond = None if line is None else self.respond.for_target(line[1], line[2], line[3] or b"")
        return None if respond is None else RepeatedHead(data[: end + len(fields)], len(data), end, respond)


def repeated_head(data: bytes, respond: asgi.RespondNow, body_size: int) -> RepeatedHead | None:
    """The head of the only request in `data`, or None if `data` does not consist of a head and a body of this size (for example,
    because the body is chunked)."""
    head, end, body = data.partition(b"\r\n\r\n")
    return RepeatedHead(head + end, len(data), data.find(b"\r\n"), respond) if end and len(body) == body_size else None
