"""Secret requests at the console."""

from typing import Any

import pytest
from gatehouse.commands.cli import retrieval_links
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import BadRequest
from gatehouse.core.roles import Role
from gatehouse.features.secret_requests.schemas import CreateSecretRequest
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken, parse
from gatehouse.features.secrets.service import NewItem
from gatehouse.platform.web.validation import validate

from tests.cases import cases
from tests.runtime.console_client import Console
from tests.runtime.features.secrets.members import URL, Member
from tests.runtime.features.secrets.services import CLIENT, TEXT, Sharing

_CASES = cases(__file__)

PURPOSE = "Password of the staging database\nfor the migration"
LINK = retrieval_links.create()


class Requester(Member):
    async def create(self, **body: Any) -> tuple[dict[str, Any], str, LinkToken]:
        link = retrieval_links.create()
        headers = self._console.as_(self.token)
        reply = await self._console.post(
            "/v1/secret-requests", json=parameters(link, **body), headers=headers
        )
        assert reply.status_code == 201, reply.text
        created = reply.json()
        assert reply.headers["location"] == f"/v1/secrets/{created['secret']['id']}"
        return created["secret"], created["submission_link"], link


def parameters(link: LinkToken, **body: Any) -> dict[str, Any]:
    return {"purpose": PURPOSE, "retrieval_link": retrieval_links.parameters(link), **body}


async def submit(sharing: Sharing, link: str, submission_id: str = "a" * 32) -> None:
    token = parse(link, "r")
    assert token is not None
    await sharing.requests.submit(token, [NewItem(TEXT)], submission_id, CLIENT)


async def test_request_is_created_answered_and_shown(console: Console, sharing: Sharing) -> None:
    caller = await Requester.of(console)
    created, link, retrieval = await caller.create(label="database", requester="Grace")
    assert link.startswith(f"{URL}/r/{created['id']}#")
    assert (created["state"], created["owner"], created["sender"]) == (
        "requested",
        f"key:{caller.id}",
        "Grace",
    )
    assert (created["purpose"], created["label"]) == (PURPOSE, "database")
    assert created["expires_at"] == rfc3339(sharing.clock.now() + 72 * 3600)
    assert created["versions"] == []
    with pytest.raises(LinkNotFound):
        await sharing.open(retrieval)
    sharing.clock.advance(600)
    await submit(sharing, link)
    shown = (await caller.send("GET", f"/{created['id']}")).json()
    assert (shown["state"], shown["versions"][0]["created_at"]) == (
        "active",
        rfc3339(sharing.clock.now()),
    )
    assert (shown["owner"], shown["sender"]) == (created["owner"], f"request:{created['id']}")
    assert shown["expires_at"] == rfc3339(sharing.clock.now() + 72 * 3600)
    assert (await caller.send("GET")).json() == {
        "secrets": [shown],
        "next_cursor": None,
        "total": None,
    }
    assert await sharing.read(retrieval) == TEXT
    for denied in (retrieval, LinkToken(retrieval.path, "A" * 43)):
        with pytest.raises(LinkNotFound):
            await sharing.open(denied)


async def test_requests_of_others_are_hidden_and_administrators_see_metadata(
    console: Console, sharing: Sharing
) -> None:
    owner, other = await Requester.of(console), await Requester.of(console)
    auditor = await Requester.of(console, Role.AUDITOR.scope)
    operator = await Requester.of(console, Role.OPERATOR.scope)
    created, link, retrieval = await owner.create()
    path = f"/{created['id']}"
    for method, suffix in (("GET", ""), ("POST", "/revoke")):
        denied = await other.send(method, path + suffix)
        unknown = await other.send(method, "/" + "z" * 22 + suffix)
        assert (denied.status_code, denied.json()["detail"]) == (404, unknown.json()["detail"])
    assert (await other.send("GET", f"?owner=key:{owner.id}")).status_code == 403
    assert (await other.send("GET")).json()["secrets"] == []
    listed = await auditor.send("GET", f"?owner=key:{owner.id}")
    assert listed.json()["secrets"] == [created]
    for reply in (listed, await operator.send("GET", path)):
        assert link.partition("#")[2] not in reply.text
        assert retrieval.path not in reply.text
    assert (await auditor.send("POST", f"{path}/revoke")).status_code == 403
    assert (await operator.send("POST", f"{path}/revoke")).json()["state"] == "revoked"


@pytest.mark.parametrize(
    ("body", "location", "message"), _CASES["invalid_request_names_the_problem"]
)
def test_invalid_request_names_the_problem(
    body: dict[str, Any], location: str, message: str
) -> None:
    with pytest.raises(BadRequest) as raised:
        validate(parameters(LINK) | body, CreateSecretRequest, "body")
    (problem,) = raised.value.errors
    assert (problem.location, problem.message) == (location, message)
