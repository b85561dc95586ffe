"""Every spelling of a request against the router of each framework, at a running gateway."""

import json
from pathlib import Path

import pytest

from tests.clients.python.services import FILES, FRAMEWORKS, OPEN, SCOPES, SERVERS
from tests.runtime.services.gateway.conftest import Gateway, Key, Reply, limit
from tests.runtime.services.gateway.test_key_lifecycle import key_with_credits, remaining_credits

TABLE = json.loads((Path(__file__).parents[1] / "spellings.json").read_text())
SPELLINGS = [
    f"{method} {target}"
    for kind, targets in TABLE["targets"].items()
    for target in targets
    for method in ("GET", *TABLE["methods"].get(kind, ()))
]
CREDITS = 100_000


def content(reply: Reply) -> str | None:
    """The scope of the content. A file has no field, but the time of its last change."""
    scope = reply.header("content")
    return FILES if scope is None and reply.header("last-modified") else scope


@pytest.mark.parametrize("framework", FRAMEWORKS)
async def test_content_needs_one_decision(gateway: Gateway, framework: str, tmp_path: Path) -> None:
    limits = [limit(CREDITS)]
    all_scopes = await key_with_credits(gateway, CREDITS, scopes=SCOPES, limits=limits)
    without = {
        scope: await gateway.create_key(scopes=sorted({*SCOPES} - {scope}), limits=limits)
        for scope in SCOPES
    }
    (tmp_path / "a.txt").write_text("a file")
    served = set()
    async with SERVERS[framework](f"http://127.0.0.1:{gateway.port}", tmp_path) as port:

        async def send(spelling: str, *keys: Key) -> str | None:
            headers = [key.header for key in keys]
            reply = await gateway.on_port(port).request(*spelling.split(" ", 1), *headers)
            return content(reply)

        balance = CREDITS
        for spelling in SPELLINGS:
            assert await send(spelling) in (None, OPEN), spelling
            scope = await send(spelling, all_scopes)
            before, balance = balance, await remaining_credits(gateway, all_scopes)
            if scope in (None, OPEN):
                # A guarded application can respond with 404 or 405 after the decision.
                assert before - balance in (0, 1), spelling
                continue
            assert before - balance == 1, spelling
            assert await send(spelling, without[scope]) is None, spelling
            served.add(scope)
    assert served == {*SCOPES}
