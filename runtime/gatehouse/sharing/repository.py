"""Secrets in DynamoDB: one item for each secret, with its links, claims and unrecorded events.

Every change is one conditional update of one item, so DynamoDB decides between concurrent changes. Reads are consistent. No
decision depends on an index or on DynamoDB's TTL: items are denied by the clock before DynamoDB deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gatehouse.aws import call, create_client
from gatehouse.errors import Conflict, Unavailable
from gatehouse.sharing.models import Claim, EndReason, LinkState, Secret, SecretState, SharingEvent

OWNER_INDEX = "owner-index"
WORK_INDEX = "work-index"
_WORK = "pending"
_TIMEOUT_S = 2.0
_ATTEMPTS = 3
_SERVICE = "DynamoDB"
_BATCH = 100
#: Key of an item that does not exist.
_ABSENT = "readiness-probe"

Item = dict[str, Any]


class ConditionFailed(Exception):
    """The item was not changed. `secret`: its current state, None if it does not exist."""

    def __init__(self, secret: Secret | None) -> None:
        super().__init__("the condition of the update is not met")
        self.secret = secret


class SecretRepository:
    """Methods raise Unavailable if DynamoDB cannot be reached."""

    name = "tokens"  # of the readiness check

    def __init__(self, table: str) -> None:
        self._table = table
        self._client = create_client("dynamodb", timeout_s=_TIMEOUT_S, attempts=_ATTEMPTS)
        # A single attempt: the caller repeats a readiness probe.
        self._probe = create_client("dynamodb", timeout_s=1, attempts=1)

    async def check(self) -> None:
        """Read an item, which requires the permission that the service needs. Raises Unavailable."""
        await self._call(self._probe.get_item, Key={"id": {"S": _ABSENT}}, ProjectionExpression="id")

    async def create(self, secret: Secret, event: SharingEvent) -> None:
        """Raises Conflict if the id exists."""
        item = {**_item(secret), "events": [_builtins(event)], "work": _WORK, "work_at": event.at}
        try:
            await self._call(
                self._client.put_item,
                Item={name: _write(value) for name, value in item.items()},
                ConditionExpression="attribute_not_exists(id)",
            )
        except ConditionFailed:
            raise Conflict("A secret with this id exists.") from None

    async def get(self, secret_id: str) -> Secret | None:
        reply = await self._call(self._client.get_item, Key=_key(secret_id), ConsistentRead=True)
        return _read_secret(reply.get("Item"))

    async def claim(self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent) -> Secret:
        """Record one use of a link, if one is left, before anything is decrypted.

        Raises ConditionFailed; its `secret` contains the claim if this claim was recorded before.
        """
        condition = (
            "#state = :active AND expires_at > :now AND links.#link.#state = :link_active"
            " AND links.#link.uses < links.#link.uses_max AND attribute_not_exists(links.#link.claims.#claim)"
            " AND versions[0].#number = :version"
        )
        return await self._update(
            secret.id,
            sets=("links.#link.uses = links.#link.uses + :one", "links.#link.claims.#claim = :claim"),
            condition=condition,
            names={"#state": "state", "#link": link_id, "#claim": claim_id, "#number": "number"},
            values={
                ":active": SecretState.ACTIVE,
                ":link_active": LinkState.ACTIVE,
                ":now": event.at,
                ":one": 1,
                ":claim": _builtins(Claim(event.at)),
                ":version": secret.current.number,
            },
            event=event,
        )

    async def acknowledge(self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent, *, erase: bool) -> Secret:
        """Record that the client received the content. `erase`: also erase the content keys of the link.

        Raises ConditionFailed for an unknown claim, or one that was acknowledged.
        """
        sets = ["links.#link.claims.#claim.acknowledged_at = :now"]
        if erase:
            sets.append("links.#link.wrapped_keys = :none")
        return await self._update(
            secret.id,
            sets=sets,
            condition="attribute_type(links.#link.claims.#claim.acknowledged_at, :null)",
            names={"#link": link_id, "#claim": claim_id},
            values={":now": event.at, ":null": "NULL", **({":none": {}} if erase else {})},
            event=event,
        )

    async def mark_opened(self, secret: Secret, link_id: str, event: SharingEvent) -> Secret:
        """Record the first time that a client proved possession of a link. Raises ConditionFailed if it is recorded."""
        return await self._update(
            secret.id,
            sets=("links.#link.opened_at = :now",),
            condition="attribute_type(links.#link.opened_at, :null) AND #state = :active",
            names={"#link": link_id, "#state": "state"},
            values={":now": event.at, ":null": "NULL", ":active": SecretState.ACTIVE},
            event=event,
        )

    async def count_failure(self, secret: Secret, link_id: str, event: SharingEvent) -> Secret:
        """Count a wrong passphrase. Raises ConditionFailed if the link has ended."""
        return await self._update(
            secret.id,
            sets=("links.#link.failures = links.#link.failures + :one",),
            condition="links.#link.#state = :link_active",
            names={"#link": link_id, "#state": "state"},
            values={":one": 1, ":link_active": LinkState.ACTIVE},
            event=event,
        )

    async def end_link(self, secret: Secret, link_id: str, state: LinkState, event: SharingEvent) -> Secret:
        """Revoke or burn a link and erase its content keys. Raises ConditionFailed if the link has ended."""
        return await self._update(
            secret.id,
            sets=("links.#link.#state = :state", "links.#link.wrapped_keys = :none", "revision = revision + :one"),
            condition="links.#link.#state = :link_active AND #state = :active",
            names={"#link": link_id, "#state": "state"},
            values={":state": state, ":link_active": LinkState.ACTIVE, ":none": {}, ":active": SecretState.ACTIVE, ":one": 1},
            event=event,
        )

    async def end(self, secret: Secret, reason: EndReason, event: SharingEvent, *, unchanged: bool = False) -> Secret:
        """Deny all links of an active secret and erase their content keys.

        Raises ConditionFailed if it is not active, or with `unchanged` if the owner has changed it since it was read.
        """
        names = {"#state": "state"}
        sets = ["#state = :ended", "ended_at = :now", "end_reason = :reason", "revision = revision + :one"]
        values = {
            ":ended": SecretState.ENDED,
            ":active": SecretState.ACTIVE,
            ":reason": reason,
            ":now": event.at,
            ":none": {},
            ":one": 1,
        }
        for number, link_id in enumerate(secret.links):
            names[f"#link{number}"] = link_id
            sets.append(f"links.#link{number}.wrapped_keys = :none")
        condition = "#state = :active"
        if unchanged:
            condition, values[":revision"] = f"{condition} AND revision = :revision", secret.revision
        return await self._update(secret.id, sets=sets, condition=condition, names=names, values=values, event=event)

    async def replace(self, before: Secret, after: Secret, event: SharingEvent, *, fields: Sequence[str]) -> Secret:
        """Replace fields of a secret, and the bounds and content keys of its links, if its revision is unchanged.

        Raises ConditionFailed if the revision has changed or a link has more uses than `after` allows.
        """
        names, values = (
            {"#state": "state"},
            {":revision": before.revision, ":next": before.revision + 1, ":active": SecretState.ACTIVE},
        )
        sets, conditions = ["revision = :next"], ["revision = :revision", "#state = :active"]
        content = _item(after)
        for number, field in enumerate(fields):
            names[f"#field{number}"], values[f":field{number}"] = field, content[field]
            sets.append(f"#field{number} = :field{number}")
        for number, (link_id, link) in enumerate(after.links.items()):
            if link == before.links[link_id]:
                continue
            path = f"links.#link{number}"
            names[f"#link{number}"] = link_id
            values |= {f":uses{number}": link.uses_max, f":keys{number}": link.wrapped_keys, ":link_active": LinkState.ACTIVE}
            sets += [f"{path}.uses_max = :uses{number}", f"{path}.wrapped_keys = :keys{number}"]
            conditions += [f"{path}.uses <= :uses{number}", f"{path}.#state = :link_active"]
        return await self._update(
            before.id, sets=sets, condition=" AND ".join(conditions), names=names, values=values, event=event
        )

    async def record(self, secret: Secret, event: SharingEvent) -> None:
        """Store an event that changes nothing else."""
        await self._update(secret.id, sets=(), condition="attribute_exists(links)", names={}, values={}, event=event)

    async def mark_purged(self, secret: Secret, event: SharingEvent, *, receipt: Mapping[str, Any], delete_at: float) -> Secret:
        """Record that all object versions are deleted. Raises ConditionFailed if it is recorded."""
        return await self._update(
            secret.id,
            sets=("#state = :purged", "purged_at = :now", "versions = :empty", "receipt = :receipt", "delete_at = :delete_at"),
            condition="#state = :ended",
            names={"#state": "state"},
            values={
                ":purged": SecretState.PURGED,
                ":ended": SecretState.ENDED,
                ":now": event.at,
                ":empty": [],
                ":receipt": receipt,
                ":delete_at": int(delete_at),
            },
            event=event,
        )

    async def receipt(self, secret_id: str) -> dict[str, str] | None:
        """The deletion receipt of a purged secret."""
        reply = await self._call(self._client.get_item, Key=_key(secret_id), ConsistentRead=True, ProjectionExpression="receipt")
        value = reply.get("Item", {}).get("receipt")
        return None if value is None else _read(value)

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Secret], str]:
        """Secrets of an owner, newest first, after a position; and the position of the last one. Empty: the start, the last page.

        The index can name a secret that was deleted a moment ago, so a page can have fewer secrets than `size`.
        """
        start = {}
        if after:
            created_at, secret_id = after.split()
            start = {"ExclusiveStartKey": {"owner": {"S": owner}, "created_at": {"N": created_at}, **_key(secret_id)}}
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
        return await self._get_all([item["id"]["S"] for item in reply["Items"]]), position

    async def due(self, now: float, size: int) -> list[tuple[str, float]]:
        """Ids of secrets that have unrecorded events or whose purge is due, each with its `work_at`, the earliest first."""
        reply = await self._call(
            self._client.query,
            IndexName=WORK_INDEX,
            KeyConditionExpression="#work = :work AND work_at <= :now",
            ExpressionAttributeNames={"#work": "work"},
            ExpressionAttributeValues={":work": {"S": _WORK}, ":now": _write(now)},
            Limit=size,
        )
        return [(item["id"]["S"], float(item["work_at"]["N"])) for item in reply["Items"]]

    async def postpone(self, secret_id: str, work_at: float, next_at: float, *, due_since: float) -> None:
        """Set the time of the next attempt after background work failed, and remember since when it is due.

        Does nothing if an event was stored since `work_at` was read: the secret stays due.
        """
        try:
            await self._call(
                self._client.update_item,
                Key=_key(secret_id),
                UpdateExpression="SET work_at = :next, due_since = :since",
                ConditionExpression="work_at = :seen",
                ExpressionAttributeValues={":next": _write(next_at), ":since": _write(due_since), ":seen": _write(work_at)},
            )
        except ConditionFailed:
            return

    async def due_since(self, secret_id: str) -> float | None:
        """Time since which background work that failed before is due; None if it has not failed."""
        reply = await self._call(
            self._client.get_item, Key=_key(secret_id), ConsistentRead=True, ProjectionExpression="due_since"
        )
        value = reply.get("Item", {}).get("due_since")
        return None if value is None else float(_read(value))

    async def with_events(self, secret_id: str) -> tuple[Secret, list[SharingEvent]] | None:
        """A secret and its events that are not in the audit trail yet, in their order."""
        reply = await self._call(self._client.get_item, Key=_key(secret_id), ConsistentRead=True)
        secret = _read_secret(reply.get("Item"))
        if secret is None:
            return None
        return secret, msgspec.convert(_read(reply["Item"].get("events", {"L": []})), list[SharingEvent])

    async def settle(self, secret: Secret, recorded: Sequence[SharingEvent], *, next_at: float | None) -> None:
        """Remove events that are in the audit trail, and set the time at which the secret is due again; None: never.

        Does nothing if the events have changed in the meantime: the secret stays due.
        """
        names, values = {"#work": "work"}, {":count": {"N": str(len(recorded))}}
        condition = "size(events) = :count"
        removes = ["due_since", *(f"events[{index}]" for index in range(len(recorded)))]
        if recorded:
            condition += " AND events[0].id = :first"
            values[":first"] = {"S": recorded[0].id}
        sets = []
        if next_at is None:
            removes += ["#work", "work_at"]
        else:
            sets, values = ["#work = :work", "work_at = :next"], {**values, ":work": {"S": _WORK}, ":next": _write(next_at)}
        expression = (f"SET {', '.join(sets)} " if sets else "") + f"REMOVE {', '.join(removes)}"
        try:
            await self._call(
                self._client.update_item,
                Key=_key(secret.id),
                UpdateExpression=expression,
                ConditionExpression=condition,
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=values,
            )
        except ConditionFailed:
            return

    async def take_attempt(self, counter: str, *, limit: int, window_s: float, now: float) -> float | None:
        """Count an attempt. None, or the seconds after which the next attempt is allowed.

        The window begins with its first attempt. The count is exact also for concurrent attempts.
        """
        key = _key(f"counter:{counter}")
        for _ in range(5):
            try:
                await self._call(
                    self._client.update_item,
                    Key=key,
                    UpdateExpression="ADD attempts :one",
                    ConditionExpression="ends_at > :now AND attempts < :limit",
                    ExpressionAttributeValues={":one": {"N": "1"}, ":now": _write(now), ":limit": {"N": str(limit)}},
                )
                return None
            except ConditionFailed:
                pass
            reply = await self._call(self._client.get_item, Key=key, ConsistentRead=True)
            stored = {name: _read(value) for name, value in reply.get("Item", {}).items()}
            ends_at = float(stored.get("ends_at", 0))
            if ends_at > now:
                if stored["attempts"] >= limit:
                    return ends_at - now
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
            except ConditionFailed:
                continue
        raise Unavailable("Too many concurrent attempts. Try again.")

    async def return_attempt(self, counter: str) -> None:
        """Take back an attempt that was not a failure."""
        try:
            await self._call(
                self._client.update_item,
                Key=_key(f"counter:{counter}"),
                UpdateExpression="ADD attempts :minus",
                ConditionExpression="attempts > :zero",
                ExpressionAttributeValues={":minus": {"N": "-1"}, ":zero": {"N": "0"}},
            )
        except ConditionFailed:
            return

    async def _get_all(self, ids: Sequence[str]) -> list[Secret]:
        """Secrets in the order of the ids."""
        found: dict[str, Secret] = {}
        for start in range(0, len(ids), _BATCH):
            keys = [_key(secret_id) for secret_id in ids[start : start + _BATCH]]
            while keys:
                reply = await call(
                    self._client.batch_get_item, _SERVICE, RequestItems={self._table: {"Keys": keys, "ConsistentRead": True}}
                )
                for item in reply["Responses"][self._table]:
                    secret = _read_secret(item)
                    if secret is not None:
                        found[secret.id] = secret
                keys = reply.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
        return [found[secret_id] for secret_id in ids if secret_id in found]

    async def _update(
        self,
        secret_id: str,
        *,
        sets: Sequence[str],
        condition: str,
        names: Mapping[str, str],
        values: Mapping[str, Any],
        event: SharingEvent | None = None,
    ) -> Secret:
        """Update an item and append an event in the same write. Raises ConditionFailed."""
        values = dict(values)
        if event is not None:
            sets = [
                *sets,
                "events = list_append(if_not_exists(events, :no_events), :event)",
                "work_at = :work_at",
                "#work = :work",
            ]
            names = {**names, "#work": "work"}
            values |= {":no_events": [], ":event": [_builtins(event)], ":work_at": event.at, ":work": _WORK}
        reply = await self._call(
            self._client.update_item,
            Key=_key(secret_id),
            UpdateExpression=f"SET {', '.join(sets)}",
            ConditionExpression=f"attribute_exists(id) AND {condition}",
            ExpressionAttributeNames=dict(names),
            ExpressionAttributeValues={name: _write(value) for name, value in values.items()},
            ReturnValues="ALL_NEW",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
        secret = _read_secret(reply["Attributes"])
        assert secret is not None  # noqa: S101 - ALL_NEW returns the item
        return secret

    async def _call(self, operation: Any, **arguments: Any) -> dict[str, Any]:
        """Raises ConditionFailed, Unavailable. Runs in a thread, because boto3 blocks."""
        try:
            return await call(operation, _SERVICE, TableName=self._table, **arguments)
        except Unavailable as exc:
            if isinstance(exc.__cause__, self._client.exceptions.ConditionalCheckFailedException):
                raise ConditionFailed(_read_secret(exc.__cause__.response.get("Item"))) from None
            raise


def _key(item_id: str) -> dict[str, Any]:
    return {"id": {"S": item_id}}


def _builtins(model: Any) -> Any:
    return msgspec.to_builtins(model, builtin_types=(bytes,))


def _item(secret: Secret) -> Item:
    content: Item = _builtins(secret)
    return content


def _read_secret(item: Mapping[str, Any] | None) -> Secret | None:
    """The secret of an item; None for a missing item or a counter."""
    if not item or "links" not in item:
        return None
    return msgspec.convert({name: _read(value) for name, value in item.items()}, Secret)


def _write(value: Any) -> dict[str, Any]:
    """A value in DynamoDB's JSON. Times have microseconds."""
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
