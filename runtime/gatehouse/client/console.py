"""A client of the management API: every route of the console, typed, with retries that never act twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from gatehouse.audit.schemas import AuditEventPage, AuditEventView, AuditVerification, CheckpointPage, CheckpointView
from gatehouse.client.http import Client, Retries, Wire, some
from gatehouse.cores.schemas import CorePage, CoreView
from gatehouse.errors import Unavailable
from gatehouse.identity.schemas import EndedSessions, SessionList, SessionView
from gatehouse.keys.schemas import (
    ChangedKey,
    CreatedKey,
    Explanation,
    KeyPage,
    KeyView,
    PepperStatus,
    PurgedKey,
    RevokedKey,
    RotatedKey,
)
from gatehouse.keys.signing_schemas import SigningKeySet
from gatehouse.notifications.schemas import CreatedWebhook, DeliveryPage, DeliveryView, WebhookList, WebhookView
from gatehouse.operations.schemas import FeatureList, FeatureView, LogLevel
from gatehouse.usage.schemas import KeyUsage, UsageSeries

_AUDIT_PAGE = 500


_Model = TypeVar("_Model", bound=BaseModel)


class ConsoleClient(Client):
    """Every method raises a GatehouseError whose text is fit for a user: Unavailable when the console cannot be reached.

    For threads; in asyncio call it with `asyncio.to_thread`. Each POST carries an Idempotency-Key, so one that has to be sent
    again acts once. `key`: your own, kept before the call: the same call after a crash then gets the first answer.
    """

    def __init__(
        self, console: str, token: str, *, retries: Retries | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`console`: its URL. `token`: an admin credential. `transport`: how to reach it, for tests."""
        headers = {"Authorization": f"Bearer {token}"}
        super().__init__(Wire("console", console, headers, retries=retries or Retries(), transport=transport))

    def create_key(self, wish: dict[str, Any], *, key: str | None = None) -> CreatedKey:
        """`wish`: the JSON members of POST /v1/keys."""
        return self._model(CreatedKey, self._wire.post("/v1/keys", key=key, json=wish))

    def keys(self, **only: str | int | None) -> Iterator[KeyView]:
        """Every key that `only` (the query of GET /v1/keys) leaves, page after page."""
        cursor: str | None = None
        while True:
            page = self._model(KeyPage, self._wire.send("GET", "/v1/keys", params=some(**only, cursor=cursor)))
            yield from page.keys
            cursor = page.next_cursor
            if cursor is None:
                return

    def key(self, key_id: str) -> KeyView:
        return self._model(KeyView, self._wire.send("GET", f"/v1/keys/{key_id}"))

    def revoke_key(self, key_id: str, reason: str, *, key: str | None = None) -> RevokedKey:
        return self._model(RevokedKey, self._wire.post(f"/v1/keys/{key_id}/revoke", key=key, json={"reason": reason}))

    def update_key(self, key_id: str, wish: dict[str, Any], *, version: int | None) -> ChangedKey:
        """`wish`: the JSON members of PATCH /v1/keys/{id}. `version`: the one that was read; None overwrites any."""
        match = {"If-Match": "*" if version is None else f'"{version}"'}
        return self._model(ChangedKey, self._wire.send("PATCH", f"/v1/keys/{key_id}", json=wish, headers=match))

    def act(self, key_id: str, act: str, wish: dict[str, Any], *, key: str | None = None) -> ChangedKey:
        """`act`: disable, enable, restore or end-grace."""
        return self._model(ChangedKey, self._wire.post(f"/v1/keys/{key_id}/{act}", key=key, json=wish))

    def delete_key(self, key_id: str, wish: dict[str, Any]) -> ChangedKey:
        return self._model(ChangedKey, self._wire.send("DELETE", f"/v1/keys/{key_id}", json=wish))

    def rotate_key(self, key_id: str, wish: dict[str, Any], *, key: str | None = None) -> RotatedKey:
        return self._model(RotatedKey, self._wire.post(f"/v1/keys/{key_id}/rotate", key=key, json=wish))

    def purge_key(self, key_id: str, reason: str, *, key: str | None = None) -> PurgedKey:
        """Of a deleted or revoked key; there is no way back."""
        wish = {"confirm": key_id, "reason": reason}
        return self._model(PurgedKey, self._wire.post(f"/v1/keys/{key_id}/purge", key=key, json=wish))

    def explain_key(self, key_id: str, wish: dict[str, Any]) -> Explanation:
        return self._model(Explanation, self._wire.send("POST", f"/v1/keys/{key_id}/explain", again=True, json=wish))

    def set_signing(self, key_id: str, wish: dict[str, Any]) -> SigningKeySet:
        """`wish`: the JSON members of PUT /v1/keys/{id}/signing."""
        return self._model(SigningKeySet, self._wire.send("PUT", f"/v1/keys/{key_id}/signing", json=wish))

    def remove_signing(self, key_id: str) -> ChangedKey:
        return self._model(ChangedKey, self._wire.send("DELETE", f"/v1/keys/{key_id}/signing"))

    def pepper_status(self) -> PepperStatus:
        return self._model(PepperStatus, self._wire.send("GET", "/v1/pepper"))

    def audit_events(self, **wanted: str | None) -> Iterator[AuditEventView]:
        """Every row that is wanted (the filter of GET /v1/audit-events), newest first, page after page."""
        cursor: str | None = None
        while True:
            query = some(**wanted, cursor=cursor, limit=_AUDIT_PAGE)
            page = self._model(AuditEventPage, self._wire.send("GET", "/v1/audit-events", params=query))
            yield from page.events
            cursor = page.next_cursor
            if cursor is None:
                return

    def audit_export(self, **query: str | None) -> Iterator[bytes]:
        """The download of GET /v1/audit-export, piece by piece."""
        return self._wire.stream("/v1/audit-export", params=some(**query))

    def audit_checkpoints(self) -> Iterator[CheckpointView]:
        """Every checkpoint, in the order of the rows."""
        after: int | None = 0
        while after is not None:
            query = {"after": after, "limit": _AUDIT_PAGE}
            page = self._model(CheckpointPage, self._wire.send("GET", "/v1/audit-checkpoints", params=query))
            yield from page.checkpoints
            after = page.next_after

    def audit_verification(self) -> AuditVerification:
        """What the server says of its own chain."""
        return self._model(AuditVerification, self._wire.send("GET", "/v1/audit-verification"))

    def usage(self, **query: str | None) -> UsageSeries:
        """`query`: the parameters of GET /v1/usage."""
        return self._model(UsageSeries, self._wire.send("GET", "/v1/usage", params=some(**query)))

    def key_usage(self, key_id: str) -> KeyUsage:
        return self._model(KeyUsage, self._wire.send("GET", f"/v1/keys/{key_id}/usage"))

    def cores(self) -> Iterator[CoreView]:
        """Every registered Core, page after page."""
        cursor: str | None = None
        while True:
            page = self._model(CorePage, self._wire.send("GET", "/v1/cores", params=some(cursor=cursor)))
            yield from page.cores
            cursor = page.next_cursor
            if cursor is None:
                return

    def create_webhook(self, url: str, events: list[str] | None = None, *, key: str | None = None) -> CreatedWebhook:
        """Its secret is in this answer alone. `events`: none for all of them."""
        wish = {"url": url, "events": events or []}
        return self._model(CreatedWebhook, self._wire.post("/v1/webhooks", key=key, json=wish))

    def webhooks(self) -> list[WebhookView]:
        return self._model(WebhookList, self._wire.send("GET", "/v1/webhooks")).webhooks

    def delete_webhook(self, webhook: str) -> None:
        self._wire.send("DELETE", f"/v1/webhooks/{webhook}")

    def deliveries(self, state: str = "dead") -> Iterator[DeliveryView]:
        """Notices that are waiting, delivered or dead, page after page."""
        cursor: str | None = None
        while True:
            page = self._model(DeliveryPage, self._wire.send("GET", "/v1/deliveries", params=some(state=state, cursor=cursor)))
            yield from page.deliveries
            cursor = page.next_cursor
            if cursor is None:
                return

    def retry_delivery(self, notice: str, target: str, *, key: str | None = None) -> None:
        """Has a dead notice tried again."""
        self._wire.post(f"/v1/deliveries/{notice}/{target}/retry", key=key)

    def log_level(self) -> LogLevel:
        return self._model(LogLevel, self._wire.send("GET", "/v1/log-level"))

    def set_log_level(self, level: str, *, for_s: int) -> LogLevel:
        """Of every gateway and console worker, for a time."""
        return self._model(LogLevel, self._wire.send("PUT", "/v1/log-level", json={"level": level, "for_s": for_s}))

    def reset_log_level(self) -> None:
        """The setting of each process holds again."""
        self._wire.send("DELETE", "/v1/log-level")

    def features(self) -> list[FeatureView]:
        """As the console is set that answers."""
        return self._model(FeatureList, self._wire.send("GET", "/v1/features")).features

    def sessions(self) -> list[SessionView]:
        """The live sessions that were begun with this client's credential, newest first."""
        return self._model(SessionList, self._wire.send("GET", "/v1/sessions")).sessions

    def end_session(self, session: str) -> int:
        """One of yours; an owner may end anybody's. How many ended: 1. Raises NotFound."""
        self._wire.send("DELETE", f"/v1/sessions/{session}")
        return 1

    def end_sessions(self, *, everybody: bool = False) -> int:
        """All of yours, or all that there are (an owner's act). How many ended."""
        reply = self._wire.send("DELETE", "/v1/sessions", params={"everybody": everybody})
        return self._model(EndedSessions, reply).ended

    def _model(self, model: type[_Model], reply: httpx.Response) -> _Model:
        try:
            return model.model_validate_json(reply.content)
        except ValidationError as exc:
            raise Unavailable(f"{self._wire.url} does not answer like a console of this version") from exc
