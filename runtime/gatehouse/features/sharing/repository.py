"""Stores secrets in DynamoDB. Each secret is one item that contains the links, the claims and the
unrecorded events.

Every change is one conditional update of one item, so DynamoDB resolves concurrent changes. Reads
are consistent. No decision depends on an index or on DynamoDB's TTL. The service compares the
expiry with the current time, and therefore denies expired items before DynamoDB deletes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gatehouse.core.errors import Conflict
from gatehouse.features.sharing.models import (
    Claim,
    EndReason,
    LinkState,
    Secret,
    SecretState,
    SharingEvent,
)
from gatehouse.features.sharing.table import (
    ConditionNotMet,
    Item,
    Table,
    Write,
    builtins,
    put_of,
)


class ConditionFailed(Exception):
    """The secret was not changed. `secret`: the current secret, or None if the secret does not
    exist.
    """

    def __init__(self, secret: Secret | None) -> None:
        super().__init__("the condition of the update is not met")
        self.secret = secret


class SecretRepository:
    """Reads and changes secrets. Methods raise Unavailable if DynamoDB cannot be reached."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def create(self, secret: Secret, event: SharingEvent) -> None:
        """Store a new secret. Raises Conflict if the ID already exists."""
        try:
            await self._table.put(builtins(secret), event)
        except ConditionNotMet:
            raise Conflict("A secret with this ID already exists.") from None

    async def get(self, secret_id: str) -> Secret | None:
        return secret_of(await self._table.get(secret_id))

    async def claim(
        self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent
    ) -> Secret:
        """Record one use of a link if a use is left. Called before anything is decrypted.

        Raises ConditionFailed. If this claim was already recorded, the `secret` in the exception
        contains the claim.
        """
        condition = (
            "#state = :active AND expires_at > :now AND links.#link.#state = :link_active AND "
            "links.#link.uses < links.#link.uses_max AND "
            "attribute_not_exists(links.#link.claims.#claim) AND versions[0].#number = :version"
        )
        return await self._update(
            secret.id,
            sets=(
                "links.#link.uses = links.#link.uses + :one",
                "links.#link.claims.#claim = :claim",
            ),
            condition=condition,
            names={"#state": "state", "#link": link_id, "#claim": claim_id, "#number": "number"},
            values={
                ":active": SecretState.ACTIVE,
                ":link_active": LinkState.ACTIVE,
                ":now": event.at,
                ":one": 1,
                ":claim": builtins(Claim(event.at)),
                ":version": secret.current.number,
            },
            event=event,
        )

    async def acknowledge(
        self, secret: Secret, link_id: str, claim_id: str, event: SharingEvent, *, erase: bool
    ) -> Secret:
        """Record that the client received the content. `erase`: also erase the content keys of the
        link.

        Raises ConditionFailed if the claim is unknown or already acknowledged.
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
        """Record the time at which a client first proved possession of a link.

        Raises ConditionFailed if the time is already recorded or the secret is no longer active.
        """
        return await self._update(
            secret.id,
            sets=("links.#link.opened_at = :now",),
            condition="attribute_type(links.#link.opened_at, :null) AND #state = :active",
            names={"#link": link_id, "#state": "state"},
            values={":now": event.at, ":null": "NULL", ":active": SecretState.ACTIVE},
            event=event,
        )

    async def count_failure(self, secret: Secret, link_id: str, event: SharingEvent) -> Secret:
        """Count an incorrect passphrase attempt. Raises ConditionFailed if the link is no longer
        active.
        """
        return await self._update(
            secret.id,
            sets=("links.#link.failures = links.#link.failures + :one",),
            condition="links.#link.#state = :link_active",
            names={"#link": link_id, "#state": "state"},
            values={":one": 1, ":link_active": LinkState.ACTIVE},
            event=event,
        )

    async def end_link(
        self, secret: Secret, link_id: str, state: LinkState, event: SharingEvent
    ) -> Secret:
        """Revoke or burn a link and erase its content keys. Raises ConditionFailed if the link or
        the secret is no longer active."""
        return await self._update(
            secret.id,
            sets=(
                "links.#link.#state = :state",
                "links.#link.wrapped_keys = :none",
                "revision = revision + :one",
            ),
            condition="links.#link.#state = :link_active AND #state = :active",
            names={"#link": link_id, "#state": "state"},
            values={
                ":state": state,
                ":link_active": LinkState.ACTIVE,
                ":none": {},
                ":active": SecretState.ACTIVE,
                ":one": 1,
            },
            event=event,
            pending_max=None,  # at most one event for each link
        )

    async def end(
        self, secret: Secret, reason: EndReason, event: SharingEvent, *, unchanged: bool = False
    ) -> Secret:
        """Make all links of an active secret stop working and erase the content keys of the links.

        Raises ConditionFailed if the secret is not active or, with `unchanged`, if the owner has
        changed the secret in the meantime.
        """
        names = {"#state": "state"}
        sets = [
            "#state = :ended",
            "ended_at = :now",
            "end_reason = :reason",
            "revision = revision + :one",
        ]
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
            condition, values[":revision"] = (
                f"{condition} AND revision = :revision",
                secret.revision,
            )
        return await self._update(
            secret.id,
            sets=sets,
            condition=condition,
            names=names,
            values=values,
            event=event,
            pending_max=None,
        )

    async def replace(
        self, before: Secret, after: Secret, event: SharingEvent, *, fields: Sequence[str]
    ) -> Secret:
        """Replace fields of a secret, and the maximum uses and content keys of its links, if the
        revision is unchanged.

        Raises ConditionFailed if the revision has changed, the secret or a changed link is no
        longer active, or a link has more uses than `after` allows.
        """
        names, values = (
            {"#state": "state"},
            {
                ":revision": before.revision,
                ":next": before.revision + 1,
                ":active": SecretState.ACTIVE,
            },
        )
        sets, conditions = ["revision = :next"], ["revision = :revision", "#state = :active"]
        content = builtins(after)
        for number, field in enumerate(fields):
            names[f"#field{number}"], values[f":field{number}"] = field, content[field]
            sets.append(f"#field{number} = :field{number}")
        for number, (link_id, link) in enumerate(after.links.items()):
            if link == before.links[link_id]:
                continue
            path = f"links.#link{number}"
            names[f"#link{number}"] = link_id
            values |= {
                f":uses{number}": link.uses_max,
                f":keys{number}": link.wrapped_keys,
                ":link_active": LinkState.ACTIVE,
            }
            sets += [f"{path}.uses_max = :uses{number}", f"{path}.wrapped_keys = :keys{number}"]
            conditions += [f"{path}.uses <= :uses{number}", f"{path}.#state = :link_active"]
        return await self._update(
            before.id,
            sets=sets,
            condition=" AND ".join(conditions),
            names=names,
            values=values,
            event=event,
        )

    async def record(self, secret_id: str, link_id: str, event: SharingEvent) -> None:
        """Store an event without any other change. Does nothing if the link does not exist."""
        names = {"#link": link_id}
        await self._table.record(
            secret_id, condition="attribute_exists(links.#link)", names=names, event=event
        )

    async def mark_purged(
        self, secret: Secret, event: SharingEvent, *, receipt: Mapping[str, Any], delete_at: float
    ) -> Secret:
        """Record that all object versions are deleted, and store the deletion receipt. Raises
        ConditionFailed if the deletion is already recorded."""
        return await self._update(
            secret.id,
            sets=(
                "#state = :purged",
                "purged_at = :now",
                "versions = :empty",
                "receipt = :receipt",
                "delete_at = :delete_at",
            ),
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
            pending_max=None,
        )

    async def receipt(self, secret_id: str) -> dict[str, str] | None:
        """Return the deletion receipt of a purged secret, or None."""
        item = await self._table.get(secret_id)
        receipt: dict[str, str] | None = None if item is None else item.get("receipt")
        return receipt

    async def of_owner(self, owner: str, *, after: str, size: int) -> tuple[list[Secret], str]:
        """Return the secrets of an owner after a position, newest first, and the last position. See
        `Table.of_owner`.
        """
        items, position = await self._table.of_owner(owner, after=after, size=size)
        return [secret for item in items if (secret := secret_of(item)) is not None], position

    async def _update(self, secret_id: str, **changes: Any) -> Secret:
        """Update an item and append an event in the same write. The arguments are those of
        `Table.update`. Raises ConditionFailed.
        """
        try:
            return _secret(await self._table.update(secret_id, **changes))
        except ConditionNotMet as failed:
            raise ConditionFailed(secret_of(failed.item)) from None


def secret_of(item: Item | None) -> Secret | None:
    """Return the secret in an item, or None for an item of another kind."""
    return None if item is None or "links" not in item else _secret(item)


def _secret(item: Item) -> Secret:
    secret = msgspec.convert(item, Secret)
    return msgspec.structs.replace(
        secret, links=dict(sorted(secret.links.items(), key=lambda entry: entry[1].position))
    )


def new_secret(secret: Secret, event: SharingEvent) -> Write:
    """Return the parameters of the write that creates a secret."""
    return put_of(builtins(secret), event)
