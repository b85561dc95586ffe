"""Customers: who uses the API. Plans: the named settings that customers and keys follow. Pure.

The state, the shared limits and the shared credits of a customer apply to all of its keys. A plan
is followed by customers, and by keys without a customer. What they inherit changes with the plan;
values of their own override it.
"""

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from gatehouse.core.errors import BadRequest, Problem
from gatehouse.core.key_fields import INHERITABLE
from gatehouse.core.keys import (
    Credits,
    CustomerRecord,
    CustomerState,
    Key,
    KeyRecord,
    LimitRecord,
    PlanRecord,
    RateLimit,
    Refill,
)
from gatehouse.core.roles import manages, roles_of

#: Pattern of the ID of a customer: the one in the systems of the company. Also a constraint of the
#: table.
ID = r"[0-9A-Za-z]([0-9A-Za-z._:@-]{0,62}[0-9A-Za-z])?"
ID_FORM = "1 to 64 letters, digits and inner . _ : @ -, such as acme-corp"

_OTHERS = re.compile("[^0-9a-z]+")

AnyKey = TypeVar("AnyKey", bound=KeyRecord)

#: Scopes of keys for which neither the key nor its plan specifies scopes.
DEFAULT_SCOPES = ("cores:read",)

BOTH = "customer_id and plan are mutually exclusive: the key follows the plan of its customer"

#: Beginning of the names of shared limits in results, headers and counters. A limit of a key cannot
#: have such a name.
SHARED_PREFIX = "customer."


class Customer(CustomerRecord, frozen=True, kw_only=True):
    """A customer with all of its fields. `limits`: its own, without SHARED_PREFIX.

    inherits_credits: the refill of its credits is that of its plan.
    """

    contact: str = ""
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    notes: str = ""
    created_at: float
    created_by: str
    deleted_at: float | None = None
    state_before: CustomerState | None = None
    inherits_credits: bool = True
    # In other tables.
    credits: Credits | None = None
    keys: int = 0


class Plan(PlanRecord, frozen=True, kw_only=True):
    """A plan with all of its fields.

    credits: refill of the shared credits of each customer.
    """

    description: str = ""
    credits: Refill | None = None
    created_at: float
    created_by: str
    customers: int = 0
    keys: int = 0


def id_of(name: str) -> str:
    """ID of a customer that is known by its name only, always the same: the name if it can be an
    ID, otherwise its letters and digits and a part of its SHA-256 hash.
    """
    if re.fullmatch(ID, name):
        return name
    stem = _OTHERS.sub("-", "".join(map(_lower, name)))[:40]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".strip("-")


def _lower(letter: str) -> str:
    return letter.lower() if letter.isascii() else letter


class NamedLimit(LimitRecord, frozen=True, kw_only=True):
    """A rate limit for subjects that a caller names, with all of its fields."""

    description: str = ""
    created_at: float
    created_by: str


def resolve(record: AnyKey, customer: CustomerRecord | None, plan: PlanRecord | None) -> AnyKey:
    """The key with what it inherits. customer: of the key; None also if it was purged. plan: of the
    customer, or of a key without a customer.
    """
    if record.customer_id and customer is None:
        customer = CustomerRecord(
            record.customer_id, "", CustomerState.DELETED, None, None, has_credits=False, version=0
        )
    values: dict[str, Any] = {"customer": customer, "terms": plan}
    if "limits" in record.inherits:
        values["limits"] = (plan.limits if plan else None) or ()
    if "scopes" in record.inherits:
        scopes = plan.scopes if plan else None
        values["scopes"] = DEFAULT_SCOPES if scopes is None else scopes
    if customer is not None:
        values["shared_limits"] = counted_limits(customer, plan)
    return msgspec.structs.replace(record, **values)


def inherited_fields(key: Key) -> tuple[str, ...]:
    """The fields of a key whose values are those of its plan, also the expiry."""
    if key.terms is None:
        return key.inherits
    if key.terms.ttl_s is None or key.expires_at is None:
        follows = key.terms.ttl_s == key.expires_at
    else:
        follows = abs(key.expires_at - key.created_at - key.terms.ttl_s) < 1
    return ("expires_at", *key.inherits) if follows else key.inherits


def check_customer(key: KeyRecord) -> None:
    """Raises BadRequest if a key of a customer grants a role: what ends with a customer must not be
    what manages it.
    """
    if key.customer_id is not None and (roles_of(key.scopes) or manages(key.scopes)):
        message = "is not possible for a key with a scope that grants a role"
        problem = Problem("body.customer_id", message, "send null, or scopes without a role")
        raise BadRequest("A key that grants a role has no customer.", errors=(problem,))


def shared_limits(customer: CustomerRecord, plan: PlanRecord | None) -> tuple[RateLimit, ...]:
    """The limits that the keys of a customer share: its own, or those of its plan."""
    if customer.limits is not None:
        return customer.limits
    return () if plan is None else plan.shared_limits


def counted_limits(customer: CustomerRecord, plan: PlanRecord | None) -> tuple[RateLimit, ...]:
    """`shared_limits` under the names of their counters."""
    return _prefixed(shared_limits(customer, plan))


def stored(key: AnyKey) -> AnyKey:
    """The reverse of `resolve`: the values in the row of the key."""
    return msgspec.structs.replace(key, **dict.fromkeys(key.inherits, ()))


def inheriting(
    settings: Mapping[str, Any], *, follows: bool, inherits: tuple[str, ...], default: RateLimit
) -> dict[str, Any]:
    """The settings of a creation or an update, in which None means a value of the plan. `inherits`:
    the fields that the key inherited before. follows: the key has a customer or a plan, without
    which None means the default, also for what it inherited before.
    """
    values, kept = dict(settings), [*inherits]
    for name in INHERITABLE:
        if name in values or (name in inherits and not follows):
            kept = [each for each in kept if each != name]
            if values.get(name) is None:
                values[name] = (default,) if name == "limits" else DEFAULT_SCOPES
                kept += [name] if follows else []
    return {**values, "inherits": tuple(sorted(kept))}


@lru_cache(maxsize=1_000)  # many customers have the same limits, of which there is one object
def _prefixed(limits: tuple[RateLimit, ...]) -> tuple[RateLimit, ...]:
    return tuple(
        [msgspec.structs.replace(each, name=f"{SHARED_PREFIX}{each.name}") for each in limits]
    )
