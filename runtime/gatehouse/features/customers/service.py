"""Creates, changes, disables, deletes and purges customers, and manages plans.

A change of a customer or a plan reaches the gateways as a change of a key does: the service waits
until every live gateway worker has confirmed the change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, Protocol, Self, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details, change_details, detail
from gatehouse.core.customers import Customer, NamedLimit, Plan
from gatehouse.core.errors import BadRequest, Conflict, NotFound, PreconditionFailed, Problem
from gatehouse.core.keys import CustomerState, KeyState
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import Role
from gatehouse.features.customers.repository import (
    CustomerChange,
    CustomerRepository,
    Found,
    LimitRepository,
    NamedRepository,
    PlanRepository,
)
from gatehouse.features.customers.schemas import CreateCustomer, fields_of
from gatehouse.features.keys.fields import Effective
from gatehouse.features.keys.schemas import KeyFilter
from gatehouse.features.keys.service import KeyService
from gatehouse.platform.db.pool import Pool

T = TypeVar("T")

#: Maximum number of keys that a purge erases in a request, each of which waits for the gateways.
PURGED_KEYS_MAX = 100

#: Fields of which the audit trail, which cannot be erased, records that they changed, but not their
#: values: free text and personal data.
_FREE_TEXT = frozenset({"name", "contact", "metadata", "notes"})


class CustomerAction(StrEnum):
    """Actions on a customer. The value is the second part of the audit action."""

    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"
    RESTORE = "restore"

    @property
    def audit_action(self) -> AuditAction:
        return AuditAction(f"customer.{self}")


_ACTIVE, _DISABLED, _DELETED = CustomerState.ACTIVE, CustomerState.DISABLED, CustomerState.DELETED

#: (action, state) -> next state. A repeated action changes nothing.
_NEXT: Mapping[tuple[CustomerAction, CustomerState], CustomerState] = {
    (CustomerAction.DISABLE, _ACTIVE): _DISABLED,
    (CustomerAction.DISABLE, _DISABLED): _DISABLED,
    (CustomerAction.ENABLE, _DISABLED): _ACTIVE,
    (CustomerAction.ENABLE, _ACTIVE): _ACTIVE,
    (CustomerAction.DELETE, _ACTIVE): _DELETED,
    (CustomerAction.DELETE, _DISABLED): _DELETED,
    (CustomerAction.DELETE, _DELETED): _DELETED,
}


class ChangedCustomer(msgspec.Struct, frozen=True):
    found: Found
    effective: Effective


@dataclass(frozen=True, slots=True)
class CustomerService:
    """Manages customers. keys: manages their keys."""

    store: CustomerRepository
    keys: KeyService

    async def get(self, customer_id: str) -> Found:
        found = await self.store.get(customer_id)
        if found is None:
            raise no_customer()
        return found

    async def create(self, new: CreateCustomer, actor: Actor) -> Found:
        """Raises Conflict if the ID exists, and BadRequest if the plan does not."""
        await self.keys.check_contact(new.contact)
        now, settings = self.keys.clock.now(), fields_of(new)
        has_credits = new.credits is not None
        customer = Customer(
            **{**settings, "name": new.name or new.id},
            state=_ACTIVE,
            has_credits=has_credits,
            inherits_credits=not has_credits,
            version=1,
            created_at=now,
            created_by=actor.label,
        )
        details = _details(settings)
        del details["id"]
        event = actor.event(AuditAction.CUSTOMER_CREATE, target_id=new.id, at=now, details=details)
        return await self.store.add(customer, event)

    async def update(
        self, customer_id: str, changes: Mapping[str, Any], actor: Actor, *, version: int | None
    ) -> ChangedCustomer:
        """Changes fields of a customer. version: the one that the caller read, or None for any.
        Raises NotFound, PreconditionFailed, and BadRequest if the plan does not exist.
        """
        await self.keys.check_contact(changes.get("contact", ""))

        def work(customer: Customer) -> CustomerChange:
            check_version(version, customer.version, "customer")
            fields, credits = dict(changes), changes.get("credits", UNSET)
            fields.pop("credits", None)
            if credits is not UNSET:
                if credits is not None and credits.remaining is UNSET and customer.credits is None:
                    problem = Problem(
                        "body.credits", "changes a customer without credits", "send `remaining`"
                    )
                    raise BadRequest("The customer has no credits.", errors=(problem,))
                fields |= {"has_credits": credits is not None, "inherits_credits": credits is None}
            details = change_details(customer, changes, changes.keys() - _FREE_TEXT)
            event = actor.event(
                AuditAction.CUSTOMER_UPDATE,
                target_id=customer_id,
                at=self.keys.clock.now(),
                details=details,
            )
            return CustomerChange(replace(customer, **fields), event, credits)

        return await self._changed(customer_id, work)

    async def act(
        self, customer_id: str, action: CustomerAction, reason: str, actor: Actor
    ) -> ChangedCustomer:
        """Disables, enables, deletes or restores a customer. A repeated action changes nothing.
        Raises NotFound, and Conflict if the action is not possible.
        """
        now = self.keys.clock.now()

        def work(customer: Customer) -> CustomerChange | None:
            state = _NEXT.get((action, customer.state))
            if action is CustomerAction.RESTORE:
                state = customer.state_before
            if state is None:
                raise Conflict(f"The customer is {customer.state}, so this is not possible.")
            if state is customer.state:
                return None
            is_deleted = state is _DELETED
            changed = replace(
                customer,
                state=state,
                state_before=customer.state if is_deleted else None,
                deleted_at=now if is_deleted else None,
            )
            event = actor.event(
                action.audit_action, target_id=customer_id, at=now, details={"reason": reason}
            )
            return CustomerChange(changed, event)

        return await self._changed(customer_id, work)

    async def purge(
        self, customer_id: str, confirm: str, reason: str, actor: Actor, roles: frozenset[Role]
    ) -> tuple[int, int]:
        """Purges up to PURGED_KEYS_MAX keys of a deleted customer, and the customer itself if none
        is left. Returns the number of purged keys, and of those that are left. Raises BadRequest if
        `confirm` is not the ID, NotFound, and Conflict if the customer is not deleted.
        """
        if confirm != customer_id:
            fix = "repeat the ID: a purge cannot be undone"
            problem = Problem("body.confirm", "is not the ID of this customer", fix)
            raise BadRequest("The purge is not confirmed.", errors=(problem,))
        customer, _ = await self.get(customer_id)
        if customer.state is not _DELETED:
            raise Conflict(f"The customer is {customer.state}; delete it first.")
        only, purged = KeyFilter(customer=customer_id), 0
        keys, _ = await self.keys.store.page(after=None, size=PURGED_KEYS_MAX, only=only)
        for key in keys:
            if key.customer_id == customer_id and key.state is not KeyState.PURGED:
                if key.state in (KeyState.ACTIVE, KeyState.DISABLED):
                    await self.keys.act(key.id, Action.DELETE, reason, actor, roles)
                await self.keys.purge(key.id, key.id, reason, actor, roles)
                purged += 1
        event = actor.event(
            AuditAction.CUSTOMER_PURGE,
            target_id=customer_id,
            at=self.keys.clock.now(),
            details={"reason": reason},
        )
        if await self.store.remove(customer_id, event):
            if self.keys.forget is not None:
                await self.keys.forget(customer.subject)
            return purged, 0
        left, _ = await self.get(customer_id)
        return purged, left.keys

    async def _changed(
        self, customer_id: str, work: Callable[[Customer], CustomerChange | None]
    ) -> ChangedCustomer:
        written = await self.store.alter(customer_id, work)
        if written is None:
            raise no_customer()
        found, seq = written
        return ChangedCustomer(found, await self.keys.propagated(found[0], seq))


class _Named(Protocol):
    @property
    def version(self) -> int: ...


N = TypeVar("N", bound=_Named)


class ChangedObject(msgspec.Struct, Generic[N], frozen=True):
    value: N
    effective: Effective


@dataclass(frozen=True, slots=True)
class NamedService(Generic[N]):
    """Manages objects that have a unique name: plans, and limits for subjects without a key.

    actions: audit actions of a creation, an update and a deletion.
    """

    store: NamedRepository[Any]
    keys: KeyService
    kind: Callable[..., N]
    actions: tuple[AuditAction, AuditAction, AuditAction]

    async def get(self, name: str) -> N:
        value: N | None = await self.store.get(name)
        if value is None:
            raise self._missing()
        return value

    async def create(self, settings: Mapping[str, Any], actor: Actor) -> N:
        """Raises Conflict if the name exists."""
        now, name = self.keys.clock.now(), settings["name"]
        value = self.kind(**settings, version=0, created_at=now, created_by=actor.label)
        event = actor.event(self.actions[0], target_id=name, at=now, details=_details(settings))
        created: N = await self.store.add(value, event)
        return created

    async def update(
        self, name: str, changes: Mapping[str, Any], actor: Actor, *, version: int | None
    ) -> ChangedObject[N]:
        """Raises NotFound, PreconditionFailed, and BadRequest for changes that do not fit."""

        def work(value: Any) -> tuple[Any, AuditEvent]:
            check_version(version, value.version, self.store.noun)
            details = change_details(value, changes, changes.keys())
            event = actor.event(
                self.actions[1], target_id=name, at=self.keys.clock.now(), details=details
            )
            return checked_limit(replace(value, **changes)), event

        written = await self.store.alter(name, work)
        if written is None:
            raise self._missing()
        value, seq = written
        return ChangedObject(value, await self.keys.confirmed(seq))

    async def delete(self, name: str, actor: Actor) -> None:
        """Raises NotFound, and Conflict if the object is in use."""
        now = self.keys.clock.now()
        event = actor.event(self.actions[2], target_id=name, at=now, details={})
        if not await self.store.remove(name, event):
            raise self._missing()

    def _missing(self) -> NotFound:
        return NotFound(f"No {self.store.noun} has this name.")


class PlanService(NamedService[Plan]):
    """Manages plans."""

    store: PlanRepository

    @classmethod
    def of(cls, pool: Pool, keys: KeyService) -> Self:
        actions = AuditAction.PLAN_CREATE, AuditAction.PLAN_UPDATE, AuditAction.PLAN_DELETE
        return cls(PlanRepository(pool), keys, Plan, actions)


class LimitService(NamedService[NamedLimit]):
    """Manages limits for subjects without a key."""

    @classmethod
    def of(cls, pool: Pool, keys: KeyService) -> Self:
        actions = AuditAction.LIMIT_CREATE, AuditAction.LIMIT_UPDATE, AuditAction.LIMIT_DELETE
        return cls(LimitRepository(pool), keys, NamedLimit, actions)


def check_version(expected: int | None, version: int, noun: str) -> None:
    if expected is not None and expected != version:
        raise PreconditionFailed(
            f"The {noun} has changed and is at version {version}; read it again and retry."
        )


def no_customer() -> NotFound:
    return NotFound("No customer has this ID.")


def checked_limit(value: T) -> T:
    """Raises BadRequest if the burst of a limit is larger than its quota."""
    if isinstance(value, NamedLimit) and value.burst > value.quota:
        problem = Problem("body.burst", "is larger than quota", "send a smaller burst")
        raise BadRequest(errors=(problem,))
    return value


def _details(values: Mapping[str, Any]) -> Details:
    return {
        name: detail(value)
        for name, value in sorted(values.items())
        if name not in _FREE_TEXT and value is not None
    }
