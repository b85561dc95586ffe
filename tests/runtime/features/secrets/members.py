"""Callers of the console with API keys of their own."""

from typing import Any, Self

from tests.runtime.console_client import Console

URL = "https://sharing.test"
ALL = ("secrets:create", "secrets:read", "secrets:revoke")


class Member:
    """A caller with its own API key. `path`: beginning of the paths to which it sends requests."""

    path = "/v1/secrets"

    def __init__(self, console: Console, created: dict[str, Any]) -> None:
        self.id = created["key"]["id"]
        self.token = created["token"]
        self._console = console

    @classmethod
    async def of(cls, console: Console, *scopes: str) -> Self:
        return cls(console, await console.create(scopes=list(scopes or ALL)))

    async def send(self, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
        headers = {**self._console.as_(self.token), **headers}
        return await self._console.request(method, f"{self.path}{path}", json=body, headers=headers)
