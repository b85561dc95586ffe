"""Stores secret requests in the secrets table. Each request is one item with its submission and
unrecorded events.
"""

from __future__ import annotations

import msgspec
from boto3.dynamodb.conditions import Attr

from gatehouse.features.sharing.models import RECEIPT_S, Secret, SharingEvent
from gatehouse.features.sharing.requests.models import RequestState, SecretRequest, Submission
from gatehouse.features.sharing.table import (
    ConditionNotMet,
    Item,
    Table,
    builtins,
    put_of,
    update_of,
)

#: Prefix of the item IDs, and of the owners in the index, so that secrets and secret requests are
#: listed separately.
_PREFIX = "request:"
_ACTIVE = Attr("state").eq(RequestState.ACTIVE)


class RequestRepository:
    """Reads and changes requests. Methods raise Unavailable if DynamoDB cannot be reached."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def create(self, request: SecretRequest, event: SharingEvent) -> None:
        """Store a new secret request. DynamoDB deletes the request 30 days after it expires."""
        item = {
            **builtins(request),
            "id": _item_id(request.id),
            "owner": _PREFIX + request.owner,
            "delete_at": int(request.expires_at + RECEIPT_S),
        }
        await self._table.put(item, event)

    async def get(self, request_id: str) -> SecretRequest | None:
        item = await self._table.get(_item_id(request_id))
        return None if item is None else _request_of(item)

    async def of_owner(
        self, owner: str, *, after: str, size: int
    ) -> tuple[list[SecretRequest], str]:
        """Return the secret requests of an owner after a position, newest first, and the last
        position. See `Table.of_owner`.
        """
        items, position = await self._table.of_owner(_PREFIX + owner, after=after, size=size)
        return [_request_of(item) for item in items], position

    async def submit(
        self,
        request: SecretRequest,
        submission_id: str,
        secret: Secret,
        submitted: SharingEvent,
        created: SharingEvent,
    ) -> None:
        """Record the submission and create its secret in one transaction.

        Raises ConditionNotMet if the request does not accept the submission or the secret ID is
        already in use.
        """
        condition = (
            _ACTIVE
            & Attr("expires_at").gt(submitted.at)
            & Attr("submission").attribute_type("NULL")
        )
        sets = {"submission": builtins(Submission(submission_id, submitted.at))}
        await self._table.put_and_update(
            put_of(builtins(secret), created),
            update_of(_item_id(request.id), submitted, condition, sets=sets),
        )

    async def revoke(self, request: SecretRequest, event: SharingEvent) -> SecretRequest:
        """Revoke a secret request, so that further submissions are denied. Returns the current
        request. Idempotent.
        """
        try:
            item = await self._table.update(
                _item_id(request.id),
                event,
                _ACTIVE,
                sets={"state": RequestState.REVOKED, "ended_at": event.at},
                pending_max=None,
            )
        except ConditionNotMet as failed:
            return request if failed.item is None else _request_of(failed.item)
        return _request_of(item)

    async def record(self, request_id: str, event: SharingEvent) -> None:
        """Store an event without any other change. Does nothing if the request does not exist."""
        await self._table.record(_item_id(request_id), event, Attr("purpose").exists())


def _item_id(request_id: str) -> str:
    return _PREFIX + request_id


def _request_of(item: Item) -> SecretRequest:
    return msgspec.convert(
        {
            **item,
            "id": item["id"].removeprefix(_PREFIX),
            "owner": item["owner"].removeprefix(_PREFIX),
        },
        SecretRequest,
    )
