"""What a customer sees and does in the portal: its keys, limits, credits and usage."""

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from gatehouse.core import customers
from gatehouse.core.actor import Actor, RequestId
from gatehouse.core.customers import Customer
from gatehouse.core.errors import BadRequest, RateLimited, Unavailable
from gatehouse.core.keys import Credits, Key, KeyState, PlanRecord, RateLimit, no_key
from gatehouse.core.lifecycle import Action
from gatehouse.core.tokens import token_scanner
from gatehouse.core.verification import Charge, Code, RateLimitState
from gatehouse.features.customers.repository import Found
from gatehouse.features.keys.schemas import CreateKey, UpdateKey, settings_of
from gatehouse.features.keys.service import KeyService
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.web.fields import expected_version
from gatehouse.platform.web.validation import invalid, validate
from gatehouse.services.console.idempotency import IdempotencyGuard, StoredResponse
from gatehouse.services.console.portal.pages import date_of, end_of
from gatehouse.services.console.portal.repository import PortalSession
from gatehouse.services.console.portal.session import customer_actor

#: Maximum number of usable keys of a customer that can create another one.
KEYS_MAX = 50

#: Maximum number of keys that a page lists.
KEYS_LISTED_MAX = 200

#: Changes of a customer.
CHANGES = RateLimit("portal", quota=100, window_s=3600, burst=100)

#: Seconds after the creation of a token in which the same form shows it again.
SHOWN_S = 600

USAGE_DAYS = 14
_DAY_S = 86_400

#: No role: a customer cannot manage keys that grant one.
_ROLES: frozenset[Any] = frozenset()


class Issued(msgspec.Struct, frozen=True):
    """A new token. at: Unix seconds of its creation."""

    token: str
    key_id: str
    at: float

    def __repr__(self) -> str:
        return f"Issued({self.key_id})"


class UsageDay(msgspec.Struct, frozen=True):
    date: str
    allowed: int = 0
    denied: int = 0


@dataclass(frozen=True, slots=True)
class PortalService:
    keys: KeyService
    usage: UsageRepository
    limits: RateLimits
    guard: IdempotencyGuard

    def visit(
        self, session: PortalSession, found: Found, request_id: RequestId, address: str
    ) -> "Visit":
        """A request of a customer, who reaches only its own keys."""
        customer, plan = found
        keys = replace(self.keys, customer_id=customer.id, keys_max=KEYS_MAX)
        actor = customer_actor(customer.id, request_id, address)
        return Visit(self, session, customer, plan, keys, actor)


@dataclass(frozen=True, slots=True)
class Visit:
    """keys: raises NotFound for every key of another customer."""

    service: PortalService
    session: PortalSession
    customer: Customer
    plan: PlanRecord | None
    keys: KeyService
    actor: Actor

    async def all_keys(self) -> list[Key]:
        return await self.keys.store.of_customer(self.customer.id, KEYS_LISTED_MAX)

    async def key(self, key_id: str) -> Key:
        """Raises NotFound, also for a deleted key."""
        key = await self.keys.get(key_id)
        if key.state in (KeyState.DELETED, KeyState.PURGED):
            raise no_key()
        return key

    async def shared_limits(self) -> tuple[RateLimitState, ...]:
        limits = customers.counted_limits(self.customer, self.plan)
        return await self._states(Charge(self.customer.subject, limits, 0)) if limits else ()

    async def limits_of(self, key: Key) -> tuple[RateLimitState, ...]:
        limits = key.limits or (self.keys.default_limit,)
        return await self._states(Charge(key.subject, limits, 0))

    async def _states(self, charge: Charge) -> tuple[RateLimitState, ...]:
        """Without the number of units that are left if Redis is not available."""
        with suppress(Unavailable):
            return await self.service.limits.take(charge)
        return tuple(
            RateLimitState(limit, 0, 0.0, 0.0, exceeded=False, degraded=True)
            for limit in charge.limits
        )

    async def credits(self) -> Credits | None:
        return await self.keys.store.credits(self.customer.subject)

    async def usage(self, now: float) -> list[UsageDay]:
        """Requests of each of the last days, the newest first."""
        today = int(now // _DAY_S) * _DAY_S
        points = await self.service.usage.series(
            width_s=_DAY_S,
            since=today - (USAGE_DAYS - 1) * _DAY_S,
            until=today + _DAY_S,
            by=frozenset({"code"}),
            customer_id=self.customer.id,
        )
        days = [
            datetime.fromtimestamp(today - n * _DAY_S, UTC).date().isoformat()
            for n in range(USAGE_DAYS)
        ]
        counts = {date: [0, 0] for date in days}
        for point in points:
            counts[point.at[:10]][point.code != Code.VALID] += point.count
        return [UsageDay(date, *counts[date]) for date in days]

    async def latest_end(self, created_at: float) -> float | None:
        """The latest end of a key by the plan of the customer. None: not limited."""
        ttl_s = await self.keys.store.plan_ttl_s(self.customer.id, None)
        return None if ttl_s is None else created_at + ttl_s

    async def create(self, form: dict[str, str]) -> Issued:
        """Create a key that inherits the settings of the plan. Raises BadRequest, TooManyKeys, and
        the errors of `IdempotencyGuard.run`.
        """

        async def create() -> tuple[str, str]:
            now = self.keys.clock.now()
            values = {
                "name": form.get("name", "").strip(),
                "customer_id": self.customer.id,
                "addresses": _addresses(form),
            }
            if date := form.get("ends_at", ""):
                latest = await self.latest_end(now)
                values["expires_at"] = _end(date, latest)
            _reject_tokens(form)
            body = validate(values, CreateKey, "body")
            created = await self.keys.create(body, self.actor, owner=self.actor.label)
            return created.issued["token"], created.key.id

        return await self._issue("create", form, create)

    async def rotate(self, key_id: str, form: dict[str, str]) -> Issued:
        """Rotate a key. Raises NotFound, Conflict, and the errors of `create`."""
        key = await self.key(key_id)

        async def rotate() -> tuple[str, str]:
            if form.get("grace_s") not in ("0", "3600", "86400", "604800"):
                raise BadRequest
            rotated = await self.keys.rotate(
                key.id, self.actor, roles=_ROLES, grace_s=int(form["grace_s"])
            )
            return rotated.issued["token"], rotated.key.id

        return await self._issue(f"rotate {key.id}", form, rotate)

    async def update(self, key_id: str, form: dict[str, str]) -> None:
        """Change the name, the end and the addresses of a key. Raises NotFound, BadRequest,
        PreconditionFailed if the key has changed since the form was shown, and Conflict.
        """
        key, changes = await self.key(key_id), dict[str, Any]()
        if (name := form.get("name", "").strip()) != key.name:
            changes["name"] = name
        if (addresses := _addresses(form)) != list(key.addresses):
            changes["addresses"] = addresses
        if (date := form.get("ends_at", "")) != date_of(key.expires_at):
            latest = await self.latest_end(key.created_at)
            if not date and latest is not None:
                raise invalid("body.expires_at", "is missing", "send a date")
            changes["expires_at"] = _end(date, latest) if date else None
        if not changes:
            return
        _reject_tokens(form)
        patch = settings_of(validate(changes, UpdateKey, "body"))
        version = expected_version(f'"{form.get("version", "")}"')
        await self._count()
        await self.keys.update(key.id, patch, self.actor, version=version, roles=_ROLES)

    async def revoke(self, key_id: str) -> None:
        """Revoke a key. Idempotent. Raises NotFound."""
        key = await self.key(key_id)
        await self._count()
        await self.keys.act(key.id, Action.REVOKE, "", self.actor, _ROLES)

    async def _issue(
        self, operation: str, form: dict[str, str], work: Callable[[], Awaitable[tuple[str, str]]]
    ) -> Issued:
        """The result of `work`, once for each form: a form that is sent again, for example by a
        reload, receives the first result.
        """

        async def handle() -> StoredResponse:
            await self._count()
            token, key_id = await work()
            issued = Issued(token, key_id, self.keys.clock.now())
            return StoredResponse(201, [], msgspec.json.encode(issued), target_id=key_id)

        nonce = hashlib.sha256(form.get("form", "").encode()).hexdigest()
        values = {name: value for name, value in form.items() if name != "csrf"}
        fingerprint = msgspec.json.encode([operation, values], order="sorted")
        caller = f"portal:{self.session.id}"
        stored = await self.service.guard.run(
            caller, nonce, self.actor.request_id, fingerprint, handle
        )
        return msgspec.json.decode(stored.body, type=Issued)

    async def _count(self) -> None:
        """Count a change. Raises RateLimited."""
        charge = Charge(f"portal{self.customer.subject}", (CHANGES,), 1)
        [state] = await self.service.limits.take(charge)
        if state.exceeded:
            raise RateLimited(retry_after_s=int(state.retry_after_s) + 1)


def _addresses(form: dict[str, str]) -> list[str]:
    return form.get("addresses", "").replace(",", " ").split()


def _end(date: str, latest: float | None) -> str:
    """Expiry at the end of a day, as an RFC 3339 timestamp, or at the latest end on that day.
    Raises BadRequest.
    """
    try:
        end = end_of(date)
    except ValueError:
        raise invalid(
            "body.expires_at", "is not a date", "send a date such as 2031-01-31"
        ) from None
    if latest is not None and end > latest:
        if date != date_of(latest):
            raise invalid(
                "body.expires_at", "is later than the plan allows", "send an earlier date"
            )
        end = latest
    return datetime.fromtimestamp(end, UTC).isoformat()


def _reject_tokens(form: dict[str, str]) -> None:
    """Raise BadRequest if a text contains a token, which would be stored."""
    for name in ("name", "addresses"):
        if token_scanner.has_token(form.get(name, "")):
            raise invalid(f"body.{name}", "contains a token", "remove the token")
