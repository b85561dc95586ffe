"""Stores secrets in DynamoDB. Each secret is one item that contains the links, the claims and the
unrecorded events.

Every change is one conditional update of one item, so DynamoDB resolves concurrent changes. Reads
are consistent. No decision depends on an index or on DynamoDB's TTL. The service compares the
expiry with the current time, and therefore denies expired items before DynamoDB deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from boto3.dynamodb.conditions import Attr, ConditionBase

from gatehouse.features.sharing.models import (
    Claim,
    EndReason,
    LinkState,
    Secret,
    SecretState,
    SharingEvent,
)
from gatehouse.features.sharing.table import Item, Table, builtins

_ACTIVE = Attr("state").eq(SecretState.ACTIVE)


class SecretRepository:
    """Reads and changes secrets. Methods raise Unavailable if DynamoDB cannot be reached. Changes
    raise ConditionNotMet, with the current item, if the secret was not changed.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def create(self, secret: Secret, event: SharingEvent) -> None:
        await self._table.put(builtins(secret), event)

    async def get(self, secret_id: str) -> Secret | None:
        return secret_of(await self._table.get(secret_id))

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Secret], str]:
        """Return the secrets of an owner after a position, newest first, and the last position. See
        `Table.of_owner`.
        """
        items, position = await self._table.of_owner(owner, after=after, size=size)
        return [_secret(item) for item in items], position

    async def claim(
        self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent
    ) -> Secret:
        """Record one use of a link if a use is left. Called before anything is decrypted."""
        link = f"links.{link_id}"
        condition = (
            _ACTIVE
            & Attr("expires_at").gt(event.at)
            & _is_active(link_id)
            & Attr(f"{link}.uses").lt(Attr(f"{link}.uses_max"))
            & Attr(f"{link}.claims.{claim_id}").not_exists()
            & Attr("versions[0].number").eq(secret.current.number)
        )
        sets = {f"{link}.claims.{claim_id}": builtins(Claim(event.at))}
        item = await self._table.update(
            secret.id, event, condition, sets=sets, adds={f"{link}.uses": 1}
        )
        return _secret(item)

    async def acknowledge(
        self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent, *, erase: bool
    ) -> None:
        """Record, once, that the client received the content. `erase`: also erase the content keys
        of the link.
        """
        acknowledged_at = f"links.{link_id}.claims.{claim_id}.acknowledged_at"
        sets = {
            acknowledged_at: event.at,
            **({f"links.{link_id}.wrapped_keys": {}} if erase else {}),
        }
        condition = Attr(acknowledged_at).attribute_type("NULL")
        await self._table.update(secret.id, event, condition, sets=sets)

    async def revoke_link(self, secret: Secret, link_id: str, event: SharingEvent) -> Secret:
        """Revoke an active link of an active secret, and erase its content keys."""
        link = f"links.{link_id}"
        item = await self._table.update(
            secret.id,
            event,
            _ACTIVE & _is_active(link_id),
            sets={f"{link}.state": LinkState.REVOKED, f"{link}.wrapped_keys": {}},
            adds={"revision": 1},
            pending_max=None,  # at most one event for each link
        )
        return _secret(item)

    async def end(
        self, secret: Secret, reason: EndReason, event: SharingEvent, *, unchanged: bool = False
    ) -> Secret:
        """Make all links of an active secret stop working and erase the content keys of the links.
        `unchanged`: only if the owner has not changed the secret in the meantime.
        """
        item = await self._table.update(
            secret.id,
            event,
            _ACTIVE & Attr("revision").eq(secret.revision) if unchanged else _ACTIVE,
            sets={
                "state": SecretState.ENDED,
                "ended_at": event.at,
                "end_reason": reason,
                **{f"links.{link_id}.wrapped_keys": {} for link_id in secret.links},
            },
            adds={"revision": 1},
            pending_max=None,
        )
        return _secret(item)

    async def replace(
        self, before: Secret, after: Secret, event: SharingEvent, *, fields: Sequence[str]
    ) -> Secret:
        """Replace fields of a secret, and the maximum uses and content keys of its links, if the
        revision is unchanged, the secret and the changed links are active, and no link has more
        uses than `after` allows.
        """
        content = builtins(after)
        sets = {field: content[field] for field in fields}
        condition = _ACTIVE & Attr("revision").eq(before.revision)
        for link_id, link in after.links.items():
            if link != before.links[link_id]:
                path = f"links.{link_id}"
                sets[f"{path}.uses_max"] = link.uses_max
                sets[f"{path}.wrapped_keys"] = link.wrapped_keys
                condition &= _is_active(link_id) & Attr(f"{path}.uses").lte(link.uses_max)
        item = await self._table.update(
            before.id, event, condition, sets=sets, adds={"revision": 1}
        )
        return _secret(item)

    async def record(self, secret_id: str, link_id: str, event: SharingEvent) -> None:
        """Store an event without any other change. Does nothing if the link does not exist."""
        await self._table.record(secret_id, event, Attr(f"links.{link_id}").exists())

    async def mark_purged(
        self, secret: Secret, event: SharingEvent, *, receipt: Mapping[str, str], delete_at: float
    ) -> Secret:
        """Record, once, that all object versions are deleted, and store the deletion receipt."""
        item = await self._table.update(
            secret.id,
            event,
            Attr("state").eq(SecretState.ENDED),
            sets={
                "state": SecretState.PURGED,
                "purged_at": event.at,
                "versions": [],
                "receipt": receipt,
                "delete_at": int(delete_at),
            },
            pending_max=None,
        )
        return _secret(item)


def secret_of(item: Item | None) -> Secret | None:
    """Return the secret in an item, or None for an item of another kind."""
    return None if item is None or "links" not in item else _secret(item)


def _secret(item: Item) -> Secret:
    secret = msgspec.convert(item, Secret)
    return msgspec.structs.replace(
        secret, links=dict(sorted(secret.links.items(), key=lambda entry: entry[1].position))
    )


def _is_active(link_id: str) -> ConditionBase:
    return Attr(f"links.{link_id}.state").eq(LinkState.ACTIVE)
