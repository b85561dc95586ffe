"""The lease that an agent keeps: register, renew, move, lose, leave; against a gateway that answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from gatehouse.agent.app import Secrets
from gatehouse.agent.lease import BACKOFF_S_MAX, Lease, Wanted, backoff_s
from gatehouse.errors import Conflict, Forbidden, Unauthorized
from hypothesis import given
from hypothesis import strategies as st

GRANTED = {"lease_id": "L1", "core_secret": "s3cret", "heartbeat_s": 0.001, "name": "docs"}
RENEWED = {"lease_id": "L1", "heartbeat_s": 0.001, "name": "docs"}


@dataclass
class Gateway:
    """Answers in turn; when the answers are used up, it tells the agent to stop and confirms everything."""

    answers: list[tuple[int, Any]]
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    secrets: Secrets = field(default_factory=Secrets)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer token"
        self.seen.append((request.method, str(request.url), json.loads(request.content) if request.content else None))
        if request.method == "DELETE":
            return httpx.Response(204)
        status, body = self.answers.pop(0)
        if not self.answers:
            self.stop.set()
        if status == 0:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, json=body)

    async def run(self, url: Callable[[], str] = lambda: "http://core:1") -> None:
        wanted = Wanted("https://gateway.test", "token", "docs", 30, url)
        async with httpx.AsyncClient(transport=httpx.MockTransport(self)) as client:
            await Lease(wanted, self.secrets, self.said.append, client=client).keep(self.stop)


@pytest.mark.requirement("CG-03")
async def test_a_core_registers_renews_and_leaves() -> None:
    gateway = Gateway([(200, GRANTED), (200, RENEWED)])
    await gateway.run()
    assert gateway.seen == [
        ("PUT", "https://gateway.test/v1/cores/docs", {"url": "http://core:1", "ttl_s": 30}),
        ("PUT", "https://gateway.test/v1/cores/docs", {"lease_id": "L1", "url": "http://core:1", "ttl_s": 30}),
        ("DELETE", "https://gateway.test/v1/cores/docs?lease_id=L1", None),
    ]
    assert gateway.secrets.matches("s3cret")


@pytest.mark.requirement("CG-03")
async def test_a_new_address_is_told_with_the_next_heartbeat() -> None:
    addresses = iter(["http://core:1", "http://core:2"])
    gateway = Gateway([(200, GRANTED), (200, RENEWED)])
    await gateway.run(lambda: next(addresses))
    assert gateway.seen[1][2]["url"] == "http://core:2"
    assert "docs is now reached at http://core:2" in gateway.said


async def test_a_lost_lease_is_taken_anew_with_its_new_secret() -> None:
    again = {**GRANTED, "lease_id": "L2", "core_secret": "other"}
    gateway = Gateway([(200, GRANTED), (409, {"detail": "lost"}), (200, again)])
    await gateway.run()
    assert gateway.seen[2][2] == {"url": "http://core:1", "ttl_s": 30}
    assert gateway.seen[3][1].endswith("lease_id=L2")
    assert gateway.secrets.matches("other")


@pytest.mark.parametrize(
    ("status", "body"),
    [(0, None), (503, {"detail": "away"}), (502, "x"), (429, {}), (200, ["not a lease"]), (200, {"lease_id": 5})],
)
async def test_a_gateway_that_is_away_is_asked_again(status: int, body: Any) -> None:
    gateway = Gateway([(status, body)])
    await gateway.run()
    assert "trying again in" in gateway.said[0]
    assert [method for method, _, _ in gateway.seen] == ["PUT"]


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (403, Forbidden), (400, Forbidden), (409, Conflict)])
async def test_a_refusal_that_will_not_pass_ends_the_agent(status: int, error: type[Exception]) -> None:
    gateway = Gateway([(status, {"detail": "no"}), (200, GRANTED)])
    with pytest.raises(error, match="no"):
        await gateway.run()


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_waiting_grows_and_stays_bounded(failures: int, chance: float) -> None:
    assert 0.5 <= backoff_s(failures, chance) <= BACKOFF_S_MAX
    assert backoff_s(failures, chance) <= backoff_s(failures + 1, 1.0)
