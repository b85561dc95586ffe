"""Responses of all services, and their headers."""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from starlette import responses

#: Path of the readiness check of every service.
READY_PATH = "/readyz"
Header = tuple[bytes, bytes]
JSON = b"application/json"
#: Default headers of responses.
NO_STORE: tuple[Header, ...] = ((b"cache-control", b"no-store"),)
_encoder = msgspec.json.Encoder()


class Response(responses.Response):
    """A complete response with encoded headers."""

    body: bytes

    def __init__(self, status_code: int, raw_headers: list[Header], body: bytes = b"") -> None:
        self.status_code, self.raw_headers, self.body = status_code, raw_headers, body
        self.background = None


class StreamedResponse(responses.StreamingResponse):
    """A response whose body is sent in parts, with encoded headers."""

    body_iterator: AsyncIterator[bytes]

    def __init__(
        self, status_code: int, raw_headers: list[Header], parts: AsyncIterator[bytes]
    ) -> None:
        self.status_code, self.raw_headers, self.body_iterator = status_code, raw_headers, parts
        self.background = None


def encode(value: object) -> bytes:
    return _encoder.encode(value)


def response_headers(
    body: bytes,
    content_type: bytes,
    headers: Sequence[Header],
    defaults: Sequence[Header] = NO_STORE,
) -> list[Header]:
    """Headers of a response: the headers that describe the body, `headers`, and those of `defaults`
    with another name.
    """
    media_type = [(b"content-type", content_type)] if body else []
    length = (b"content-length", str(len(body)).encode())
    return [length, *missing(defaults, headers), *headers, *media_type]


def missing(defaults: Iterable[Header], headers: Iterable[Header]) -> list[Header]:
    names = dict(headers)
    return [header for header in defaults if header[0] not in names]
