"""A small typed client of the management API: what the command line speaks to a console with."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from gatehouse.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GatehouseError,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    Unauthorized,
    Unavailable,
)
from gatehouse.wire.audit import AuditEventPage, AuditEventView, AuditVerification
from gatehouse.wire.checkpoint import CheckpointPage, CheckpointView
from gatehouse.wire.key import CreatedKey, KeyPage, KeyView, RevokedKey
from gatehouse.wire.key_life import ChangedKey, Explanation, PepperStatus, PurgedKey, RotatedKey
from gatehouse.wire.signing import SigningKeySet
from gatehouse.wire.usage import KeyUsage, UsageSeries

#: A revocation waits for every gate, up to the staleness bound, which may be set to a minute.
TIMEOUT_S = 75.0
CONNECT_TIMEOUT_S = 5.0
_AUDIT_PAGE = 500

_Model = TypeVar("_Model", bound=BaseModel)
_BY_STATUS: dict[int, type[GatehouseError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    428: PreconditionRequired,
    413: BadRequest,
}


class ConsoleClient:
    """Every method raises a GatehouseError whose text is fit for a user: Unavailable when the console cannot be reached."""

    def __init__(self, console: str, token: str, *, transport: httpx.BaseTransport | None = None) -> None:
        """`console`: its URL. `token`: an admin credential. `transport`: how to reach it, for tests."""
        self._console = console.rstrip("/")
        self._client = httpx.Client(
            base_url=self._console,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            follow_redirects=False,  # a redirect must not carry the credential elsewhere
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()

    def create_key(self, wish: dict[str, Any]) -> CreatedKey:
        """`wish`: the JSON members of POST /v1/keys."""
        return self._model(CreatedKey, self._send("POST", "/v1/keys", json=wish))

    def keys(self, **only: str | int | None) -> Iterator[KeyView]:
        """Every key that `only` (the query of GET /v1/keys) leaves, page after page."""
        cursor: str | None = None
        while True:
            page = self._model(KeyPage, self._send("GET", "/v1/keys", params=_some(**only, cursor=cursor)))
            yield from page.keys
            cursor = page.next_cursor
            if cursor is None:
                return

    def key(self, key_id: str) -> KeyView:
        return self._model(KeyView, self._send("GET", f"/v1/keys/{key_id}"))

    def revoke_key(self, key_id: str, reason: str) -> RevokedKey:
        return self._model(RevokedKey, self._send("POST", f"/v1/keys/{key_id}/revoke", json={"reason": reason}))

    def update_key(self, key_id: str, wish: dict[str, Any], *, version: int | None) -> ChangedKey:
        """`wish`: the JSON members of PATCH /v1/keys/{id}. `version`: the one that was read; None overwrites any."""
        match = {"If-Match": "*" if version is None else f'"{version}"'}
        return self._model(ChangedKey, self._send("PATCH", f"/v1/keys/{key_id}", json=wish, headers=match))

    def act(self, key_id: str, act: str, wish: dict[str, Any]) -> ChangedKey:
        """`act`: disable, enable, restore or end-grace."""
        return self._model(ChangedKey, self._send("POST", f"/v1/keys/{key_id}/{act}", json=wish))

    def delete_key(self, key_id: str, wish: dict[str, Any]) -> ChangedKey:
        return self._model(ChangedKey, self._send("DELETE", f"/v1/keys/{key_id}", json=wish))

    def rotate_key(self, key_id: str, wish: dict[str, Any]) -> RotatedKey:
        return self._model(RotatedKey, self._send("POST", f"/v1/keys/{key_id}/rotate", json=wish))

    def set_signing(self, key_id: str, wish: dict[str, Any]) -> SigningKeySet:
        """`wish`: the JSON members of PUT /v1/keys/{id}/signing."""
        return self._model(SigningKeySet, self._send("PUT", f"/v1/keys/{key_id}/signing", json=wish))

    def remove_signing(self, key_id: str) -> ChangedKey:
        return self._model(ChangedKey, self._send("DELETE", f"/v1/keys/{key_id}/signing"))

    def purge_key(self, key_id: str, reason: str) -> PurgedKey:
        """Of a deleted or revoked key; there is no way back."""
        return self._model(PurgedKey, self._send("POST", f"/v1/keys/{key_id}/purge", json={"confirm": key_id, "reason": reason}))

    def explain_key(self, key_id: str, wish: dict[str, Any]) -> Explanation:
        return self._model(Explanation, self._send("POST", f"/v1/keys/{key_id}/explain", json=wish))

    def pepper_status(self) -> PepperStatus:
        return self._model(PepperStatus, self._send("GET", "/v1/pepper"))

    def audit_events(self, **wanted: str | None) -> Iterator[AuditEventView]:
        """Every row that is wanted (the filter of GET /v1/audit-events), newest first, page after page."""
        cursor: str | None = None
        while True:
            query = _some(**wanted, cursor=cursor, limit=_AUDIT_PAGE)
            page = self._model(AuditEventPage, self._send("GET", "/v1/audit-events", params=query))
            yield from page.events
            cursor = page.next_cursor
            if cursor is None:
                return

    def audit_export(self, **query: str | None) -> Iterator[bytes]:
        """The download of GET /v1/audit-export, piece by piece."""
        try:
            with self._client.stream("GET", "/v1/audit-export", params=_some(**query)) as reply:
                if not reply.is_success:
                    reply.read()
                    raise _problem(reply)
                yield from reply.iter_bytes()
        except httpx.HTTPError as exc:
            raise Unavailable(f"the download from {self._console} broke off: {_reason(exc)}") from exc

    def audit_checkpoints(self) -> Iterator[CheckpointView]:
        """Every checkpoint, in the order of the rows."""
        after: int | None = 0
        while after is not None:
            page = self._model(CheckpointPage, self._send("GET", "/v1/audit-checkpoints", params={"after": after, "limit": 500}))
            yield from page.checkpoints
            after = page.next_after

    def audit_verification(self) -> AuditVerification:
        """What the server says of its own chain."""
        return self._model(AuditVerification, self._send("GET", "/v1/audit-verification"))

    def usage(self, **query: str | None) -> UsageSeries:
        """`query`: the parameters of GET /v1/usage."""
        return self._model(UsageSeries, self._send("GET", "/v1/usage", params=_some(**query)))

    def key_usage(self, key_id: str) -> KeyUsage:
        return self._model(KeyUsage, self._send("GET", f"/v1/keys/{key_id}/usage"))

    def _send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        try:
            reply = self._client.request(method, path, **parts)
        except httpx.InvalidURL as exc:
            raise BadRequest(f"{self._console} is no URL of a console") from exc
        except httpx.TimeoutException as exc:
            raise Unavailable(f"the console at {self._console} does not answer") from exc
        except httpx.HTTPError as exc:
            raise Unavailable(f"cannot reach the console at {self._console}: {_reason(exc)}") from exc
        if reply.is_success:
            return reply
        raise _problem(reply)

    def _model(self, model: type[_Model], reply: httpx.Response) -> _Model:
        try:
            return model.model_validate_json(reply.content)
        except ValidationError as exc:
            raise Unavailable(f"{self._console} does not answer like a console of this version") from exc


def _some(**query: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


def _reason(exc: httpx.HTTPError) -> str:
    """The text of the connection's own error, which holds an address at most."""
    return str(exc) or type(exc).__name__


def _problem(reply: httpx.Response) -> GatehouseError:
    kind = _BY_STATUS.get(reply.status_code, Unavailable)
    try:
        document = reply.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "code" not in document:
        return kind(f"the console answers {reply.status_code}, and not in the way a console does: check its URL")
    errors = tuple(
        Problem(str(error.get("location", "")), str(error.get("message", "")), str(error.get("fix", "")))
        for error in document.get("errors", [])
        if isinstance(error, dict)
    )
    return kind(str(document.get("detail", "")), errors=errors)
