"""Stores secrets in DynamoDB: conditional writes with audit events, pending work, and counters.

A secret is one item with its whole state and its unrecorded events, so every stored change has an
event. Every change is one conditional update, which is made only if nobody else has changed the
item since it was read; changes of one process wait for each other. Reads are consistent. No
decision depends on an index or on DynamoDB's TTL: the service compares the expiry with the time.
"""

import asyncio
import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from gatehouse.core.errors import SettingsError, Unavailable
from gatehouse.features.secrets.models import Secret, SharingEvent
from gatehouse.platform.aws import call, create_client, error_code
from gatehouse.platform.settings import variable

OWNER_INDEX = "owner-index"
WORK_INDEX = "work-index"
_WORK = "pending"
_TIMEOUT_S = 2.0
_PROBE_TIMEOUT_S = 1.0
_ATTEMPTS = 3
#: Secrets that are read in one call. Their items have up to 130 KB, which take 1 ms each.
_BATCH = 10
_CONDITION_FAILED = "ConditionalCheckFailedException"
#: Maximum number of events of an item that are not in the audit trail yet. With the bounds of the
#: other attributes, an item is smaller than 400 KB, the limit of DynamoDB. Denied attempts leave
#: room for the events of changes.
PENDING_MAX = 300
PENDING_DENIED_MAX = 200
#: Maximum number of attempts for a change that meets other changes of the item, and the bounds of
#: the random pauses between them, which double (AWS Architecture Blog, "Exponential Backoff And
#: Jitter").
_ATTEMPTS_MAX = 20
_PAUSE_S, _PAUSE_MAX_S = 0.02, 1.0
#: Key of an item that does not exist.
_ABSENT = "readiness-probe"
#: Key of the item with the settings on which all processes agree.
_FACTS = "deployment"

#: Key of the item with the reports of the processes of the sharing service, each in an attribute,
#: and the time in seconds after the last report at which DynamoDB deletes the item.
_REPORTS, _REPORTS_S = "worker-reports", 7 * 86_400

#: An item, or the parameters of a write, in DynamoDB JSON.
Item = dict[str, Any]


class ConditionNotMet(Exception):
    """Nothing was written. `item`: the current item, or None if the item does not exist or is not
    known.
    """

    def __init__(self, item: Item | None = None) -> None:
        super().__init__("the condition of the write is not met")
        self.item = item


class Table:
    """Reads and changes secrets, and counts attempts. Methods raise Unavailable if DynamoDB cannot
    be reached.
    """

    name = "tokens"  # name of the readiness check

    def __init__(self, table: str, facts: Mapping[str, str] | None = None) -> None:
        """facts: the settings on which all processes that use the table agree, by name. The first
        process stores them in an item. The first call of each process compares them.
        """
        self._table = table
        self._facts = dict(facts or {})
        self._client = create_client("dynamodb", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)
        # Only one attempt, because callers repeat readiness probes.
        self._probe = create_client("dynamodb", timeout_s=_PROBE_TIMEOUT_S, attempts=1)

    async def confirm(self) -> None:
        """Compare the facts, and store those that are new. Raises SettingsError, Unavailable."""
        facts = self._facts
        if not facts:
            return
        reply = await _call(
            self._client.update_item,
            TableName=self._table,
            Key=_key(_FACTS),
            UpdateExpression="SET "
            + ", ".join(f"#{name} = if_not_exists(#{name}, :{name})" for name in facts),
            ExpressionAttributeNames={f"#{name}": name for name in facts},
            ExpressionAttributeValues={f":{name}": {"S": facts[name]} for name in facts},
            ReturnValues="ALL_NEW",
        )
        for name, value in facts.items():
            stored = reply["Attributes"][name]["S"]
            if stored != value:
                raise SettingsError(
                    f"{variable(name)} is not that of the other processes that use the table "
                    f'{self._table} ("{stored}"). Set the same value, or use another table. After '
                    f'an intended change, stop these processes and delete the item "{_FACTS}"'
                )
        self._facts = {}

    async def check(self) -> None:
        """Read an item to check the connection and the permission of the service. Raises
        Unavailable.
        """
        await self._call(self._probe.get_item, Key=_key(_ABSENT), ProjectionExpression="id")

    async def write_report(self, worker: str, report: bytes, now: float, *, lease_s: float) -> None:
        """Store the report of a process, and remove those whose leases have ended."""
        stored = (await self.reports() or {}).items()
        ended = [name for name, (_, at) in stored if now - at > lease_s and name != worker]
        removed = {f"#{number}": name for number, name in enumerate(ended)}
        update = f" REMOVE {', '.join(removed)}" if removed else ""
        await self._call(
            self._client.update_item,
            Key=_key(_REPORTS),
            UpdateExpression=f"SET delete_at = :end, #own = :own{update}",
            ExpressionAttributeNames={"#own": worker, **removed},
            ExpressionAttributeValues={
                ":end": _number(int(now) + _REPORTS_S),
                ":own": {"M": {"at": _number(now), "report": {"B": report}}},
            },
        )

    async def remove_report(self, worker: str) -> None:
        await self._call(
            self._client.update_item,
            Key=_key(_REPORTS),
            UpdateExpression="REMOVE #own",
            ExpressionAttributeNames={"#own": worker},
        )

    async def reports(self) -> dict[str, tuple[bytes, float]] | None:
        """Return the reports of the processes of the sharing service, with their times in Unix
        seconds, by process. None if there was none for a week.
        """
        item = await self._item(_REPORTS)
        if item is None:
            return None
        return {
            name: (value["M"]["report"]["B"], float(value["M"]["at"]["N"]))
            for name, value in item.items()
            if "M" in value
        }

    async def get(self, secret_id: str) -> Secret | None:
        item = await self._item(secret_id)
        return None if item is None else _secret(item)

    async def with_events(self, secret_id: str) -> tuple[Secret, list[SharingEvent]] | None:
        """Return a secret and, in their original order, its events that are not in the audit trail
        yet. Returns None if the secret does not exist."""
        item = await self._item(secret_id)
        if item is None:
            return None
        events = [msgspec.msgpack.decode(event, type=SharingEvent) for event in _events(item)]
        return _secret(item), events

    async def of_owner(
        self, owner: str, *, after: dict[str, Any] | None, size: int
    ) -> tuple[list[Secret], dict[str, Any] | None]:
        """Return the secrets of an owner after a position, newest first, and the position of the
        last secret, or None on the last page.

        The index can contain an item that was just deleted, so a page can have fewer secrets than
        `size`.
        """
        reply = await self._call(
            self._client.query,
            **_of_owner(owner),
            ScanIndexForward=False,
            Limit=size,
            **({"ExclusiveStartKey": after} if after else {}),
        )
        ids = [item["id"]["S"] for item in reply["Items"]]
        secrets = await self._secrets(ids)
        page = [secrets[secret_id] for secret_id in ids if secret_id in secrets]
        return page, reply.get("LastEvaluatedKey")

    async def count(self, owner: str, most: int) -> int:
        """Return the number of secrets of an owner, at most `most`. A query counts entries of up to
        1 MB (Amazon DynamoDB Developer Guide, "Counting the items in the results", 2026-11-29);
        those of the index have less than 2 KB.
        """
        reply = await self._call(self._client.query, **_of_owner(owner), Select="COUNT", Limit=most)
        total: int = reply["Count"]
        return total

    async def _secrets(self, ids: Sequence[str]) -> dict[str, Secret]:
        """Return the secrets that exist, by ID. DynamoDB processes at least one key of each
        call.
        """
        keys, secrets = [_key(secret_id) for secret_id in ids], {}
        while keys:
            request = {self._table: {"Keys": keys[:_BATCH], "ConsistentRead": True}}
            reply = await _call(self._client.batch_get_item, RequestItems=request)
            for item in reply["Responses"][self._table]:
                secrets[item["id"]["S"]] = _secret(item)
            unprocessed = reply.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            keys = [*unprocessed, *keys[_BATCH:]]
        return secrets

    async def create(self, secret: Secret, event: SharingEvent) -> None:
        try:
            await self._call(
                self._client.put_item,
                Item=new_item(secret, event),
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
            if not _contains(await self._item(secret.id), event):
                raise

    async def change(
        self,
        secret: Secret,
        event: SharingEvent,
        change: Callable[[Secret], Secret],
        *,
        waits: bool = True,
    ) -> Secret:
        """Store a change with its event, and return the current value.

        secret: the value as it was read.
        change: returns the changed value, or its argument if nothing needs to be changed. Called
            again with the current value if somebody else has changed the item.
        waits: False for a change that does not wait for the audit trail, because there is at most
            one such change for each item or link.
        """
        for attempt in range(_ATTEMPTS_MAX):
            changed = change(secret)
            if changed is secret:
                return secret
            changed = msgspec.structs.replace(changed, writes=secret.writes + 1)
            try:
                return await self.update(secret, changed, event, waits=waits)
            except ConditionNotMet as failed:
                current = None if failed.item is None else _secret(failed.item)
            if attempt:
                pause_s = min(_PAUSE_S * 2**attempt, _PAUSE_MAX_S)
                await asyncio.sleep(pause_s * random.random())  # noqa: S311 - is no secret
                current = await self.get(secret.id)  # has changed during the pause
            secret = current or secret
        raise Unavailable(
            "The secret is being changed by other requests. Try again.",
            detail="sharing: concurrent changes",
        )

    async def update(
        self, before: Secret, after: Secret, event: SharingEvent, *, waits: bool
    ) -> Secret:
        """Store a changed secret and its event. Returns the current value.

        Raises ConditionNotMet if somebody has changed the item since `before` was read, and, for a
        change that `waits`, Unavailable if PENDING_MAX events of the item are not in the audit
        trail yet.
        """
        values, pending_max = {":read": _number(before.writes)}, PENDING_MAX if waits else None
        state = {**_state(after), "event_id": {"S": event.id}}
        write = append(after.id, state, event, "writes = :read", values, pending_max)
        try:
            await self._call(
                self._client.update_item, **write, ReturnValuesOnConditionCheckFailure="ALL_OLD"
            )
        except ConditionNotMet as failed:
            if failed.item is not None and _contains(failed.item, event):
                return _secret(failed.item)  # as for `create`
            if waits and len(_events(failed.item)) >= PENDING_MAX:
                raise Unavailable(
                    "The audit trail is not up to date. Try again.",
                    detail="sharing: pending events",
                ) from None
            raise
        return after

    async def record(self, secret_id: str, event: SharingEvent) -> None:
        """Store the event of a denied attempt, without reading the item, so that the duration does
        not depend on the size of the item. Does nothing if the item does not exist, or if it has
        PENDING_DENIED_MAX events that are not in the audit trail yet.
        """
        write = append(secret_id, {}, event, "attribute_exists(id)", {}, PENDING_DENIED_MAX)
        with suppress(ConditionNotMet):
            await self._call(self._client.update_item, **write)

    async def due(self, now: float, size: int) -> list[tuple[str, float]]:
        """Return the IDs of secrets that have unrecorded events or a due purge, each with its
        `work_at`, earliest first.
        """
        reply = await self._call(
            self._client.query,
            IndexName=WORK_INDEX,
            KeyConditionExpression="#work = :work AND work_at <= :now",
            ExpressionAttributeNames={"#work": "work"},
            ExpressionAttributeValues={":work": {"S": _WORK}, ":now": _number(now)},
            Limit=size,
        )
        return [(item["id"]["S"], float(item["work_at"]["N"])) for item in reply["Items"]]

    async def settle(
        self, secret_id: str, events: Sequence[SharingEvent], *, next_at: float | None
    ) -> bool:
        """Remove the events of a secret, which are in the audit trail, and set the time `next_at`
        at which the secret is due again. None: never.

        If the events have changed in the meantime, this method does nothing and returns False, and
        the secret stays due.
        """
        values: Item = {":count": _number(len(events)), ":none": {"L": []}}
        conditions, due = ["size(events) = :count"], "REMOVE #work, work_at"
        names = {"#work": "work"}
        if events:
            conditions.append("events[0] = :first")
            (values[":first"],) = encoded(events[0])["L"]
        if next_at is not None:
            due, names, values[":next"] = ", work_at = :next", {}, _number(next_at)
        try:
            await self._call(
                self._client.update_item,
                Key=_key(secret_id),
                UpdateExpression=f"SET events = :none {due}",
                ConditionExpression=" AND ".join(conditions),
                ExpressionAttributeValues=values,
                **({"ExpressionAttributeNames": names} if names else {}),
            )
        except ConditionNotMet:
            return False
        return True

    async def take_attempt(
        self, counter: str, *, limit: int, window_s: float, now: float
    ) -> tuple[int | None, int]:
        """Count an attempt. Returns None if the attempt is allowed, otherwise the whole seconds
        until the next attempt is allowed; and the number of attempts left.

        A window begins at a multiple of its length. The count is exact even for concurrent
        attempts.
        """
        ends_at = _window_end(now, window_s)
        try:
            reply = await self._call(
                self._client.update_item,
                Key=_counter_key(counter, ends_at),
                ReturnValues="UPDATED_NEW",
                UpdateExpression="ADD attempts :one SET delete_at = :delete",
                ConditionExpression="attribute_not_exists(id) OR attempts < :limit",
                ExpressionAttributeValues={
                    ":one": _number(1),
                    ":limit": _number(limit),
                    ":delete": _number(int(ends_at) + 3600),
                },
            )
        except ConditionNotMet:
            return math.ceil(ends_at - now), 0
        return None, limit - int(reply["Attributes"]["attempts"]["N"])

    async def return_attempt(self, counter: str, *, window_s: float, now: float) -> None:
        """Reverse `take_attempt` for an attempt at `now` that does not count, for example because
        it succeeded.
        """
        await self._call(
            self._client.update_item,
            Key=_counter_key(counter, _window_end(now, window_s)),
            UpdateExpression="ADD attempts :minus",
            ExpressionAttributeValues={":minus": _number(-1)},
        )

    async def _item(self, item_id: str) -> Item | None:
        reply = await self._call(self._client.get_item, Key=_key(item_id), ConsistentRead=True)
        return reply.get("Item")

    async def _call(self, operation: Any, **arguments: Any) -> dict[str, Any]:
        try:
            await self.confirm()
        except SettingsError as exc:
            raise Unavailable("DynamoDB is not available.", detail=exc.public) from exc
        return await _call(operation, TableName=self._table, **arguments)


async def _call(operation: Any, **arguments: Any) -> dict[str, Any]:
    """Call DynamoDB. Raises ConditionNotMet, Unavailable."""
    try:
        return await call(operation, "DynamoDB", answers=(_CONDITION_FAILED,), **arguments)
    except Unavailable as exc:
        cause = exc.__cause__
        if not isinstance(cause, ClientError) or error_code(cause) != _CONDITION_FAILED:
            raise
        response: Any = cause.response
        raise ConditionNotMet(response.get("Item")) from None


def new_item(secret: Secret, *events: SharingEvent) -> Item:
    return {
        **_key(secret.id),
        "owner": {"S": secret.owner},
        "created_at": _number(secret.created_at),
        **_state(secret),
        "events": encoded(*events),
        "event_id": {"S": events[-1].id},
        "work": {"S": _WORK},
        "work_at": _number(events[0].at),
    }


def append(
    secret_id: str,
    changed: Item,
    event: SharingEvent,
    condition: str,
    values: Item,
    pending_max: int | None,
) -> Item:
    """Return the parameters that set attributes of an item and append an event under a condition
    with these values.
    """
    if pending_max is not None:
        condition = f"{condition} AND size(events) < :max"
        values = {**values, ":max": _number(pending_max)}
    sets = "".join(f"{name} = :{name}, " for name in changed)
    return {
        "Key": _key(secret_id),
        "UpdateExpression": (
            f"SET {sets}#work = :work, work_at = :at, events = list_append(events, :events)"
        ),
        "ConditionExpression": condition,
        "ExpressionAttributeNames": {"#work": "work"},
        "ExpressionAttributeValues": {
            **values,
            **{f":{name}": value for name, value in changed.items()},
            ":work": {"S": _WORK},
            ":at": _number(event.at),
            ":events": encoded(event),
        },
    }


def _state(secret: Secret) -> Item:
    """The attributes that change with the secret. `delete_at` is the attribute of DynamoDB's
    TTL.
    """
    deletion = {} if secret.delete_at is None else {"delete_at": _number(secret.delete_at)}
    writes = _number(secret.writes)
    return {"secret": {"B": msgspec.msgpack.encode(secret)}, "writes": writes, **deletion}


def _secret(item: Item) -> Secret:
    return msgspec.msgpack.decode(item["secret"]["B"], type=Secret)


def encoded(*events: SharingEvent) -> Item:
    return {"L": [{"B": msgspec.msgpack.encode(event)} for event in events]}


def _events(item: Item | None) -> list[bytes]:
    return [event["B"] for event in item["events"]["L"]] if item else []


def _contains(item: Item | None, event: SharingEvent) -> bool:
    """True if the change with this event is stored, also if the event is in the audit trail."""
    is_last = item is not None and item.get("event_id") == {"S": event.id}
    return is_last or msgspec.msgpack.encode(event) in _events(item)


def _of_owner(owner: str) -> dict[str, Any]:
    """Return the parameters of a query for the secrets of an owner."""
    return {
        "IndexName": OWNER_INDEX,
        "KeyConditionExpression": "#owner = :owner",
        "ExpressionAttributeNames": {"#owner": "owner"},
        "ExpressionAttributeValues": {":owner": {"S": owner}},
    }


def _key(item_id: str) -> Item:
    return {"id": {"S": item_id}}


def _window_end(now: float, window_s: float) -> float:
    return (now // window_s + 1) * window_s


def _counter_key(counter: str, ends_at: float) -> Item:
    return _key(f"counter:{counter}:{ends_at:.0f}")


def _number(value: float) -> Item:
    """Convert a number. Times are rounded to microseconds."""
    return {"N": f"{value:.6f}".removesuffix(".000000")}
