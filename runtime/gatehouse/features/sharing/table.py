"""Reads and writes items in the DynamoDB table: conditional writes with audit events, pending work,
and counters.

A write to a secret stores its event in the same item, so every stored change has an event, and
happens only if nobody else has changed the item since it was read. Reads are consistent. No
decision depends on an index or on DynamoDB's TTL.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from gatehouse.core.errors import Unavailable
from gatehouse.features.sharing.models import SharingEvent
from gatehouse.platform.aws import call, create_client, error_code

OWNER_INDEX = "owner-index"
WORK_INDEX = "work-index"
_WORK = "pending"
_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 1.0
_ATTEMPTS = 3
_BATCH = 100
_CONDITION_FAILED = "ConditionalCheckFailedException"
#: Maximum number of events of an item that are not in the audit trail yet. With the bounds of the
#: other attributes, an item is smaller than 400 KB, the limit of DynamoDB. Denied attempts leave
#: room for the events of changes.
PENDING_MAX = 300
PENDING_DENIED_MAX = 200
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
        await self._call(self._probe.get_item, Key=_key(_ABSENT), ProjectionExpression="id")

    async def get(self, item_id: str) -> Item | None:
        reply = await self._call(self._client.get_item, Key=_key(item_id), ConsistentRead=True)
        return _item(reply["Item"]) if "Item" in reply else None

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Item], str]:
        """Return the items of an owner after a position, newest first, and the position of the last
        item.

        An empty `after` starts at the first item. An empty returned position means that this is the
        last page. The index can contain an item that was just deleted, so a page can have fewer
        items than `size`.
        """
        reply = await self._call(
            self._client.query,
            IndexName=OWNER_INDEX,
            KeyConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
            ScanIndexForward=False,
            Limit=size,
            **({"ExclusiveStartKey": json.loads(after)} if after else {}),
        )
        last = reply.get("LastEvaluatedKey")
        position = json.dumps(last) if last else ""
        ids = [item["id"]["S"] for item in reply["Items"]]
        items = await self._items(ids)
        return [items[item_id] for item_id in ids if item_id in items], position

    async def _items(self, ids: Sequence[str]) -> dict[str, Item]:
        """Return the items that exist, by ID. DynamoDB processes at least one key of each call."""
        keys, items = [_key(item_id) for item_id in ids], {}
        while keys:
            request = {self._table: {"Keys": keys[:_BATCH], "ConsistentRead": True}}
            reply = await _call(self._client.batch_get_item, RequestItems=request)
            for attributes in reply["Responses"][self._table]:
                items[attributes["id"]["S"]] = _item(attributes)
            unprocessed = reply.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            keys = [*unprocessed, *keys[_BATCH:]]
        return items

    async def put(self, item: Item, event: SharingEvent) -> None:
        """Create an item. Raises ConditionNotMet if the ID already exists."""
        attributes = {**item, "events": [builtins(event)], "work": _WORK, "work_at": event.at}
        try:
            await self._call(
                self._client.put_item,
                Item={name: _write(value) for name, value in attributes.items()},
                ConditionExpression="attribute_not_exists(id)",
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

    async def update(self, before: Item, after: Item, event: SharingEvent, *, waits: bool) -> Item:
        """Write the changed attributes of an item, append the event, and return the new item.

        Raises ConditionNotMet if somebody has changed the item since `before` was read, and, for a
        change that `waits`, Unavailable if PENDING_MAX events of the item are not in the audit
        trail yet.
        """
        changed = {name: value for name, value in after.items() if value != before[name]}
        changed["writes"] = before["writes"] + 1
        read, pending_max = {":read": before["writes"]}, PENDING_MAX if waits else None
        try:
            reply = await self._call(
                self._client.update_item,
                **_write_of(before["id"], changed, event, "#writes = :read", read, pending_max),
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionNotMet as failed:
            if failed.item is not None and _contains(failed.item, event):
                return failed.item  # as for `put`
            if waits and len((failed.item or {}).get("events", ())) >= PENDING_MAX:
                raise Unavailable(
                    "The audit trail is not up to date. Try again.",
                    detail="sharing: pending events",
                ) from None
            raise
        return _item(reply["Attributes"])

    async def record(self, item_id: str, event: SharingEvent) -> None:
        """Store the event of a denied attempt, without reading the item, so that the duration does
        not depend on the size of the item. Does nothing if the item does not exist, or if it has
        PENDING_DENIED_MAX events that are not in the audit trail yet.
        """
        write = _write_of(item_id, {}, event, "attribute_exists(id)", {}, PENDING_DENIED_MAX)
        with suppress(ConditionNotMet):
            await self._call(self._client.update_item, **write)

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

    async def with_events(self, item_id: str) -> tuple[Item, list[SharingEvent]] | None:
        """Return an item and, in their original order, its events that are not in the audit trail
        yet. Returns None if the item does not exist."""
        item = await self.get(item_id)
        return None if item is None else (item, msgspec.convert(item["events"], list[SharingEvent]))

    async def settle(
        self, item_id: str, events: Sequence[SharingEvent], *, next_at: float | None
    ) -> None:
        """Remove the events of an item, which are in the audit trail, and set the time `next_at` at
        which the item is due again. None: never.

        If the events have changed in the meantime, this method does nothing and the item stays due.
        """
        values: dict[str, Any] = {":count": len(events), ":none": []}
        conditions, due = ["size(events) = :count"], "REMOVE #work, work_at"
        names = {"#work": "work"}
        if events:
            conditions.append("events[0].id = :first")
            values[":first"] = events[0].id
        if next_at is not None:
            due, names, values[":next"] = ", work_at = :next", {}, next_at
        with suppress(ConditionNotMet):
            await self._call(
                self._client.update_item,
                Key=_key(item_id),
                UpdateExpression=f"SET events = :none {due}",
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeValues={name: _write(value) for name, value in values.items()},
                **({"ExpressionAttributeNames": names} if names else {}),
            )

    async def take_attempt(
        self, counter: str, *, limit: int, window_s: float, now: float
    ) -> int | None:
        """Count an attempt. Returns None if the attempt is allowed, otherwise the whole seconds
        until the next attempt is allowed.

        A window begins at a multiple of its length. The count is exact even for concurrent
        attempts.
        """
        ends_at = _window_end(now, window_s)
        try:
            await self._call(
                self._client.update_item,
                Key=_counter_key(counter, ends_at),
                UpdateExpression="ADD attempts :one SET delete_at = :delete",
                ConditionExpression="attribute_not_exists(id) OR attempts < :limit",
                ExpressionAttributeValues={
                    ":one": _write(1),
                    ":limit": _write(limit),
                    ":delete": _write(int(ends_at) + 3600),
                },
            )
        except ConditionNotMet:
            return math.ceil(ends_at - now)
        return None

    async def return_attempt(self, counter: str, *, window_s: float, now: float) -> None:
        """Reverse `take_attempt` for an attempt at `now` that does not count, for example because
        it succeeded.
        """
        await self._call(
            self._client.update_item,
            Key=_counter_key(counter, _window_end(now, window_s)),
            UpdateExpression="ADD attempts :minus",
            ExpressionAttributeValues={":minus": _write(-1)},
        )

    async def _call(self, operation: Any, **arguments: Any) -> dict[str, Any]:
        return await _call(operation, TableName=self._table, **arguments)


async def _call(operation: Any, **arguments: Any) -> dict[str, Any]:
    """Call DynamoDB. Raises ConditionNotMet, Unavailable."""
    try:
        return await call(operation, "DynamoDB", **arguments)
    except Unavailable as exc:
        cause = exc.__cause__
        if not isinstance(cause, ClientError) or error_code(cause) != _CONDITION_FAILED:
            raise
        item: Any = cause.response.get("Item")
        raise ConditionNotMet(_item(item) if item else None) from None


def _write_of(
    item_id: str,
    changed: Item,
    event: SharingEvent,
    condition: str,
    values: Item,
    pending_max: int | None,
) -> Write:
    """Return the parameters that set attributes of an item and append an event under a condition
    with these values.
    """
    if pending_max is not None:
        condition, values = f"{condition} AND size(events) < :max", {**values, ":max": pending_max}
    changed = {**changed, "work": _WORK, "work_at": event.at}
    values = {**values, **{f":{name}": value for name, value in changed.items()}}
    values[":events"] = [builtins(event)]
    sets = ", ".join(f"#{name} = :{name}" for name in changed)
    return {
        "Key": _key(item_id),
        "UpdateExpression": f"SET {sets}, events = list_append(events, :events)",
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {f"#{name}": name for name in changed},
        "ExpressionAttributeValues": {name: _write(value) for name, value in values.items()},
    }


def builtins(model: Any) -> Any:
    """Convert a model to the values of an item."""
    return msgspec.to_builtins(model, builtin_types=(bytes,))


def _contains(item: Item | None, event: SharingEvent) -> bool:
    return any(stored["id"] == event.id for stored in (item or {}).get("events", ()))


def _key(item_id: str) -> dict[str, Any]:
    return {"id": {"S": item_id}}


def _window_end(now: float, window_s: float) -> float:
    return (now // window_s + 1) * window_s


def _counter_key(counter: str, ends_at: float) -> dict[str, Any]:
    return _key(f"counter:{counter}:{ends_at:.0f}")


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


def _item(attributes: Mapping[str, Any]) -> Item:
    return {name: _read(value) for name, value in attributes.items()}


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
