"""Creates, changes, rotates, revokes, deletes and purges keys.

`KeyService.transition` performs every action on an existing key, except a revocation by the holder
of the token (verification/self_revocation.py). The method checks the life cycle, writes the key and
the audit event in one transaction, and waits until the gateways have confirmed the change.
"""

import math
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from gatehouse.core import customers, lifecycle
from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction, AuditEvent, Details
from gatehouse.core.clock import Clock
from gatehouse.core.errors import BadRequest, Conflict, PreconditionFailed, Problem, Unavailable
from gatehouse.core.key_fields import INHERITABLE
from gatehouse.core.keys import (
    OWN_SCHEME,
    CustomerRecord,
    Key,
    KeyChange,
    KeyEnvironment,
    KeyFields,
    KeyId,
    KeyState,
    LockedKey,
    RateLimit,
    can_manage_keys,
    no_key,
)
from gatehouse.core.lifecycle import Action
from gatehouse.core.roles import OWNERS, Role, check, check_reach
from gatehouse.core.tokens.token import ParsedToken, Pepper, build, key_id
from gatehouse.core.tokens.token_scanner import redacted
from gatehouse.features.keys.changes_in_valkey import Announcements
from gatehouse.features.keys.fields import Effective
from gatehouse.features.keys.repository import REVOKE_TIMEOUT_S, KeyRepository, unknown_customer
from gatehouse.features.keys.schemas import CreateKey, KeyFilter, settings_of
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.settings import Settings
from gatehouse.platform.web.validation import invalid

#: IDs contain 47 random bits. Two collisions in a row mean that the source of randomness is
#: defective.
_ID_ATTEMPTS = 2
_ID_BYTES = 12
_SECRET_BYTES = 32

#: Actions that are rejected on the last key that can manage keys.
#: Revocation is always possible, because it must always be possible to end a leaked credential.
_GUARDED = frozenset({Action.UPDATE, Action.DISABLE, Action.DELETE})
_LAST_ADMIN = (
    "No other key that can manage keys is valid long enough; create another such key "
    "first, or revoke this key"
)


class Created(msgspec.Struct, frozen=True):
    issued: dict[str, str]  # `token`, or `link` to the token; shown once and not stored
    key: Key

    def __repr__(self) -> str:
        return f"Created({self.key.id})"


class Changed(msgspec.Struct, frozen=True):
    key: Key
    effective: Effective


class Rotated(msgspec.Struct, frozen=True):
    issued: dict[str, str]  # as in Created, for the new key
    key: Key
    previous: Key
    effective: Effective

    def __repr__(self) -> str:
        return f"Rotated({self.previous.id} -> {self.key.id})"


#: (text, label, owner, actor) -> link that shows the text once, which is revoked if the body of the
#: `async with` statement raises an exception. Raises RateLimited, Unavailable.
Deliver = Callable[[str, str, str, Actor], AbstractAsyncContextManager[str]]

#: (key, next state, now) -> change. A pure function, except that it may raise an error.
Change = Callable[[Key, KeyState, float], KeyChange]


@dataclass(frozen=True, slots=True)
class KeyService:
    """Creates and manages API keys.

    pepper: secret under which tokens are stored.
    prefix: prefix of this deployment's tokens.
    confirmation_timeout_s: maximum time that a change waits for confirmation by the gateways.
    environment, default_limit: of keys for which the request specifies none.
    contact_problem: reason why a contact cannot receive notifications, or an empty string.
    deliver: creates links to tokens. None if secret sharing is not configured.
    announcements: of changes that gateways cannot read in the database. None without Redis.
    forget: removes the rate-limit counters of a key family. None if each gateway worker counts
        separately.
    customer_id: the service manages only keys of this customer. None: all keys.
    keys_max: maximum number of usable keys of the customer. None: not limited.
    """

    store: KeyRepository
    clock: Clock
    pepper: Pepper
    prefix: str
    confirmation_timeout_s: float
    environment: KeyEnvironment
    default_limit: RateLimit
    contact_problem: Callable[[str], Awaitable[str]] | None = None
    deliver: Deliver | None = None
    announcements: Announcements | None = None
    forget: Callable[[str], Awaitable[bool]] | None = None
    customer_id: str | None = None
    keys_max: int | None = None

    @classmethod
    def of(
        cls, settings: Settings, pool: Pool, clock: Clock, pepper: Pepper, **fields: Any
    ) -> Self:
        """The service of a deployment. fields: other fields of the class."""
        staleness_s = settings.max_staleness_ms / 1000
        return cls(
            store=KeyRepository(
                pool, staleness_s=staleness_s, outage_s=settings.announced_outage_s
            ),
            clock=clock,
            pepper=pepper,
            prefix=settings.key_prefix,
            confirmation_timeout_s=staleness_s,
            environment=settings.key_environment,
            default_limit=settings.default_limit,
            **fields,
        )

    async def get(self, id: str) -> Key:
        key = await self.store.get(existing_id(id))
        if key is None:
            raise no_key()
        self._check_customer(key)
        return key

    def _check_customer(self, key: Key) -> None:
        """Raises NotFound for a key of another customer, as for an unknown key."""
        if self.customer_id is not None and key.customer_id != self.customer_id:
            raise no_key()

    async def create(self, new: CreateKey, actor: Actor, *, owner: str) -> Created:
        """Stores a new key with its audit event. `owner`: owner of a link to the token.

        The link is created before the key, so a key whose token nobody knows is never stored.
        Raises BadRequest if the expiry or the delivery is not possible, RateLimited if the owner
        has created too many links, and Unavailable.
        """
        self._check_delivery(new.delivery)
        await self.check_contact(new.contact)
        now, generation = self.clock.now(), await self.writable_generation()
        ttl_s = new.ttl_s
        if ttl_s is None and new.expires_at is None and (new.customer_id or new.plan):
            ttl_s = await self.store.plan_ttl_s(new.customer_id, new.plan)
        lifetime = {} if ttl_s is None else {"expires_at": now + ttl_s}
        created = _new_customer(new)
        for _ in range(_ID_ATTEMPTS):
            token, digest = self._new_token(
                KeyEnvironment(new.environment or self.environment), generation
            )
            key = self.new_key(
                new,
                now,
                id=token.id,
                digest=digest,
                pepper_generation=generation,
                created_by=actor.label,
                **lifetime,
            )
            lifecycle.check_expiry(key.expires_at, now)
            details = lifecycle.creation_details(key)
            event = actor.event(AuditAction.KEY_CREATE, target_id=key.id, at=now, details=details)
            try:
                async with self._issued(token, new.delivery, owner, actor) as issued:
                    self._check_customer(key)
                    key = await self.store.add(key, event, created, keys_max=self.keys_max)
            except Conflict:
                continue
            return Created(issued, key)
        raise Unavailable(
            "Key creation is temporarily unavailable.", detail="random key IDs collide"
        )

    def new_key(self, settings: msgspec.Struct, now: float, **fields: Any) -> Key:
        """A key with the settings of a creation or of an import, and the defaults for settings that
        are None. fields: other fields of the key.
        """
        chosen = settings_of(settings)
        inherited = {name: chosen.get(name) for name in INHERITABLE}
        follows = bool(chosen.get("customer_id") or chosen.get("plan"))
        values = {
            "environment": self.environment,
            "expires_at": None,
            "created_at": now,
            **{
                name: value
                for name, value in chosen.items()
                if name in Key.__struct_fields__ and value is not None
            },
            **customers.inheriting(
                inherited, follows=follows, inherits=(), default=self.default_limit
            ),
            "state": KeyState.ACTIVE,
            "version": 1,
            "family_id": fields["id"],
            "id_generation": fields["pepper_generation"],
            **fields,
        }
        key = Key(**values, has_credits="credits" in values)
        customers.check_customer(key)
        return key

    async def update(
        self,
        key_id: KeyId,
        patch: KeyFields,
        actor: Actor,
        *,
        version: int | None,
        roles: frozenset[Role],
    ) -> Changed:
        """Changes fields of a key. `version`: the version that the caller read, or None for any
        version.

        Raises PreconditionFailed if the key has changed since then, BadRequest if the expiry is not
        allowed, and the errors of `transition`.
        """
        await self.check_contact(patch.get("contact", ""))

        def change(key: Key, state: KeyState, now: float) -> KeyChange:
            if version is not None and version != key.version:
                raise PreconditionFailed(
                    f"The key has changed and is at version {key.version}; read it again and retry."
                )
            if "expires_at" in patch:
                lifecycle.check_rotated_expiry(key, patch["expires_at"], now)
            return lifecycle.patched(key, patch, self.default_limit)

        return await self.transition(key_id, Action.UPDATE, actor, change, roles)

    async def act(
        self, key_id: KeyId, action: Action, reason: str, actor: Actor, roles: frozenset[Role]
    ) -> Changed:
        """Disables, enables, revokes, deletes or restores a key. See `lifecycle.IDEMPOTENT`.

        Raises Conflict if the restore window has ended, and the errors of `transition`.
        """

        def change(key: Key, state: KeyState, now: float) -> KeyChange:
            return lifecycle.state_change(key, action, state, now, by=actor.label, reason=reason)

        return await self.transition(key_id, action, actor, change, roles)

    async def revoke(
        self, key_id: KeyId, reason: str, actor: Actor, roles: frozenset[Role]
    ) -> tuple[Key | None, Effective]:
        """Revokes a key, also while the database is not available: gateways then deny the key, and
        the result contains no key. Only an owner can do that, because the scopes of the key are not
        known. Raises the errors of `act`, and Unavailable, in which case nothing was revoked.
        """
        try:
            changed = await self.act(key_id, Action.REVOKE, reason, actor, roles)
        except Unavailable:
            if self.announcements is None:
                raise
            check(roles, OWNERS)
            event = actor.event(
                Action.REVOKE.audit_action,
                target_id=key_id,
                at=self.clock.now(),
                details={"reason": redacted(reason)},
            )
            return None, await self.announcements.announce_revocation(event)
        return changed.key, changed.effective

    async def rotate(
        self,
        key_id: KeyId,
        actor: Actor,
        *,
        roles: frozenset[Role],
        grace_s: int,
        reason: str = "",
        delivery: str = "token",
        owner: str = "",
    ) -> Rotated:
        """Creates the successor of a key. The old token stays valid until the grace period ends or
        the old key expires.

        An earlier grace period ends immediately, so at most two keys in a family are valid at a
        time. `delivery`, `owner`: see `create`. Raises Conflict if the key has expired or has
        already been rotated, BadRequest if the new expiry is not allowed, and the errors of
        `create` and `transition`.
        """
        self._check_delivery(delivery)
        generation = await self.writable_generation()
        rotated = await self.get(key_id)
        lifecycle.check_rotatable(rotated, self.clock.now())
        token, digest = self._new_token(rotated.environment, generation)
        created: list[Key] = []

        def change(key: Key, state: KeyState, now: float) -> KeyChange:
            lifecycle.check_rotatable(key, now)
            new_key = msgspec.structs.replace(
                lifecycle.successor(key, now, actor.label),
                id=token.id,
                digest=digest,
                pepper_generation=generation,
                scheme=OWN_SCHEME,
                id_generation=generation,
            )
            created.append(new_key)
            ends_at = min(now + grace_s, math.inf if key.expires_at is None else key.expires_at)
            previous = msgspec.structs.replace(
                key, expires_at=ends_at, successor_id=token.id, rotated_at=now
            )
            details: Details = {
                "reason": reason,
                "successor_id": token.id,
                "family_id": key.subject,
                "generation": new_key.generation,
                "grace_ends_at": ends_at,
                "expires_at": new_key.expires_at,
            }
            return KeyChange(previous, details, successor=new_key, others_end_at=now)

        async with self._issued(token, delivery, owner, actor) as issued:
            changed = await self.transition(key_id, Action.ROTATE, actor, change, roles)
        return Rotated(issued, created[-1], previous=changed.key, effective=changed.effective)

    async def purge(
        self, key_id: KeyId, confirm: str, reason: str, actor: Actor, roles: frozenset[Role]
    ) -> tuple[Changed, bool]:
        """Removes all data of a deleted or revoked key except its ID, which stays reserved. Audit
        events remain. Idempotent.

        `confirm` must repeat the ID. The second value is True if the rate-limit counters of the key
        family were removed, and False if another key in the family uses the counters, or if Redis
        is unavailable and the counters expire later. Raises BadRequest if `confirm` is not the ID,
        and the errors of `transition`.
        """
        if confirm != key_id:
            problem = Problem(
                "body.confirm",
                "is not the ID of this key",
                "repeat the ID: a purge cannot be undone",
            )
            raise BadRequest("The purge is not confirmed.", errors=(problem,))

        def change(key: Key, state: KeyState, now: float) -> KeyChange:
            details: Details = {
                "reason": reason,
                "family_id": key.subject,
                "generation": key.generation,
            }
            return KeyChange(lifecycle.tombstone(key, now), details)

        changed = await self.transition(key_id, Action.PURGE, actor, change, roles)
        subject = changed.key.subject
        remaining, _ = await self.store.page(after=None, size=1, only=KeyFilter(family_id=subject))
        return changed, self.forget is not None and not remaining and await self.forget(subject)

    async def transition(
        self, key_id: KeyId, action: Action, actor: Actor, change: Change, roles: frozenset[Role]
    ) -> Changed:
        """Performs `action` on a key and waits until the gateways have confirmed the change, at
        most `confirmation_timeout_s`. `roles`: of the caller.

        A repeated idempotent action returns the key unchanged. Raises NotFound, Forbidden if the
        roles do not reach the scopes that the locked key has, Conflict if the
        action is not possible in the current state or if the key is the last key that can manage
        keys, Unavailable, and the errors of `change`.
        """
        now = self.clock.now()

        def update(locked: LockedKey) -> tuple[KeyChange, AuditEvent] | None:
            key = locked.key
            self._check_customer(key)
            check_reach(roles, key.scopes)
            if lifecycle.is_repeat(key.state, action):
                return None
            state = lifecycle.next_state(key.state, action, key.state_before)
            if state is None:
                raise Conflict(lifecycle.rejection(key.state, action))
            changed = change(key, state, now)
            if action in _GUARDED and locked.is_last_admin and not _keeps_admin(key, changed.key):
                raise Conflict(_LAST_ADMIN)
            event = actor.event(
                action.audit_action, target_id=key_id, at=now, details=changed.details
            )
            return changed, event

        deadline_s = REVOKE_TIMEOUT_S if action is Action.REVOKE else None
        written = await self.store.alter(key_id, update, deadline_s=deadline_s)
        if written is None:
            raise no_key()
        key, change_seq = written
        # The rotation of a key also ends others of its family, which are not announced.
        if action is Action.ROTATE:
            return Changed(key, await self.confirmed(change_seq))
        return Changed(key, await self.propagated(key, change_seq))

    async def confirmed(self, change_seq: int) -> Effective:
        """Waits until every live gateway worker has confirmed a change, at most
        `confirmation_timeout_s`.
        """
        return await self.store.effective(change_seq, timeout_s=self.confirmation_timeout_s)

    async def propagated(self, changed: Key | CustomerRecord, change_seq: int) -> Effective:
        """As `confirmed`. Announces a change that is not confirmed."""
        effective = await self.confirmed(change_seq)
        if self.announcements is not None:
            effective = await self.announcements.announce(changed, effective)
        return effective

    async def writable_generation(self) -> int:
        """The newest pepper generation that every live gateway can read. During a rollout, this is
        the previous generation.

        Raises Unavailable.
        """
        available = [
            generation
            for generation in self.pepper.generations
            if generation <= self.pepper.current
        ]
        return await self.store.writable_generation(available) or self.pepper.current

    def _check_delivery(self, delivery: str) -> None:
        """Raises BadRequest if the token is to be delivered as a link and secret sharing is not
        configured.
        """
        if delivery == "link" and self.deliver is None:
            raise invalid(
                "body.delivery", "requires secret sharing, which is not configured", "send `token`"
            )

    async def check_creator(self, customer_id: str, creator: str) -> None:
        """Raises BadRequest, as for an unknown customer, if a key of another family has created the
        customer.
        """
        if await self.store.created_customer(customer_id, creator) is False:
            raise unknown_customer()

    async def check_contact(self, contact: str) -> None:
        """Raises BadRequest if the contact cannot receive notifications, and Unavailable."""
        if contact and self.contact_problem and (message := await self.contact_problem(contact)):
            fix = "send the ID of a webhook, an e-mail address that can receive e-mails, or nothing"
            raise invalid("body.contact", message, fix)

    @asynccontextmanager
    async def _issued(
        self, token: ParsedToken, delivery: str, owner: str, actor: Actor
    ) -> AsyncIterator[dict[str, str]]:
        """The token of a new key, or a link to it. The key is stored in the body of the statement,
        so the link is revoked if the key is not stored. Raises RateLimited, Unavailable.
        """
        if delivery != "link" or self.deliver is None:
            yield {"token": token.text}
            return
        async with self.deliver(token.text, f"API key {token.id}", owner, actor) as link:
            yield {"link": link}

    def _new_token(self, environment: KeyEnvironment, generation: int) -> tuple[ParsedToken, bytes]:
        token = build(
            self.prefix,
            environment,
            secrets.token_bytes(_ID_BYTES),
            secrets.token_bytes(_SECRET_BYTES),
            pepper=self.pepper,
            generation=generation,
        )
        return token, self.pepper.hmac(token.text, generation)


def existing_id(text: str) -> KeyId:
    """Raises NotFound if the text cannot be a key ID. The error is the same as for an ID that does
    not exist.
    """
    id = key_id(text)
    if id is None:
        raise no_key()
    return id


def _keeps_admin(key: Key, changed: Key) -> bool:
    """True if the changed key can manage keys for as long as the original key could."""
    ends_at = math.inf if key.expires_at is None else key.expires_at
    return can_manage_keys(changed) and (changed.expires_at or math.inf) >= ends_at


def _new_customer(new: CreateKey) -> dict[str, str]:
    """The name of the customer that is created with the key, by its ID. Raises BadRequest."""
    id = new.customer_id if new.create_customer else None
    if id is None:
        return {}
    if re.fullmatch(customers.ID, id) is None:
        fix = f"send {customers.ID_FORM}"
        raise invalid("body.customer_id", "is not a possible ID of a new customer", fix)
    return {id: id}
