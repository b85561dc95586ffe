"""A gateway for tests, which makes decisions without a network."""

from collections.abc import Mapping
from typing import Any

from gatehouse_client._async.gateway import AsyncGatewayClient
from gatehouse_client.errors import Reply
from gatehouse_client.fake_gateway import Decisions, FakeKey


class AsyncFakeGateway(AsyncGatewayClient):
    """Has the keys of a table, by their tokens; other tokens are unknown.

    limits: the units of each limit that subjects can take. options: of the client, such as
    `fail_open`. Pass it to the service instead of its client, or replace methods of that:
    `monkeypatch.setattr(gateway, "verify", fake.verify)`.
    """

    def __init__(
        self, keys: Mapping[str, FakeKey], limits: Mapping[str, int] | None = None, **options: Any
    ) -> None:
        super().__init__("http://gateway.invalid", **options)
        self._decisions = Decisions(keys, limits or {})

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The verification requests so far."""
        return self._decisions.requests

    @property
    def is_down(self) -> bool:
        """True: there is no decision. Can be set."""
        return self._decisions.is_down

    @is_down.setter
    def is_down(self, value: bool) -> None:
        self._decisions.is_down = value

    async def _exchange(
        self, method: str, path: str, arguments: dict[str, Any], deadline: float
    ) -> Reply:
        return self._decisions.respond(path, arguments["json"])
