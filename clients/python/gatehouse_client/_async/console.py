"""Manages keys, customers, plans and secrets with the console: the management API."""

from collections.abc import AsyncIterator
from types import NoneType
from typing import Any, TypeVar, Unpack

import httpx

from gatehouse_client._async.client import AsyncClient
from gatehouse_client.console import (
    TIMEOUT_S,
    Query,
    change,
    customer_path,
    page_of,
    plan_path,
    present,
)
from gatehouse_client.credentials import credential
from gatehouse_client.errors import Conflict
from gatehouse_client.models import (
    ChangedCustomer,
    ChangedKey,
    ChangedPlan,
    CreateCustomer,
    CreatedKey,
    CreatedSecret,
    CreateKey,
    CreatePlan,
    CreateSecret,
    CustomerView,
    KeyView,
    PlanView,
    PurgedCustomer,
    RevokedKey,
    RotatedKey,
    RotateKey,
    SecretView,
    UpdateCustomer,
    UpdateKey,
    UpdatePlan,
)
from gatehouse_client.transport import Retries

_Response = TypeVar("_Response")


class AsyncConsoleClient(AsyncClient):
    """Manages API keys, customers, plans and secrets.
    `/openapi.json` of the console describes the operations; the
    methods `get`, `items`, `call` and `stream` send any of them.

    token: an admin credential. White space around it is removed. Every method raises an ApiError
    with a message for users; Unavailable if the console cannot be reached. Each POST request sends
    an Idempotency-Key, so it takes effect only once, even if it is sent repeatedly. To resume after
    a crash, store an `idempotency_key` before the call and pass it again: the repeated call returns
    the first response.
    """

    def __init__(
        self,
        console: str,
        token: str,
        *,
        retries: Retries | None = None,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {credential('token', token)}"}
        retries = retries or Retries()
        super().__init__(
            "console", console, headers, retries, timeout_s=timeout_s, transport=transport
        )

    async def create_key(
        self, *, idempotency_key: str | None = None, **key: Unpack[CreateKey]
    ) -> CreatedKey:
        """The new key and its token, which no other call returns."""
        body = dict(key)
        return await self.call(
            CreatedKey, "POST", "/v1/keys", body, idempotency_key=idempotency_key
        )

    async def key(self, key_id: str) -> KeyView:
        return await self.get(KeyView, f"/v1/keys/{key_id}")

    def keys(self, **query: Query) -> AsyncIterator[KeyView]:
        """All keys, or those that a query finds. Reads one page at a time."""
        return self.items(KeyView, "/v1/keys", **query)

    async def update_key(
        self, key_id: str, version: int, **changes: Unpack[UpdateKey]
    ) -> ChangedKey:
        """Changes fields. version: that of the key that was read. Raises PreconditionFailed."""
        body = dict(changes)
        return await self.call(ChangedKey, "PATCH", f"/v1/keys/{key_id}", body, version=version)

    async def rotate_key(self, key_id: str, **rotation: Unpack[RotateKey]) -> RotatedKey:
        """A new token. The previous one works until the end of the grace period."""
        return await self.call(RotatedKey, "POST", f"/v1/keys/{key_id}/rotate", dict(rotation))

    async def revoke_key(self, key_id: str, reason: str = "") -> RevokedKey:
        """Ends a key for good. The response arrives when every gateway denies it."""
        return await self.call(RevokedKey, "POST", f"/v1/keys/{key_id}/revoke", {"reason": reason})

    async def disable_key(self, key_id: str, reason: str = "") -> ChangedKey:
        return await self.call(ChangedKey, "POST", f"/v1/keys/{key_id}/disable", {"reason": reason})

    async def enable_key(self, key_id: str, reason: str = "") -> ChangedKey:
        return await self.call(ChangedKey, "POST", f"/v1/keys/{key_id}/enable", {"reason": reason})

    async def create_customer(
        self, *, idempotency_key: str | None = None, **customer: Unpack[CreateCustomer]
    ) -> CustomerView:
        """The new customer. Raises Conflict if the ID exists."""
        body = dict(customer)
        return await self.call(
            CustomerView, "POST", "/v1/customers", body, idempotency_key=idempotency_key
        )

    async def customer(self, customer_id: str) -> CustomerView:
        return await self.get(CustomerView, customer_path(customer_id))

    def customers(self, **query: Query) -> AsyncIterator[CustomerView]:
        """All customers, or those that a query finds. Reads one page at a time."""
        return self.items(CustomerView, "/v1/customers", **query)

    async def update_customer(
        self, customer_id: str, version: int, **changes: Unpack[UpdateCustomer]
    ) -> ChangedCustomer:
        """Changes fields. version: that of the customer that was read. Raises PreconditionFailed.
        `plan` changes the limits and scopes of all keys of the customer.
        """
        body, path = dict(changes), customer_path(customer_id)
        return await self.call(ChangedCustomer, "PATCH", path, body, version=version)

    async def disable_customer(self, customer_id: str, reason: str = "") -> ChangedCustomer:
        """Disables all keys of a customer. The response arrives when every gateway denies them."""
        path = customer_path(customer_id, "disable")
        return await self.call(ChangedCustomer, "POST", path, {"reason": reason})

    async def enable_customer(self, customer_id: str, reason: str = "") -> ChangedCustomer:
        path = customer_path(customer_id, "enable")
        return await self.call(ChangedCustomer, "POST", path, {"reason": reason})

    async def delete_customer(self, customer_id: str, reason: str = "") -> ChangedCustomer:
        """Ends all keys of a customer. The customer can be restored until it is purged."""
        path = customer_path(customer_id)
        return await self.call(ChangedCustomer, "DELETE", path, {"reason": reason})

    async def restore_customer(self, customer_id: str, reason: str = "") -> ChangedCustomer:
        path = customer_path(customer_id, "restore")
        return await self.call(ChangedCustomer, "POST", path, {"reason": reason})

    async def purge_customer(self, customer_id: str, reason: str = "") -> PurgedCustomer:
        """Erases up to 100 keys of a deleted customer, and the customer if none is left. Call the
        method until `keys_left` is 0.
        """
        body, path = {"confirm": customer_id, "reason": reason}, customer_path(customer_id, "purge")
        return await self.call(PurgedCustomer, "POST", path, body)

    async def create_plan(self, **plan: Unpack[CreatePlan]) -> PlanView:
        return await self.call(PlanView, "POST", "/v1/plans", dict(plan))

    async def plan(self, name: str) -> PlanView:
        return await self.get(PlanView, plan_path(name))

    def plans(self) -> AsyncIterator[PlanView]:
        return self.items(PlanView, "/v1/plans")

    async def update_plan(
        self, name: str, version: int, **changes: Unpack[UpdatePlan]
    ) -> ChangedPlan:
        """Changes a plan for all customers and keys that follow it. Raises PreconditionFailed."""
        return await self.call(
            ChangedPlan, "PATCH", plan_path(name), dict(changes), version=version
        )

    async def delete_plan(self, name: str) -> None:
        """Raises Conflict if a customer or a key follows the plan."""
        await self.call(NoneType, "DELETE", plan_path(name))

    async def create_secret(
        self, *, idempotency_key: str | None = None, **secret: Unpack[CreateSecret]
    ) -> CreatedSecret:
        """The new secret and its links, which no other call returns."""
        body = dict(secret)
        return await self.call(
            CreatedSecret, "POST", "/v1/secrets", body, idempotency_key=idempotency_key
        )

    def secrets(self, **query: Query) -> AsyncIterator[SecretView]:
        return self.items(SecretView, "/v1/secrets", **query)

    async def revoke_secret(self, secret_id: str) -> SecretView:
        return await self.call(SecretView, "POST", f"/v1/secrets/{secret_id}/revoke")

    async def get(self, response: type[_Response], path: str, **query: Query) -> _Response:
        """The response to GET. `query`: parameters; those that are None are not sent."""
        return self._decode(response, await self._send("GET", path, params=present(query)))

    async def items(
        self, item: type[_Response], path: str, **query: Query
    ) -> AsyncIterator[_Response]:
        """Yields all items of a list, such as KeyView for `/v1/keys`. Reads one page at a time."""
        kind, cursor = page_of(item, path), query.pop("cursor", None)
        while True:
            page = await self.get(kind, path, **query, cursor=cursor)
            for value in page.items:
                yield value
            cursor = page.next_cursor
            if cursor is None:
                return

    async def call(
        self,
        response: type[_Response],
        method: str,
        path: str,
        request: dict[str, Any] | None = None,
        *,
        version: int | None = None,
        idempotency_key: str | None = None,
    ) -> _Response:
        """Sends a request that can change something, and returns the response.

        response: type of the response; NoneType if there is none. request: the fields of the body.
        version: the expected version, for operations with If-Match. Raises PreconditionFailed if
        the current version is another.
        """
        return self._decode(
            response,
            await self._send(method, path, **change(method, request, version, idempotency_key)),
        )

    async def replay(
        self, response: type[_Response], path: str, idempotency_key: str
    ) -> _Response | None:
        """The stored response to an earlier POST request with this Idempotency-Key, or None if
        there is none. Changes nothing. Raises Conflict, with the ID of what the request changed, if
        its response was lost.
        """
        arguments = change("POST", None, None, idempotency_key)
        arguments["headers"]["Idempotency-Replay"] = "only"
        try:
            return self._decode(response, await self._send("POST", path, **arguments))
        except Conflict as exc:
            if exc.code != "response_not_stored":
                raise
            return None

    def stream(self, path: str, **query: Query) -> AsyncIterator[bytes]:
        return self._stream("GET", path, params=present(query))
