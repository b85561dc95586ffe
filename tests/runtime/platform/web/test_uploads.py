"""multipart/form-data forms."""

from weakref import ref

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.platform.web.uploads import MultipartForm, Part
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
    Part("text", None, "", bytearray(b"first\r\n-\r\n--X")),
    Part("file", "ü.txt", "text/plain"),
    Part("file", "a;b.bin", "", bytearray(b"\x00\xff--XX")),
]


def read(body: bytes, content_type: str = TYPE, size: int = 7) -> list[Part]:
    form = MultipartForm(content_type)
    for start in range(0, len(body), size):
        form.write(body[start : start + size])
    form.close()
    return form.parts


@given(size=st.integers(1, len(FORM)))
def test_parts_are_the_same_for_any_split(size: int) -> None:
    assert read(FORM, size=size) == PARTS


def test_unfinished_part_has_the_content_received_so_far() -> None:
    form = MultipartForm(TYPE)
    form.write(FORM[: FORM.index(b"--XX\r\n", 10)])
    assert bytes(form.parts[0].content[:5]) == b"first"
    assert not form.complete
    assert "first" not in repr(form.parts)
    form_in_memory = ref(form)
    del form
    assert form_in_memory() is None  # without garbage collection


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
def test_other_content_type_is_rejected(content_type: str) -> None:
    with pytest.raises(BadRequest):
        read(FORM, content_type)


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
        b'--XX\r\nContent-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; '
        b'name="b"\r\n\r\n\r\n--XX--\r\n',
        b'--XX\r\nContent-Disposition: form-data; name="'
        + b"a" * 3000
        + b'"\r\n\r\n\r\n--XX--\r\n',
        b"--XX\r\n"
        + b"".join(b"X-%d: 1\r\n" % number for number in range(20))
        + b"\r\n\r\n--XX--\r\n",
    ],
)
def test_malformed_form_is_rejected(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read(body)


@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_else(body: bytes) -> None:
    try:
        read(body)
    except BadRequest:
        return


def test_number_of_parts_is_bounded() -> None:
    part = b'--XX\r\nContent-Disposition: form-data; name="file"; filename=""\r\n\r\n\r\n'
    assert len(read(part * 100 + b"--XX--\r\n")) == 100
    with pytest.raises(BadRequest):
        read(part * 101 + b"--XX--\r\n")
