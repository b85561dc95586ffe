"""multipart/form-data forms: arbitrary splits of the bytes, and malformed bodies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from gatehouse.core.errors import BadRequest, BodyTooLarge
from gatehouse.platform.http.multipart import MultipartReader, Part
from hypothesis import given
from hypothesis import strategies as st

TYPE = "multipart/form-data; boundary=XX"
FORM = (
    b'--XX\r\nContent-Disposition: form-data; name="text"\r\n\r\nfirst\r\n-\r\n--X\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="file"; '
    b'filename="\xc3\xbc.txt"\r\nContent-Type: text/plain\r\n\r\n\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="file"; '
    b'filename="a;b.bin"\r\n\r\n\x00\xff--XX\r\n--XX--\r\n'
)
PARTS = [
    (Part("text", None, ""), b"first\r\n-\r\n--X"),
    (Part("file", "ü.txt", "text/plain"), b""),
    (Part("file", "a;b.bin", ""), b"\x00\xff--XX"),
]


async def pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


async def read(
    body: bytes, content_type: str = TYPE, size: int = 7, bytes_max: int = 100
) -> list[tuple[Part, bytes]]:
    reader = MultipartReader(pieces(body, size), content_type)
    parts = []
    while (part := await reader.next_part()) is not None:
        parts.append((part, await reader.read(bytes_max, lambda size: None)))
    return parts


@given(size=st.integers(1, len(FORM)))
async def test_parts_are_the_same_for_any_split(size: int) -> None:
    assert await read(FORM, size=size) == PARTS


async def test_unread_content_is_skipped() -> None:
    reader = MultipartReader(pieces(FORM, 5), TYPE)
    assert [await reader.next_part() for _ in range(4)] == [*(part for part, _ in PARTS), None]


async def test_part_above_the_limit_is_rejected_before_its_end() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield FORM[: FORM.index(b"first")]
        while True:
            yield b"x" * 1000

    reader = MultipartReader(endless(), TYPE)
    await reader.next_part()
    with pytest.raises(BodyTooLarge):
        await reader.read(10_000, lambda size: None)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"{TYPE}{'X' * 70}",
    ],
)
async def test_other_content_type_is_rejected(content_type: str) -> None:
    with pytest.raises(BadRequest):
        await read(FORM, content_type)


@pytest.mark.bound("http.multipart:_HEADERS_MAX", "http.multipart:_HEADER_BYTES_MAX")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary",
        FORM[:-6],
        FORM[:40],
        b"--XX\r\n\r\nno disposition\r\n--XX--\r\n",
        b'--XX\r\nContent-Disposition: attachment; name="a"\r\n\r\n\r\n--XX--\r\n',
        b"--XX\r\nContent-Disposition: form-data\r\n\r\n\r\n--XX--\r\n",
        b'--XX\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n--XX--\r\n',
        (
            b'--XX\r\nContent-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; '
            b'name="b"\r\n\r\n\r\n--XX--\r\n'
        ),
        b'--XX\r\nContent-Disposition: form-data; name="'
        + b"a" * 3000
        + b'"\r\n\r\n\r\n--XX--\r\n',
        b"--XX\r\n"
        + b"".join(b"X-%d: 1\r\n" % number for number in range(20))
        + b"\r\n\r\n--XX--\r\n",
    ],
)
async def test_malformed_form_is_rejected(body: bytes) -> None:
    with pytest.raises(BadRequest):
        await read(body)


@given(body=st.binary(max_size=200))
async def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    try:
        await read(body)
    except BadRequest:
        return


async def test_body_without_parts_is_an_empty_form() -> None:
    assert await read(b"--XX--\r\n") == []
