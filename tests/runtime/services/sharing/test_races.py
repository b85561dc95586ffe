"""Clients of every route, in both deployment forms, compete for the uses of a link and for the
submission of a request: never more than N succeed. `GATEHOUSE_RACE_ROUNDS=200` runs 200 rounds.
"""

import os
import time

import pytest

from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import Sharing, settings
from tests.runtime.services.sharing.readers import (
    CANARY,
    OPENING,
    Form,
    Message,
    in_container,
    race,
    submission,
)

ROUNDS = int(os.environ.get("GATEHOUSE_RACE_ROUNDS", "2"))
FORMS: list[Form] = ["container", "function"]
CLIENTS = 16

#: Routes of the sharing service that return no content. A new route belongs here or in `OPENING`.
WITHOUT_CONTENT = (
    "/",
    "/s/{link}/acknowledge",
    "/r/{request}",
    "/v1/requests/submit",
    "/v1/links/lookup",
    "/v1/links/acknowledge",
    "/share.css",
    "/share.js",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/metrics",
)


async def test_clients_of_all_routes_get_and_submit_content_as_often_as_allowed(
    sharing: Sharing, aws: str
) -> None:
    limits = [1 if number % 2 else 3 for number in range(ROUNDS)]
    sharing.clock.advance(time.time() - sharing.clock.now())  # the clock of the processes
    tokens = [(await sharing.create(CANARY.encode(), uses=limit))[1][0] for limit in limits]
    requests = [await request(sharing) for _ in range(ROUNDS)]
    makers = ([*OPENING.values()] * CLIENTS)[:CLIENTS]
    rounds = [
        [make(token, f"{number:032x}") for number, make in enumerate(makers)] for token in tokens
    ]
    rounds += [
        [submission(token, f"{number}") for number in range(CLIENTS)] for _, token, _ in requests
    ]
    for allowed, messages in zip([*limits, *[1] * ROUNDS], rounds, strict=True):
        outcomes = await race(settings(aws), messages, FORMS)
        counts = outcomes.count("content"), outcomes.count("denied")
        assert counts == (allowed, CLIENTS - allowed), set(outcomes)
    for limit, token in zip(limits, tokens, strict=True):
        link = (await sharing.secrets.get(token.secret_id)).links[token.link_id]
        assert (link.uses, len(link.claims)) == (limit, limit)
    for _, _, link_token in requests:
        assert (await sharing.read(link_token)).startswith(CANARY.encode())


def test_every_route_is_in_the_race_or_returns_no_content(sharing: Sharing) -> None:
    assert sharing.app().routes.templates == {*OPENING, *WITHOUT_CONTENT}


@pytest.mark.parametrize("route", WITHOUT_CONTENT)
async def test_other_routes_return_no_content(sharing: Sharing, route: str) -> None:
    secret, [token] = await sharing.create(CANARY.encode())
    app = sharing.app()
    path = route.format(link=token.path, request=token.path)
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for make in OPENING.values():
            message = make(token, "c" * 32)
            reply = await in_container(app, Message(method, path, message.headers, message.body))
            assert (reply.status_code < 500, CANARY in reply.text) == (True, False), method
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 0
