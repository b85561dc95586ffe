"""Concurrent clients of every route in both deployment forms."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import msgspec
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.platform.settings import SharingSettings
from gatehouse.platform.web.form_protection import number_to_type
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing.lambda_adapter import lambda_handler
from mangum.types import LambdaContext

from tests.runtime.features.secrets.services import ORIGIN
from tests.runtime.services.sharing.api_gateway_events import encoded, event

#: Content of the secrets. A denied request must not return it.
CANARY = "canary7Hq1dZ8eUfGh"
Form = Literal["container", "function"]
#: Instances of the function.
_INSTANCES = 3
#: Repetitions of a failing request. After the last repetition, the failure is the outcome.
_REPETITIONS_MAX = 50


@dataclass(frozen=True)
class Message:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def _form(suffix: str) -> Callable[[LinkToken, str], Message]:
    def message(token: LinkToken, claim: str) -> Message:
        nonce = "n" * 32
        fields = {
            "csrf": nonce,
            "claim": claim,
            "link": token.url(ORIGIN),
            "number": number_to_type(claim),
        }
        headers = {
            "Cookie": f"__Host-csrf={nonce}",
            "Sec-Fetch-Site": "same-origin",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Message("POST", f"/s/{token.path}{suffix}", headers, urlencode(fields).encode())

    return message


def _api(path: str) -> Callable[[LinkToken, str], Message]:
    def message(token: LinkToken, claim: str) -> Message:
        body = {"link": token.url(ORIGIN), "claim": claim}
        return Message(
            "POST", path, {"Content-Type": "application/json"}, json.dumps(body).encode()
        )

    return message


#: Functions that create the request to open a link, keyed by route. Every route of the sharing
#: service that returns content.
OPENING: dict[str, Callable[[LinkToken, str], Message]] = {
    "/s/{link}": _form(""),
    "/s/{link}/items/{item}": _form("/items/0"),
    "/v1/links/open": _api("/v1/links/open"),
}


def submission(token: LinkToken, number: str) -> Message:
    """A request that submits the canary and the number. The response contains both."""
    fields = {"link": token.url(ORIGIN), "submission": CANARY + number, "text": CANARY + number}
    files = {name: (None, value) for name, value in fields.items()}
    form = httpx.Request("POST", f"{ORIGIN}/v1/requests/submit", files=files)
    return Message(
        "POST", form.url.path, {"Content-Type": form.headers["content-type"]}, form.read()
    )


async def in_container(app: Any, message: Message) -> httpx.Response:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=ORIGIN, trust_env=False
    ) as client:
        return await client.request(
            message.method, message.path, headers=message.headers, content=message.body
        )


def in_function(handler: Any, message: Message) -> httpx.Response:
    headers = {name: [value] for name, value in message.headers.items()}
    reply = handler(
        event(message.method, message.path, headers=headers, **encoded(message.body)), LambdaContext
    )
    body = base64.b64decode(reply["body"]) if reply["isBase64Encoded"] else reply["body"].encode()
    return httpx.Response(reply["statusCode"], headers=reply["headers"], content=body)


def outcome(reply: httpx.Response) -> str:
    """`content` for a response with the canary, `denied`, or an outcome that is not allowed."""
    shown = CANARY.encode() in reply.content
    if reply.status_code == 200:
        return "content" if shown else "200 without content"
    return (
        "denied"
        if reply.status_code in (404, 429) and not shown
        else f"{reply.status_code}, content: {shown}"
    )


async def race(
    settings: SharingSettings, messages: Sequence[Message], forms: Sequence[Form]
) -> list[str]:
    """The outcomes of messages that are sent at the same time, to one container and to instances of
    the function, each with its own clients.
    """
    # At the first use of a type, msgspec builds its description without a lock. In a deployment,
    # one thread uses the types.
    for model in msgspec.Struct.__subclasses__():
        with suppress(TypeError):
            msgspec.json.Decoder(model)
    app = sharing_app.build(settings)
    instances: SimpleQueue[Any] = SimpleQueue()
    for _ in range(_INSTANCES):
        instances.put(lambda_handler(sharing_app.build(settings)))

    def call(message: Message) -> httpx.Response:
        handler = instances.get()
        try:
            return in_function(handler, message)
        finally:
            instances.put(handler)

    async def send(message: Message, form: Form) -> str:
        for _ in range(_REPETITIONS_MAX):
            if form == "container":
                reply = await in_container(app, message)
            else:
                reply = await asyncio.to_thread(call, message)
            if reply.status_code != 503:
                break
        return outcome(reply)

    return await asyncio.gather(*map(send, messages, itertools.cycle(forms)))
