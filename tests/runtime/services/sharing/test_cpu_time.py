"""The CPU time with the largest requests and secrets."""

import ipaddress
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest
from gatehouse.core.addresses import ClientAddresses
from gatehouse.features.sharing.link_schemas import AcknowledgeLink, LookUpLink, OpenLink
from gatehouse.features.sharing.link_token import LinkToken
from gatehouse.features.sharing.links import claim_id_of
from gatehouse.features.sharing.models import FILES_BYTES_MAX, RECIPIENTS_MAX, TEXT_BYTES_MAX
from gatehouse.features.sharing.models import USES_MAX as USES
from gatehouse.features.sharing.schemas import FILE_NAME_CHARS_MAX, FILES_MAX, NAME_CHARS_MAX
from gatehouse.features.sharing.service import NewItem
from gatehouse.platform.http.asgi import Header

from tests.runtime.features.sharing.services import ORIGIN, Sharing
from tests.runtime.features.sharing.test_submissions import request
from tests.runtime.largest_values import largest
from tests.runtime.services.costs import ADDRESS, cheapest, send, slow_heads
from tools.fuzz.cpu_time import BUDGET_S

#: The largest files and text, with content that is expensive to search and to escape.
FILES = {
    str(number).ljust(FILE_NAME_CHARS_MAX, "é"): b"\r\n--" * (FILES_BYTES_MAX // FILES_MAX // 4)
    for number in range(FILES_MAX)
}
TEXT = "<" * TEXT_BYTES_MAX
NONCE = "n" * 32
JSON = (b"content-type", b"application/json")
FORM = (b"content-type", b"application/x-www-form-urlencoded")
COOKIE = (b"cookie", f"__Host-csrf={NONCE}".encode())

#: Returns the value of the parameter in the path, the header fields and the body of a request.
Prepare = Callable[[Sharing], Awaitable[tuple[str, list[Header], bytes]]]


async def link(sharing: Sharing) -> LinkToken:
    _, (token, *_) = await sharing.create(
        items=[NewItem(TEXT.encode()), *(NewItem(text, name) for name, text in FILES.items())],
        uses=USES,
        recipients=[str(number).ljust(NAME_CHARS_MAX) + "." for number in range(RECIPIENTS_MAX)],
        sender="é" * NAME_CHARS_MAX,
    )
    return token


def api(kind: Any) -> Prepare:
    async def prepare(sharing: Sharing) -> tuple[str, list[Header], bytes]:
        token, value = await link(sharing), largest(kind)
        if "claim" in value:
            await sharing.open(token, claim_id_of(value["claim"], token.path))
        return "", [JSON], msgspec.json.encode({**value, "link": token.url(ORIGIN)})

    return prepare


async def no_body(sharing: Sharing) -> tuple[str, list[Header], bytes]:
    return (await link(sharing)).path, [], b""


async def form(sharing: Sharing) -> tuple[str, list[Header], bytes]:
    token = await link(sharing)
    claim = "c" * 5_000
    await sharing.open(token, claim_id_of(claim, token.path))
    fields = {"csrf": NONCE, "claim": claim, "link": token.url(ORIGIN)}
    return token.path, [FORM, COOKIE], urlencode(fields).encode()


async def requested(sharing: Sharing) -> tuple[str, list[Header], bytes]:
    return (await request(sharing, purpose="é" * 500))[1].path, [], b""


def submission(**fields: str) -> Prepare:
    async def prepare(sharing: Sharing) -> tuple[str, list[Header], bytes]:
        token = (await request(sharing))[1]
        texts = {**fields, "link": token.url(ORIGIN), "text": TEXT}
        parts: list[Any] = [
            *((name, (None, value)) for name, value in texts.items()),
            *(("file", (name, content)) for name, content in FILES.items()),
        ]
        encoded = httpx.Request("POST", ORIGIN, files=parts)
        content_type = (b"content-type", encoded.headers["content-type"].encode())
        return token.path, [content_type, COOKIE], encoded.read()

    return prepare


#: A request for each path and method.
REQUESTS: dict[tuple[str, str], Prepare] = {
    ("POST", "/v1/links/lookup"): api(LookUpLink),
    ("POST", "/v1/links/open"): api(OpenLink),
    ("POST", "/v1/links/acknowledge"): api(AcknowledgeLink),
    ("POST", "/v1/requests/submit"): submission(submission="s" * 1_000),
    ("GET", "/s/{link}"): no_body,
    ("POST", "/s/{link}"): form,
    ("POST", "/s/{link}/items/{item}"): form,
    ("POST", "/s/{link}/acknowledge"): form,
    ("GET", "/r/{request}"): requested,
    ("POST", "/r/{request}"): submission(csrf=NONCE, submission="s" * 1_000),
    **dict.fromkeys(
        [
            ("GET", path)
            for path in (
                *("/", "/openapi.json", "/share.css", "/share.js"),
                *("/healthz", "/readyz", "/metrics"),
            )
        ],
        no_body,
    ),
}


@pytest.fixture(scope="module")
def app(module_services: Sharing) -> Any:
    proxies = ClientAddresses((ipaddress.ip_network(f"{ADDRESS}/32"),))
    return module_services.app(addresses=proxies)


def test_every_path_has_a_request(app: Any) -> None:
    assert {path for _, path in REQUESTS} == app.routes.templates


@pytest.mark.parametrize(("method", "template"), REQUESTS)
async def test_largest_request_takes_at_most_20_ms(
    module_services: Sharing, app: Any, method: str, template: str
) -> None:
    async def call() -> Any:
        parameter, headers, body = await REQUESTS[method, template](module_services)
        path = template.replace("{link}", parameter).replace("{request}", parameter)
        return await send(app, method, path.replace("{item}", "1"), headers, body)

    reply = await cheapest(call)
    assert (reply.status < 300, reply.cpu_s <= BUDGET_S) == (True, True), reply.cpu_s


@pytest.mark.parametrize(("method", "template"), REQUESTS)
async def test_any_head_takes_at_most_20_ms(app: Any, method: str, template: str) -> None:
    fixed = JSON if "/v1/" in template else FORM, COOKIE
    assert await slow_heads(app, method, template, *fixed) == []


#: A disposition, and the content of a file with which the parser takes most time.
DISPOSITION = b'form-data; name="file"; filename="%b"'
COSTLY = b"\r\n--X\r"


@pytest.mark.parametrize(
    "body",
    [
        b"--X\r\ncontent-disposition: %b\r\n\r\n\r\n" % (DISPOSITION % (b";" * 1_900)) * 60,
        b"--X\r\ncontent-disposition: %b\r\n\r\n" % (DISPOSITION % b"a") + COSTLY * 20_000,
    ],
)
async def test_costly_part_of_a_form_takes_at_most_20_ms(app: Any, body: bytes) -> None:
    headers = [(b"content-type", b"multipart/form-data; boundary=X")]
    reply = await cheapest(partial(send, app, "POST", "/v1/requests/submit", headers, body))
    assert (reply.status, reply.cpu_s <= BUDGET_S) == (400, True), reply.cpu_s
