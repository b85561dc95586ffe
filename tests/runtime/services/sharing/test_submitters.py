"""The page and the API for a secret request."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import FILES_BYTES_MAX
from gatehouse.features.secrets.schemas import FILES_MAX
from gatehouse.platform.web import request as http_request
from gatehouse.services.sharing.submitted_form import FIELD_CHARS_MAX

from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import ORIGIN, TEXT, Sharing
from tests.runtime.services.sharing.test_recipients import SAME_ORIGIN, hidden


def multipart(fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, value if isinstance(value, tuple) else (None, value)) for name, value in fields]


async def submit(
    browser: httpx.AsyncClient,
    token: LinkToken,
    *files: tuple[str, bytes],
    text: str = "",
    **changes: Any,
) -> httpx.Response:
    page = await browser.get(f"/r/{token.path}")
    form = {**hidden(page.text), "link": token.url(ORIGIN), "text": text, **changes.pop("form", {})}
    parts = multipart(
        [*form.items(), *(("file", (name, content, "text/plain")) for name, content in files)]
    )
    return await browser.post(
        f"/r/{token.path}", files=parts, headers=SAME_ORIGIN | changes.pop("headers", {})
    )


async def received(sharing: Sharing, token: LinkToken) -> int:
    return int((await sharing.secrets.get(token.path)).state == "active")


async def test_form_submits_text_and_files_once(
    browser: httpx.AsyncClient, sharing: Sharing
) -> None:
    _, token, link = await request(sharing)
    reply = await submit(
        browser, token, ("ü.txt", b"\x00\xff"), ("b.bin", b"b"), text="line\r\nother \N{HORSE FACE}"
    )
    assert (reply.status_code, 'id="submitted"' in reply.text) == (200, True)
    assert reply.headers["cache-control"] == "no-store"
    opened = await sharing.open(link)
    assert [(item.name, item.media_type) for item in opened.items[1:]] == [
        ("ü.txt", "text/plain"),
        ("b.bin", "text/plain"),
    ]
    contents = [await sharing.text(opened, number) for number in range(3)]
    assert contents == ["line\nother \N{HORSE FACE}".encode(), b"\x00\xff", b"b"]
    again = await browser.get(f"/r/{token.path}")
    assert (again.status_code, 'id="submitted"' in again.text) == (200, True)
    browser.cookies.clear()
    assert (await browser.get(f"/r/{token.path}")).status_code == 404


@pytest.mark.parametrize(
    ("files", "text", "message"),
    [
        ([], "", "Enter text or choose a file."),
        ([], "ü" * 32_769, "The text is longer than 64 KiB."),
        ([], "x" * 200_000, "The text is longer than 64 KiB."),
        (
            [("a", b"a" * FILES_BYTES_MAX), ("b", b"b")],
            "",
            "The total size of the files exceeds 4 MB.",
        ),
        (
            [(f"{number}", b"a") for number in range(FILES_MAX + 1)],
            "",
            "More than 10 files are selected.",
        ),
        ([("a", b"a"), ("a", b"b")], "", "Two files have the same name."),
        ([("../../etc/passwd", b"a")], "", "A file name is not allowed."),
        ([("a" * 256, b"a")], "", "A file name is not allowed."),
    ],
)
async def test_invalid_content_is_one_message_and_stores_nothing(
    browser: httpx.AsyncClient,
    sharing: Sharing,
    files: list[tuple[str, bytes]],
    text: str,
    message: str,
) -> None:
    _, token, link = await request(sharing)
    reply = await submit(browser, token, *files, text=text or ("sent text" if files else ""))
    assert (reply.status_code, reply.text.count('role="alert"')) == (400, 1)
    assert message in reply.text
    assert ("sent text</textarea>" in reply.text) == bool(files)
    assert (
        await received(sharing, token),
        [key for key in sharing.object_versions() if link.secret_id in key],
    ) == (0, [])
    assert (await submit(browser, token, text="corrected")).status_code == 200


_FIELDS = [("csrf", "CSRF"), ("submission", "x"), ("link", "LINK")]
_FILE = ("a", b"a", "text/plain")


@pytest.mark.parametrize(
    "fields",
    [
        [("unknown", "1")],
        [*_FIELDS, ("text", "a"), ("text", "b")],
        [*_FIELDS, ("file", "not a file")],
        [*_FIELDS, ("text", _FILE)],
        [("csrf", "CSRF"), ("submission", ""), ("link", "LINK"), ("text", "a")],
        [("csrf", "CSRF"), ("submission", "x" * (FIELD_CHARS_MAX + 1)), ("link", "LINK")],
    ],
)
async def test_changed_form_is_rejected_with_a_page(
    browser: httpx.AsyncClient, sharing: Sharing, fields: list[tuple[str, Any]]
) -> None:
    _, token, _ = await request(sharing)
    values = {
        "CSRF": hidden((await browser.get(f"/r/{token.path}")).text)["csrf"],
        "LINK": token.url(ORIGIN),
    }
    parts = multipart(
        [
            (name, values.get(value, value) if isinstance(value, str) else value)
            for name, value in fields
        ]
    )
    reply = await browser.post(f"/r/{token.path}", files=parts, headers=SAME_ORIGIN)
    assert reply.status_code in (400, 403)
    assert "<h1>" in reply.text
    assert await received(sharing, token) == 0


@pytest.mark.parametrize("link", ["", "{path}", "{other}"])
async def test_incomplete_link_is_named_on_the_page(
    browser: httpx.AsyncClient, sharing: Sharing, link: str
) -> None:
    _, token, _ = await request(sharing)
    _, other, _ = await request(sharing)
    value = link.format(path=token.path, other=other.url(ORIGIN))
    reply = await submit(browser, token, text="text", form={"link": value})
    assert (reply.status_code, "The link is incomplete." in reply.text) == (400, True)
    assert (await received(sharing, token), await received(sharing, other)) == (0, 0)


async def test_program_submits_a_form(browser: httpx.AsyncClient, sharing: Sharing) -> None:
    _, token, link = await request(sharing)
    fields = [
        ("link", token.url(ORIGIN)),
        ("text", TEXT.decode()),
        ("file", ("key.bin", b"\x00\xff", "text/plain")),
    ]
    reply = await browser.post("/v1/requests/submit", files=multipart(fields))
    assert (reply.status_code, list(reply.json())) == (200, ["submission"])
    again = await browser.post(
        "/v1/requests/submit",
        files=multipart([("submission", reply.json()["submission"]), *fields]),
    )
    assert (again.status_code, again.json(), await received(sharing, token)) == (
        200,
        reply.json(),
        1,
    )
    opened = await sharing.open(link)
    assert [await sharing.text(opened, number) for number in (0, 1)] == [TEXT, b"\x00\xff"]


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ([("text", "a" * 20_000), ("link", "LINK")], "body.link"),
        ([("link", "LINK")], "body"),
        ([("link", "LINK"), ("text", "a"), ("other", "s")], ""),
        ([("link", "LINK"), ("file", ("a/b", b"", "text/plain"))], "body.files"),
    ],
)
async def test_invalid_submission_of_a_program_names_the_field(
    browser: httpx.AsyncClient, sharing: Sharing, fields: list[tuple[str, Any]], location: str
) -> None:
    _, token, _ = await request(sharing)
    form = multipart(
        [(name, token.url(ORIGIN) if value == "LINK" else value) for name, value in fields]
    )
    reply = await browser.post("/v1/requests/submit", files=form)
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")
    assert [problem["location"] for problem in reply.json().get("errors", [])] == (
        [location] if location else []
    )
    assert await received(sharing, token) == 0


@pytest.mark.parametrize("name", ["text", "file"])
async def test_link_is_checked_before_content_is_received(
    browser: httpx.AsyncClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_request, "DISCARDED_BYTES_MAX", 0)
    part, read = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n{}', list[int]()

    async def body() -> AsyncIterator[bytes]:
        yield part.format("link", "", f"{'A' * 22}#{'A' * 43}\r\n").encode()
        yield part.format(name, '; filename="a"' if name == "file" else "", "").encode()
        for number in range(10):
            read.append(number)
            yield b"a" * 65_536

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await browser.post("/v1/requests/submit", content=body(), headers=headers)
    assert (reply.status_code, read) == (404, [])


_TEXT = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\na\r\n'


@pytest.mark.parametrize(
    "end",
    [
        b"",
        _TEXT,
        b"no boundary",
        b"--b\r\n\r\nno disposition\r\n--b--\r\n",
        b"--b\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(20)) + b"\r\n\r\n--b--",
        _TEXT * 100 + b"--b--\r\n",
    ],
)
async def test_malformed_form_is_rejected(
    browser: httpx.AsyncClient, sharing: Sharing, end: bytes
) -> None:
    _, token, _ = await request(sharing)
    link = _TEXT.replace(b'"text"', b'"link"').replace(
        b"\r\na", b"\r\n" + token.url(ORIGIN).encode()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    reply = await browser.post("/v1/requests/submit", content=link + end, headers=headers)
    assert (reply.status_code, await received(sharing, token)) == (400, 0)


async def test_json_submission_is_rejected_before_its_body_is_read(
    browser: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_request, "DISCARDED_BYTES_MAX", 0)
    body, read = b'{"text":"' + b"a" * 200_000, 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal read
        for position in range(0, len(body), 65_536):
            read += 1
            yield body[position : position + 65_536]

    headers = {"Content-Type": "application/json"}
    reply = await browser.post("/v1/requests/submit", content=parts(), headers=headers)
    assert (reply.status_code, read) == (400, 0)
