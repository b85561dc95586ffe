"""The console as the provider uses it: `GATEHOUSE_CONSOLE_URL` and `GATEHOUSE_ADMIN_TOKEN` of the
environment, which never become part of the state.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any

from gatehouse_client import ApiError, BadRequest, Conflict, ConsoleClient, NotFound

from gatehouse_pulumi.errors import ProviderError, explained

_URL, _TOKEN = "GATEHOUSE_CONSOLE_URL", "GATEHOUSE_ADMIN_TOKEN"

Fields = dict[str, Any]


@dataclass(frozen=True)
class Console:
    """deployment: name of the environment, such as `prod`."""

    client: ConsoleClient
    deployment: str
    _secret: bytes = field(repr=False)

    @classmethod
    def connect(cls, environment: Mapping[str, str]) -> "Console":
        """Raises ProviderError."""
        url, token = environment.get(_URL, ""), environment.get(_TOKEN, "")
        for name, value in ((_URL, url), (_TOKEN, token)):
            if not value:
                raise ProviderError(
                    f"{name} is not set. Set it in the environment of the Pulumi command. Stack "
                    "configuration is not read, because it would become part of the state."
                )
        try:
            client = ConsoleClient(url, token)
            caller = client.get(dict, "/v1/caller")
        except BadRequest as exc:
            raise ProviderError(f"{_URL}, {_TOKEN}: {exc.message}") from None
        except ApiError as exc:
            raise explained(exc, {}) from None
        return cls(client, str(caller["environment"]), token.encode())

    def check_deployment(self, deployment: object) -> None:
        """Raises ProviderError if a resource belongs to another deployment."""
        if deployment and deployment != self.deployment:
            raise ProviderError(
                f"The resource belongs to the environment {deployment}, but {_URL} is the console "
                f"of {self.deployment}. Set the URL and the token of {deployment}."
            )

    def get(self, path: str, **query: Any) -> Fields | None:
        try:
            return self.client.get(dict, path, **query)
        except NotFound:
            return None

    def all(self, path: str, items: str, **query: Any) -> list[Fields]:
        """All items of a list."""
        found: list[Fields] = []
        while True:
            page = self.client.get(dict, path, **query)
            found += page[items]
            query["cursor"] = page.get("next_cursor")
            if query["cursor"] is None:
                return found

    def post(self, path: str, body: Fields, operation: str) -> Fields:
        """Sends a request that takes effect once for each `operation`."""
        key = self._key(operation)
        return self.client.call(dict, "POST", path, body, idempotency_key=key)

    def replay(self, path: str, operation: str) -> Fields | None:
        """The response to an earlier `post`, or None. If the response was lost, it contains only
        `lost`: the ID of the object that the request created or changed.
        """
        try:
            return self.client.replay(dict, path, self._key(operation))
        except Conflict as exc:
            if not exc.target_id:
                raise
            return {"lost": exc.target_id}

    def patch(self, path: str, changes: Fields, version: int) -> Fields:
        return self.client.call(dict, "PATCH", path, changes, version=version)

    def act(self, path: str, reason: str) -> None:
        """Performs an action that can be repeated."""
        self.client.call(dict, "POST", path, {"reason": reason})

    def delete(self, path: str, body: Fields | None = None) -> None:
        try:
            self.client.call(dict if body is not None else NoneType, "DELETE", path, body)
        except NotFound:
            return

    def last_change(self, target_id: str) -> str:
        """Who changed an object last, as the end of a sentence. Empty if the credential cannot read
        the audit trail.
        """
        try:
            page = self.client.get(
                dict, "/v1/audit-events", target_id=target_id, outcome="success", limit=1
            )
        except ApiError:
            return ""
        if not page["events"]:
            return ""
        event = page["events"][0]
        name = page["names"].get(event["actor_id"], "")
        actor = " ".join(dict.fromkeys((event["actor_type"], event["actor_id"])))
        return (
            f" by {actor}{f' ({name})' if name else ''} at {event['occurred_at']} "
            f"({event['action']})"
        )

    def _key(self, operation: str) -> str:
        """The Idempotency-Key of an operation, which nobody without the credential can guess."""
        return hmac.new(self._secret, operation.encode(), hashlib.sha256).hexdigest()
