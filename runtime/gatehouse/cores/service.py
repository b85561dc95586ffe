"""Cores register, renew and leave: a lease on a name, held by one key, at an address that the gateway may fetch from."""

from __future__ import annotations

import base64
import ipaddress
import secrets
from dataclasses import dataclass

import msgspec

from gatehouse.audit.models import AuditEvent
from gatehouse.clock import Clock
from gatehouse.cores.models import CoreName, CoreRecord, Cores, Resolver
from gatehouse.cores.origins import Network, Origin, parse_origin, refusal
from gatehouse.crypto.token import Pepper
from gatehouse.errors import BadRequest, Conflict, Problem, Unavailable
from gatehouse.http.paths import CORE_NAME
from gatehouse.keys.models import KeyEnvironment, KeyRecord

LEASE_S_MIN = 5


LEASE_S_DEFAULT = 60


#: Heartbeats a lease: two may be lost before it runs out.
HEARTBEATS = 3


Details = dict[str, str | int | float | bool | list[str] | None]


class Lease(msgspec.Struct, frozen=True):
    """A granted or renewed lease. `core_secret` is None on a renewal: the agent got it when it registered."""

    core: CoreRecord
    core_secret: str | None
    heartbeat_s: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, for the audit trail."""

    key: KeyRecord
    request_id: str
    source_address: str


@dataclass(frozen=True, slots=True)
class RegistrationService:
    """networks: private networks in which a Core may be; public addresses always may. core_lease_max_s: longest lease."""

    cores: Cores
    resolver: Resolver
    clock: Clock
    pepper: Pepper
    environment: KeyEnvironment
    networks: tuple[Network, ...]
    core_lease_max_s: int

    async def register(self, caller: Caller, name: str, url: str, ttl_s: int | None) -> Lease:
        """A new lease; the same key takes over its own name at once. Raises BadRequest, Conflict, Unavailable."""
        core_name, lease_s = self._name(name), self._lease_s(ttl_s)
        origin = await self._origin(url)
        now = self.clock.now()
        record = CoreRecord(
            name=core_name,
            url=origin.url,
            environment=self.environment,
            lease_id=secrets.token_urlsafe(18),
            registered_by=caller.key.id,
            pepper_generation=self.pepper.current,
            expires_at=now + lease_s,
            draining=False,
            version=0,
        )
        stored = await self.cores.register(
            record, now=now, event=self._event(caller, "core.register", name, now, {"url": origin.url})
        )
        secret = core_secret(self.pepper, stored)
        if secret is None:
            raise Unavailable("The Core's secret cannot be made at the moment", detail="pepper generation is not held")
        return Lease(core=stored, core_secret=secret, heartbeat_s=_heartbeat_s(lease_s))

    async def renew(self, caller: Caller, name: str, lease_id: str, url: str | None, ttl_s: int | None) -> Lease:
        """Extends a lease; a new `url` moves the Core at once. Raises BadRequest, Conflict (lease lost), Unavailable."""
        core_name, lease_s = self._name(name), self._lease_s(ttl_s)
        now = self.clock.now()
        target, event = "", None
        if url is not None:
            target, held = (await self._origin(url)).url, self.cores.find(core_name)
            if held is None or held.url != target:
                event = self._event(caller, "core.move", name, now, {"url": target})
        record = CoreRecord(
            name=core_name,
            url=target,
            environment=self.environment,
            lease_id=lease_id,
            registered_by=caller.key.id,
            pepper_generation=self.pepper.current,
            expires_at=now + lease_s,
            draining=False,
            version=0,
        )
        stored = await self.cores.renew(record, event=event)
        if stored is None:
            raise _lost(name)
        return Lease(core=stored, core_secret=None, heartbeat_s=_heartbeat_s(lease_s))

    async def drain(self, caller: Caller, name: str, lease_id: str) -> None:
        """The Core leaves: no request is sent to it any more. Raises BadRequest, Conflict, Unavailable."""
        event = self._event(caller, "core.drain", name, self.clock.now(), {})
        if not await self.cores.drain(self._name(name), lease_id, registered_by=caller.key.id, event=event):
            raise _lost(name)

    def _name(self, name: str) -> CoreName:
        if CORE_NAME.fullmatch(name) is None:
            raise BadRequest(
                errors=(
                    Problem(
                        location="path.name",
                        message="is no name of a Core",
                        fix="use 1 to 40 lower-case letters, digits and inner hyphens, such as docs",
                    ),
                )
            )
        return CoreName(name)

    def _lease_s(self, ttl_s: int | None) -> int:
        lease_s = min(LEASE_S_DEFAULT, self.core_lease_max_s) if ttl_s is None else ttl_s
        if not LEASE_S_MIN <= lease_s <= self.core_lease_max_s:
            raise BadRequest(
                errors=(
                    Problem(
                        location="body.ttl_s",
                        message=f"must be {LEASE_S_MIN} to {self.core_lease_max_s} seconds",
                        fix="send a shorter lease and renew it with heartbeats",
                    ),
                )
            )
        return lease_s

    async def _origin(self, url: str) -> Origin:
        """Checks a URL against server-side request forgery (CWE-918): its shape, and every address behind it."""
        origin = parse_origin(url)
        if isinstance(origin, str):
            raise _bad_url(origin)
        # The resolver has its own timeout; failure side: closed, the registration is refused.
        addresses = await self.resolver.addresses(origin.host, origin.port)
        wrong = refusal((ipaddress.ip_address(address) for address in addresses), self.networks)
        if wrong:
            raise _bad_url(wrong)
        return origin

    def _event(self, caller: Caller, action: str, name: str, now: float, details: Details) -> AuditEvent:
        return AuditEvent(
            occurred_at=now,
            actor_type="key",
            actor_id=caller.key.id,
            action=action,
            target_type="core",
            target_id=name,
            outcome="success",
            request_id=caller.request_id,
            source_address=caller.source_address,
            details=details,
        )


def core_secret(pepper: Pepper, core: CoreRecord) -> str | None:
    """What proves to a Core that a request comes from its gateway: derived from the lease, stored nowhere.

    None when the pepper generation of the registration is not held any more: the Core has to register anew.
    """
    digest = pepper.digest(f"core:{core.name}:{core.lease_id}", core.pepper_generation)
    return None if digest is None else base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _heartbeat_s(lease_s: int) -> int:
    return max(1, lease_s // HEARTBEATS)


def _bad_url(what: str) -> BadRequest:
    return BadRequest(
        errors=(
            Problem(
                location="body.url",
                message=what,
                fix="send the origin at which the gateway reaches the Core: https://host[:port]",
            ),
        )
    )


def _lost(name: str) -> Conflict:
    return Conflict(f"This lease on the name {name} is not held any more; register again")
