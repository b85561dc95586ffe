"""Parses forms of type multipart/form-data (RFC 7578) while they are received."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator

import msgspec
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from gatehouse.core.errors import BadRequest, BodyTooLarge
from gatehouse.platform.http.asgi import KeepBytes

MEDIA_TYPE = "multipart/form-data"
#: Maximum number of headers in one part, and maximum size of one header in bytes.
_HEADERS_MAX = 8
_HEADER_BYTES_MAX = 2048
#: Maximum length of a boundary (RFC 2046, section 5.1.1).
_BOUNDARY_CHARS_MAX = 70

# The messages of the parser contain bytes of the body.
logging.getLogger("python_multipart.multipart").disabled = True


class Part(msgspec.Struct, frozen=True):
    """The headers of a part. `file_name`: untrusted name that the client sent. None for a field
    that is not a file.
    """

    name: str
    file_name: str | None
    media_type: str


class MultipartReader:
    """Reads a form part by part. Call `next_part`, then `read` for the content of the part.

    Methods raise BadRequest for a malformed or truncated body, and the errors of the iterator
    `body`.
    """

    def __init__(self, body: AsyncIterator[bytes], content_type: str) -> None:
        """Raises BadRequest if the media type is different or has no boundary."""
        media_type, parameters = parse_options_header(content_type)
        boundary = parameters.get(b"boundary", b"")
        if (
            media_type.decode("latin-1") != MEDIA_TYPE
            or not 0 < len(boundary) <= _BOUNDARY_CHARS_MAX
        ):
            raise BadRequest(f"The request is not {MEDIA_TYPE} with a boundary.")
        self._body = body
        self._events: deque[Part | bytes | None] = deque()  # None: the end of a part
        self._in_part = False
        self._complete = False
        self._header = bytearray()
        self._value = bytearray()
        self._headers: dict[str, str] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_part,
                "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                "on_part_end": lambda: self._events.append(None),
                "on_end": self._end,
            },
            max_header_count=_HEADERS_MAX,
            max_header_size=_HEADER_BYTES_MAX,
        )

    async def next_part(self) -> Part | None:
        """The next part, or None after the last part. Skips the unread content of the current
        part.
        """
        while self._in_part:
            await self._chunk()
        event = await self._event()
        if event is None:
            return None
        assert isinstance(event, Part)  # noqa: S101 - content is between a part and its end
        self._in_part = True
        return event

    async def read(self, bytes_max: int, keep: KeepBytes) -> bytes:
        """The content of the current part. Raises BodyTooLarge if it is larger than `bytes_max`,
        and the errors of `keep`, which counts the bytes in memory (`asgi.body_memory`).
        """
        content = bytearray()
        while (chunk := await self._chunk()) is not None:
            content += chunk
            keep(len(chunk))
            if len(content) > bytes_max:
                raise BodyTooLarge(f"A part of the request body is larger than {bytes_max} bytes.")
        return bytes(content)

    async def _chunk(self) -> bytes | None:
        """A piece of the content of the current part, or None at its end."""
        if not self._in_part:
            return None
        event = await self._event()
        self._in_part = event is not None
        assert not isinstance(event, Part)  # noqa: S101 - a part ends before the next one begins
        return event

    async def _event(self) -> Part | bytes | None:
        """The next event. Also returns None after the last part."""
        while not self._events and not self._complete:
            try:
                self._parser.write(await anext(self._body))
            except StopAsyncIteration:
                raise BadRequest("The form is truncated.") from None
            except FormParserError:
                raise BadRequest("The form is not valid multipart/form-data.") from None
        return self._events.popleft() if self._events else None

    def _end_header(self) -> None:
        name = self._header.decode("latin-1").lower()
        if name in self._headers:
            raise BadRequest("A header of a part is repeated.")
        self._headers[name] = self._value.decode("latin-1")
        self._header.clear()
        self._value.clear()

    def _begin_part(self) -> None:
        headers, self._headers = self._headers, {}
        disposition, parameters = parse_options_header(
            headers.get("content-disposition", "").encode("latin-1")
        )
        if disposition != b"form-data" or b"name" not in parameters:
            raise BadRequest("A part of the form has no name.")
        file_name = parameters.get(b"filename")
        self._events.append(
            Part(
                _text(parameters[b"name"]),
                None if file_name is None else _text(file_name),
                headers.get("content-type", ""),
            )
        )

    def _end(self) -> None:
        self._complete = True


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("A name in the form is not UTF-8.") from None
