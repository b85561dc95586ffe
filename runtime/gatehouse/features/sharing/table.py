"""Reads and writes items in the DynamoDB table: conditional writes with audit events, pending work,
and counters.

A write to a secret or a secret request stores its event in the same item, so every stored change
has an event. Reads are consistent. No decision depends on an index or on DynamoDB's TTL.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.models import SharingEvent
from gatehouse.platform.aws import call, create_client, error_code

OWNER_INDEX = "owner-index"
WORK_INDEX = "work-index"
_WORK = "pending"
_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 1.0
_ATTEMPTS = 3
_SERVICE = "DynamoDB"
_BATCH = 100
#: Maximum number of attempts for a write that conflicts with a transaction, and for a read of items
#: that DynamoDB does not process completely. Pause before the second attempt.
_ATTEMPTS_MAX = 5
_PAUSE_S = 0.05
#: Maximum number of events of an item that are not in the audit trail yet. With the bounds of the
#: other attributes, an item is smaller than 400 KB, the limit of DynamoDB. Denied attempts leave
#: room for the events of changes.
PENDING_MAX = 300
PENDING_DENIED_MAX = 200
#: Number of events that one update removes from an item. Keeps the update expression below 4 KB,
#: the limit of DynamoDB.
#: Source: Amazon DynamoDB Developer Guide, "Quotas in Amazon DynamoDB".
EVENTS_SLICE = 100
#: Key of an item that does not exist.
_ABSENT = "readiness-probe"

#: `Item`: an item in Python types. `Write`: the DynamoDB parameters of a write.
Item = dict[str, Any]
Write = dict[str, Any]


class ConditionNotMet(Exception):
    """Nothing was written. `item`: the current item, or None if the item does not exist or is not
    known.
    """

    def __init__(self, item: Item | None = None) -> None:
        super().__init__("the condition of the write is not met")
        self.item = item


class Table:
    """Reads and writes items. Methods raise Unavailable if DynamoDB cannot be reached."""

    name = "tokens"  # name of the readiness check

    def __init__(self, table: str) -> None:
        self._table = table
        self._client = create_client("dynamodb", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)
        # Only one attempt, because callers repeat readiness probes.
        self._probe = create_client("dynamodb", timeout_s=_PROBE_TIMEOUT_S, attempts=1)

    async def check(self) -> None:
        """Read an item to check the connection and the permission of the service. Raises
        Unavailable.
        """
        await self._call(
            self._probe.get_item, Key={"id": {"S": _ABSENT}}, ProjectionExpression="id"
        )

    async def get(self, item_id: str) -> Item | None:
        reply = await self._call(self._client.get_item, Key=_key(item_id), ConsistentRead=True)
        return _read_item(reply.get("Item"))

    async def get_all(self, ids: Sequence[str]) -> list[Item]:
        """Return the items that exist, in the order of the IDs."""
        found: dict[str, Item] = {}
        for start in range(0, len(ids), _BATCH):
            found |= {
                item["id"]: item for item in await self._get_batch(ids[start : start + _BATCH])
            }
        return [found[item_id] for item_id in ids if item_id in found]

    async def _get_batch(self, ids: Sequence[str]) -> list[Item]:
        items: list[Item] = []
        keys = [_key(item_id) for item_id in ids]
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            reply = await call(
                self._client.batch_get_item,
                _SERVICE,
                RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}},
            )
            items += [
                {name: _read(value) for name, value in attributes.items()}
                for attributes in reply["Responses"][self._table]
            ]
            keys = reply.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not keys:
                return items
            await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
        raise Unavailable("DynamoDB is not available.", detail="DynamoDB UnprocessedKeys")

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Item], str]:
        """Return the items of an owner after a position, newest first, and the position of the last
        item.

        An empty `after` starts at the first item. An empty returned position means that this is the
        last page. The index can contain an item that was just deleted, so a page can have fewer
        items than `size`.
        """
        start = {}
        if after:
            created_at, item_id = after.split()
            start = {
                "ExclusiveStartKey": {
                    "owner": {"S": owner},
                    "created_at": {"N": created_at},
                    **_key(item_id),
                }
            }
        reply = await self._call(
            self._client.query,
            IndexName=OWNER_INDEX,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
            ScanIndexForward=False,
            Limit=size,
            **start,
        )
        last = reply.get("LastEvaluatedKey")
        position = f"{last['created_at']['N']} {last['id']['S']}" if last else ""
        return await self.get_all([item["id"]["S"] for item in reply["Items"]]), position

    async def put(self, item: Item, event: SharingEvent) -> None:
        """Create an item. Raises ConditionNotMet if the ID already exists."""
        try:
            await self._call(
                self._client.put_item,
                **put_of(item, event),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionNotMet as failed:
            # boto3 repeats a request whose response was lost, and then the item from the first
            # attempt already exists.
            if not _contains(failed.item, event):
                raise
        except Unavailable:
            # DynamoDB may have created the item although no attempt of boto3 received a response.
            if not _contains(await self.get(item["id"]), event):
                raise

    async def update(
        self, item_id: str, *, pending_max: int | None = PENDING_MAX, **changes: Any
    ) -> Item:
        """Change an item and return the new item. The arguments are those of `update_of`. Raises
        ConditionNotMet.

        Also raises Unavailable if the item has `pending_max` events that are not in the audit trail
        yet.
        """
        try:
            reply = await self._call(
                self._client.update_item,
                **update_of(item_id, pending_max=pending_max, **changes),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionNotMet as failed:
            if (
                pending_max is not None
                and len((failed.item or {}).get("events", ())) >= pending_max
            ):
                raise Unavailable(
                    "The audit trail is not up to date. Try again.",
                    detail="sharing: pending events",
                ) from None
            raise
        return {name: _read(value) for name, value in reply["Attributes"].items()}

    async def record(
        self, item_id: str, *, condition: str, names: Mapping[str, str], event: SharingEvent
    ) -> None:
        """Store the event of a denied attempt, without reading the item, so that the duration does
        not depend on the size of the item. Does nothing if the condition is not met, or if the item
        has PENDING_DENIED_MAX events that are not in the audit trail yet.
        """
        write = update_of(
            item_id,
            sets=(),
            condition=condition,
            names=names,
            values={},
            event=event,
            pending_max=PENDING_DENIED_MAX,
        )
        with suppress(ConditionNotMet):
            await self._call(self._client.update_item, **write)

    async def put_and_update(self, put: Write, update: Write) -> None:
        """Perform both writes in one transaction. Raises ConditionNotMet.

        Source: Amazon DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB".
        """
        items = [
            {"Put": {"TableName": self._table, **put}},
            {"Update": {"TableName": self._table, **update}},
        ]
        try:
            await _repeated(self._client.transact_write_items, TransactItems=items)
        except Unavailable as exc:
            if "ConditionalCheckFailed" in _rejection_reasons(exc):
                raise ConditionNotMet from None
            raise

    async def due(self, now: float, size: int) -> list[tuple[str, float]]:
        """Return the IDs of items that have unrecorded events or a due purge, each with its
        `work_at`, earliest first.
        """
        reply = await self._call(
            self._client.query,
            IndexName=WORK_INDEX,
            KeyConditionExpression="#work = :work AND work_at <= :now",
            ExpressionAttributeNames={"#work": "work"},
            ExpressionAttributeValues={":work": {"S": _WORK}, ":now": _write(now)},
            Limit=size,
        )
        return [(item["id"]["S"], float(item["work_at"]["N"])) for item in reply["Items"]]

    async def postpone(
        self, item_id: str, work_at: float, next_at: float, *, due_since: float
    ) -> None:
        """After a failure of background work, set the time of the next attempt and store the time
        at which the work became due.

        If an event was stored after `work_at` was read, this method does nothing and the item stays
        due.
        """
        try:
            await self._call(
                self._client.update_item,
                Key=_key(item_id),
                UpdateExpression="SET work_at = :next, due_since = :since",
                ConditionExpression="work_at = :seen",
                ExpressionAttributeValues={
                    ":next": _write(next_at),
                    ":since": _write(due_since),
                    ":seen": _write(work_at),
                },
            )
        except ConditionNotMet:
            return

    async def due_since(self, item_id: str) -> float | None:
        """Return the time at which failed background work became due, or None if the work has not
        failed.
        """
        reply = await self._call(
            self._client.get_item,
            Key=_key(item_id),
            ConsistentRead=True,
            ProjectionExpression="due_since",
        )
        value = reply.get("Item", {}).get("due_since")
        return None if value is None else float(_read(value))

    async def with_events(self, item_id: str) -> tuple[Item, list[SharingEvent]] | None:
        """Return an item and, in their original order, its events that are not in the audit trail
        yet. Returns None if the item does not exist."""
        item = await self.get(item_id)
        return (
            None
            if item is None
            else (item, msgspec.convert(item.get("events", []), list[SharingEvent]))
        )

    async def remove_events(self, item_id: str, recorded: Sequence[SharingEvent]) -> None:
        """Remove the first events of an item, which are in the audit trail: at most EVENTS_SLICE.
        The item stays due.

        Does nothing if another process has removed events in the meantime.
        """
        await self._update_due(item_id, recorded)

    async def settle(
        self, item_id: str, recorded: Sequence[SharingEvent], *, next_at: float | None
    ) -> None:
        """Remove the last events of an item, which are in the audit trail: at most EVENTS_SLICE.
        Set the time `next_at` at which the item is due again. None: never.

        If the events have changed in the meantime, this method does nothing and the item stays due.
        """
        names, values = {"#work": "work"}, {":count": {"N": str(len(recorded))}}
        sets, removes = [], ["due_since"]
        if next_at is None:
            removes += ["#work", "work_at"]
        else:
            sets, values = (
                ["#work = :work", "work_at = :next"],
                {**values, ":work": {"S": _WORK}, ":next": _write(next_at)},
            )
        await self._update_due(
            item_id,
            recorded,
            sets=sets,
            removes=removes,
            condition="size(events) = :count",
            names=names,
            values=values,
        )

    async def _update_due(
        self,
        item_id: str,
        recorded: Sequence[SharingEvent],
        *,
        sets: Sequence[str] = (),
        removes: Sequence[str] = (),
        condition: str = "",
        names: Mapping[str, str] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        """Remove the first events of an item if the item still begins with them, and apply the
        other changes.
        """
        conditions, first = [condition] if condition else [], {}
        if recorded:
            conditions.append("events[0].id = :first")
            first = {":first": {"S": recorded[0].id}}
        removed = [*removes, *(f"events[{index}]" for index in range(len(recorded)))]
        with suppress(ConditionNotMet):
            await self._call(
                self._client.update_item,
                Key=_key(item_id),
                UpdateExpression=(f"SET {', '.join(sets)} " if sets else "")
                + f"REMOVE {', '.join(removed)}",
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeValues={**(values or {}), **first},
                **({"ExpressionAttributeNames": names} if names else {}),
            )

    async def take_attempt(
        self, counter: str, *, limit: int, window_s: float, now: float
    ) -> int | None:
        """Count an attempt. Returns None if the attempt is allowed, otherwise the whole seconds
        until the next attempt is allowed.

        A window begins with its first attempt. The count is exact even for concurrent attempts.
        """
        key = _key(f"counter:{counter}")
        for _ in range(5):
            try:
                await self._call(
                    self._client.update_item,
                    Key=key,
                    UpdateExpression="ADD attempts :one",
                    ConditionExpression="ends_at > :now AND attempts < :limit",
                    ExpressionAttributeValues={
                        ":one": {"N": "1"},
                        ":now": _write(now),
                        ":limit": {"N": str(limit)},
                    },
                )
                return None
            except ConditionNotMet:
                pass
            reply = await self._call(self._client.get_item, Key=key, ConsistentRead=True)
            stored = {name: _read(value) for name, value in reply.get("Item", {}).items()}
            ends_at = float(stored.get("ends_at", 0))
            if ends_at > now:
                if stored["attempts"] >= limit:
                    return math.ceil(ends_at - now)
                continue  # another process began the window in the meantime
            try:
                await self._call(
                    self._client.update_item,
                    Key=key,
                    UpdateExpression="SET attempts = :one, ends_at = :ends, delete_at = :delete",
                    ConditionExpression="attribute_not_exists(id) OR ends_at <= :now",
                    ExpressionAttributeValues={
                        ":one": {"N": "1"},
                        ":now": _write(now),
                        ":ends": _write(now + window_s),
                        ":delete": {"N": str(int(now + window_s) + 3600)},
                    },
                )
                return None
            except ConditionNotMet:
                continue
        raise Unavailable("Too many concurrent attempts. Try again.")

    async def return_attempt(self, counter: str) -> None:
        """Reverse `take_attempt` for an attempt that does not count, for example because it
        succeeded.
        """
        try:
            await self._call(
                self._client.update_item,
                Key=_key(f"counter:{counter}"),
                UpdateExpression="ADD attempts :minus",
                ConditionExpression="attempts > :zero",
                ExpressionAttributeValues={":minus": {"N": "-1"}, ":zero": {"N": "0"}},
            )
        except ConditionNotMet:
            return

    async def _call(self, operation: Any, **arguments: Any) -> dict[str, Any]:
        """Call DynamoDB. Raises ConditionNotMet, Unavailable."""
        try:
            return await _repeated(operation, TableName=self._table, **arguments)
        except Unavailable as exc:
            if isinstance(exc.__cause__, self._client.exceptions.ConditionalCheckFailedException):
                raise ConditionNotMet(_read_item(exc.__cause__.response.get("Item"))) from None
            raise


async def _repeated(operation: Any, **arguments: Any) -> dict[str, Any]:
    """Call DynamoDB in a thread, because boto3 blocks. Repeats a write that DynamoDB rejects
    because a transaction uses the item, which boto3 does not repeat. Raises Unavailable.

    Source: Amazon DynamoDB Developer Guide, "Transaction conflict handling in DynamoDB".
    """
    attempt = 1
    while True:
        try:
            return await call(operation, _SERVICE, **arguments)
        except Unavailable as exc:
            reasons = _rejection_reasons(exc)
            is_conflict = (
                "TransactionConflict" in reasons and "ConditionalCheckFailed" not in reasons
            )
            if not is_conflict or attempt == _ATTEMPTS_MAX:
                raise
        await asyncio.sleep(_PAUSE_S * 2 ** (attempt - 1))
        attempt += 1


def put_of(item: Item, event: SharingEvent) -> Write:
    """Return the parameters that create an item with its first event if the ID does not exist."""
    attributes = {**item, "events": [builtins(event)], "work": _WORK, "work_at": event.at}
    return {
        "Item": {name: _write(value) for name, value in attributes.items()},
        "ConditionExpression": "attribute_not_exists(id)",
    }


def update_of(
    item_id: str,
    *,
    sets: Sequence[str],
    condition: str,
    names: Mapping[str, str],
    values: Mapping[str, Any],
    event: SharingEvent,
    pending_max: int | None = PENDING_MAX,
) -> Write:
    """Return the parameters that change an existing item under a condition and append an event.

    pending_max: number of events that are not in the audit trail yet, from which the condition is
        not met. None: no limit.
    """
    appended = (
        "events = list_append(if_not_exists(events, :no_events), :event)",
        "work_at = :work_at",
        "#work = :work",
    )
    values = {
        **values,
        ":no_events": [],
        ":event": [builtins(event)],
        ":work_at": event.at,
        ":work": _WORK,
    }
    conditions = ["attribute_exists(id)", f"({condition})"]
    if pending_max is not None:
        conditions.append("(attribute_not_exists(events) OR size(events) < :pending_max)")
        values[":pending_max"] = pending_max
    return {
        "Key": _key(item_id),
        "UpdateExpression": f"SET {', '.join((*sets, *appended))}",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {**names, "#work": "work"},
        "ExpressionAttributeValues": {name: _write(value) for name, value in values.items()},
    }


def builtins(model: Any) -> Any:
    """Convert a model to the values of an item."""
    return msgspec.to_builtins(model, builtin_types=(bytes,))


def _contains(item: Item | None, event: SharingEvent) -> bool:
    return any(stored["id"] == event.id for stored in (item or {}).get("events", ()))


def _rejection_reasons(error: Unavailable) -> set[str]:
    """Return the codes of the reasons for which DynamoDB rejected a transaction, or a single write
    during a transaction.
    """
    cause = error.__cause__
    code = error_code(cause) if isinstance(cause, Exception) else ""
    if code == "TransactionConflictException":
        return {"TransactionConflict"}
    if code != "TransactionCanceledException":
        return set()
    response: dict[str, Any] = getattr(cause, "response", {})
    return {str(reason.get("Code", "")) for reason in response.get("CancellationReasons", ())}


def _key(item_id: str) -> dict[str, Any]:
    return {"id": {"S": item_id}}


def _read_item(attributes: Mapping[str, Any] | None) -> Item | None:
    return {name: _read(value) for name, value in attributes.items()} if attributes else None


def _write(value: Any) -> dict[str, Any]:
    """Convert a value to DynamoDB JSON. Times are rounded to microseconds."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, float):
        return {"N": f"{value:.6f}"}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": str(value)}
    if isinstance(value, bytes):
        return {"B": value}
    if isinstance(value, Mapping):
        return {"M": {name: _write(item) for name, item in value.items()}}
    return {"L": [_write(item) for item in value]}


def _read(value: Mapping[str, Any]) -> Any:
    (kind, content), *_ = value.items()
    if kind == "N":
        return float(content) if "." in content else int(content)
    if kind == "M":
        return {name: _read(item) for name, item in content.items()}
    if kind == "L":
        return [_read(item) for item in content]
    if kind == "NULL":
        return None
    return content
