"""Processes compete for the uses of a link and for the submission of a request, over every route:
never more than N succeed. `GATEHOUSE_RACE_ROUNDS=200` runs 200 rounds with 64 readers.
"""

import asyncio
import os
import time
from contextlib import suppress
from typing import Any

import pytest
from gatehouse.core.errors import BadRequest, PreconditionFailed
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.schemas import UpdateSecret
from gatehouse.features.secrets.service import NewItem

from tests.runtime.features.requests.test_service import request
from tests.runtime.features.secrets.services import ACTOR, TEXT, Sharing, settings
from tests.runtime.services.sharing.readers import (
    CANARY,
    OPENING,
    Form,
    Message,
    in_container,
    race,
    submission,
)

pytestmark = pytest.mark.requirement("SS-03")
ROUNDS = int(os.environ.get("GATEHOUSE_RACE_ROUNDS", "2"))
FORMS: list[Form] = ["container", "function"] * (2 if "GATEHOUSE_RACE_ROUNDS" in os.environ else 1)
READERS = 16 if "GATEHOUSE_RACE_ROUNDS" in os.environ else 8
"""In each process."""

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
    clients, makers = len(FORMS) * READERS, [*OPENING.values()] * len(FORMS) * READERS
    messages = [
        [make(token, f"{number:032x}") for number, make in enumerate(makers[:clients])]
        for token in tokens
    ]
    messages += [
        [submission(token, f"{number}") for number in range(clients)] for _, token, _ in requests
    ]
    rounds = await asyncio.to_thread(race, settings(aws), messages, FORMS)
    assert len(rounds) == 2 * ROUNDS
    for allowed, outcomes in zip([*limits, *[1] * ROUNDS], rounds, strict=True):
        counts = outcomes.count("content"), outcomes.count("denied")
        assert counts == (allowed, clients - allowed), set(outcomes)
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


async def test_nothing_is_opened_after_the_revocation_returned(sharing: Sharing) -> None:
    for _ in range(2):
        secret, [token] = await sharing.create(uses=100)
        revoked = asyncio.Event()
        late: list[bool] = []

        async def read(
            token: Any = token, revoked: asyncio.Event = revoked, late: list[bool] = late
        ) -> None:
            for _ in range(4):
                began_late = revoked.is_set()
                try:
                    await sharing.open(token)
                except LinkNotFound:
                    return
                late.append(began_late)

        async def revoke(secret_id: str = secret.id, revoked: asyncio.Event = revoked) -> None:
            await sharing.secrets.revoke(secret_id, ACTOR)
            revoked.set()

        await asyncio.gather(*(read() for _ in range(4)), revoke())
        assert not any(late)
        with pytest.raises(LinkNotFound):
            await sharing.open(token)


async def test_changes_during_openings_neither_add_uses_nor_mix_versions(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=6)
    texts: list[bytes] = []

    async def read() -> None:
        with suppress(LinkNotFound):
            texts.append(await sharing.read(token))

    changes = await asyncio.gather(
        *(read() for _ in range(4)),
        sharing.secrets.update(secret.id, UpdateSecret(uses=3), None, ACTOR),
        sharing.secrets.replace_content(secret.id, [NewItem(b"new")], None, ACTOR),
        *(read() for _ in range(4)),
        return_exceptions=True,
    )
    failed = [change for change in changes if isinstance(change, Exception)]
    # A change is denied if another change or a use was written first.
    assert {type(error) for error in failed} <= {BadRequest, PreconditionFailed}
    stored = await sharing.secrets.get(secret.id)
    link = stored.links[token.link_id]
    assert link.uses_max in (6, 3)
    assert len(texts) == link.uses == len(link.claims) == link.uses_max
    assert set(texts) <= {TEXT, b"new"}
    assert stored.revision == 3 - len(failed)


async def test_same_claim_of_many_requests_takes_one_use(sharing: Sharing) -> None:
    secret, [token] = await sharing.create(uses=5)
    opened = await asyncio.gather(*(sharing.open(token, claim="c" * 32) for _ in range(10)))
    assert {await sharing.text(result) for result in opened} == {TEXT}
    assert (await sharing.secrets.get(secret.id)).links[token.link_id].uses == 1
