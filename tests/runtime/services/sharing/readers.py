"""Concurrent clients of every route in both deployment forms."""

import asyncio
import base64
import json
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Barrier
from queue import Empty, SimpleQueue
from typing import Any, Literal
from urllib.parse import urlencode

import httpx
import msgspec
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.platform.settings import SharingSettings
from gatehouse.services.sharing import app as sharing_app
from gatehouse.services.sharing.lambda_adapter import lambda_handler
from mangum.types import LambdaContext

from tests.runtime.features.secrets.services import ORIGIN
from tests.runtime.services.sharing.api_gateway_events import encoded, event

#: Content of the secrets. A denied request must not return it.
CANARY = "canary7Hq1dZ8eUfGh"
Form = Literal["container", "function"]
#: Instances of the function in a process.
_INSTANCES = 3
#: Repetitions of a failing request. After the last repetition, the failure is the outcome.
_REPETITIONS_MAX = 50


@dataclass(frozen=True)
class Message:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


#: Messages that are sent at the same time, by round.
Rounds = Sequence[Sequence[Message]]


def _form(suffix: str) -> Callable[[LinkToken, str], Message]:
    def message(token: LinkToken, claim: str) -> Message:
        nonce = "n" * 32
        fields = {"csrf": nonce, "claim": claim, "link": token.url(ORIGIN)}
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


def _container(settings: SharingSettings, rounds: Rounds, barrier: Barrier, results: Any) -> None:
    app = sharing_app.build(settings)

    async def send(message: Message) -> str:
        for _ in range(_REPETITIONS_MAX):
            reply = await in_container(app, message)
            if reply.status_code != 503:
                break
        return outcome(reply)

    async def send_all() -> None:
        for messages in rounds:
            barrier.wait()
            results.put(list(await asyncio.gather(*map(send, messages))))

    asyncio.run(send_all())


def _function(settings: SharingSettings, rounds: Rounds, barrier: Barrier, results: Any) -> None:
    """Each thread is an instance of the function with its own clients and event loop."""
    # At the first use of a type, msgspec builds its description without a lock. In a deployment,
    # one thread uses the types.
    for model in msgspec.Struct.__subclasses__():
        with suppress(TypeError):
            msgspec.json.Decoder(model)
    instances: SimpleQueue[Any] = SimpleQueue()
    for _ in range(_INSTANCES):
        instances.put(lambda_handler(sharing_app.build(settings)))

    def send(message: Message) -> str:
        handler = instances.get()
        try:
            for _ in range(_REPETITIONS_MAX):
                reply = in_function(handler, message)
                if reply.status_code != 503:
                    break
            return outcome(reply)
        finally:
            instances.put(handler)

    with ThreadPoolExecutor(_INSTANCES) as threads:
        for messages in rounds:
            barrier.wait()
            results.put(list(threads.map(send, messages)))


def _round(process: BaseProcess, results: Any) -> list[str]:
    """Outcomes of the next round of a process. Fails if it has ended; the others would wait
    forever.
    """
    while True:
        running = process.is_alive()
        try:
            outcomes: list[str] = results.get(timeout=1)
        except Empty:
            assert running, f"a process of readers ended with exit code {process.exitcode}"
        else:
            return outcomes


def race(settings: SharingSettings, rounds: Rounds, forms: Sequence[Form]) -> list[list[str]]:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(forms))
    queues = [context.Queue() for _ in forms]
    parts = [
        [messages[number :: len(forms)] for messages in rounds] for number in range(len(forms))
    ]
    targets = {"container": _container, "function": _function}
    processes = [
        context.Process(target=targets[form], args=(settings, part, barrier, results))
        for form, part, results in zip(forms, parts, queues, strict=True)
    ]
    for process in processes:
        process.start()
    try:
        outcomes = [
            [
                result
                for process, results in zip(processes, queues, strict=True)
                for result in _round(process, results)
            ]
            for _ in rounds
        ]
        for process in processes:
            process.join(60)
    finally:
        for process in processes:
            process.kill()
    return outcomes
