"""Registers Cores under names. Each registration is a lease that belongs to one key and has a URL
that the gateway calls.
"""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
from msgspec import UNSET, UnsetType

from gatehouse.core.actor import Actor
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import Clock, rfc3339
from gatehouse.core.cores import DEFAULT_INSTANCE, ECHO, LEASE_S_DEFAULT, CoreName, CoreRecord
from gatehouse.core.errors import (
    BadRequest,
    Conflict,
    CoreNotRegistered,
    NotFound,
    Problem,
    Unavailable,
)
from gatehouse.core.http.addresses import Network
from gatehouse.core.http.forwarding import CORE_NAME, CORE_NAME_FORM, flaw
from gatehouse.core.http.header_names import is_set_by_gateway
from gatehouse.core.http.origin import parse_base_url, rejection
from gatehouse.core.keys import KeyEnvironment, KeyId
from gatehouse.core.notation import base64url
from gatehouse.core.tokens.token import Pepper
from gatehouse.core.tokens.token_scanner import CORE_PREFIX
from gatehouse.features.cores.credentials import Credential
from gatehouse.features.cores.repository import CoreRegistry
from gatehouse.features.cores.schemas import URL_FIX, DrainCore, Lease, LeaseRequest
from gatehouse.platform.resolver import SystemResolver

#: Number of heartbeats per lease. Two heartbeats may be lost before the lease expires.
HEARTBEATS = 3


@dataclass(frozen=True, slots=True)
class RegistrationService:
    """Registers instances of Cores for their agents. The actor of each method is the key of the
    agent. All keys of a family can use the leases of the family.

    networks: private networks in which Cores are allowed, in addition to public addresses.
    """

    cores: CoreRegistry
    resolver: SystemResolver
    clock: Clock
    pepper: Pepper
    environment: KeyEnvironment
    networks: tuple[Network, ...]

    async def register(self, agent: Actor, name: str, request: LeaseRequest) -> Lease:
        """Creates a lease on an instance.

        The key that owns the lease can register the instance again at any time. Raises BadRequest,
        Conflict, Unavailable.
        """
        core_name, lease_s = self._name(name), request.ttl_s or LEASE_S_DEFAULT
        for field in ("credential_header", "identity_header"):
            if is_set_by_gateway((getattr(request.settings, field) or "").lower()):
                problem, fix = "is a header that the gateway sets", "use another"
                raise BadRequest(errors=(Problem(f"body.settings.{field}", problem, fix),))
        # The credential is for the URL and what is below it.
        if problem := flaw((request.settings.health_path or "").partition("?")[0].encode()):
            fix = "send the path that the Core serves"
            raise BadRequest(errors=(Problem("body.settings.health_path", problem, fix),))
        url = await self._checked_url(agent, request.url or "")
        now, instance_id = self.clock.now(), request.instance_id or DEFAULT_INSTANCE
        record = CoreRecord(
            name=core_name,
            instance_id=instance_id,
            url=url,
            environment=self.environment,
            lease_id=secrets.token_urlsafe(18),
            registered_by=KeyId(agent.id),
            pepper_generation=self.pepper.current,
            expires_at=now + lease_s,
            draining=False,
            version=0,
            lease_s=lease_s,
            settings=request.settings,
        )
        declared = msgspec.json.encode(request.settings).decode()
        event = agent.event(
            AuditAction.CORE_REGISTER,
            target_id=name,
            at=now,
            details={"instance_id": instance_id, "url": url, "settings": declared},
        )
        stored = await self.cores.register(record, now=now, event=event)
        secret = core_secret(self.pepper, stored)
        if secret is None:
            raise Unavailable(
                "The Core secret is temporarily unavailable.",
                detail="pepper generation is not available",
            )
        return _lease(stored, secret)

    async def renew(self, agent: Actor, name: str, lease_id: str, request: LeaseRequest) -> Lease:
        """Extends a lease, by its present duration if the request has none. A new URL takes effect
        immediately. Raises BadRequest, CoreDrained,
        Conflict if the key no longer has this lease, and Unavailable."""
        core_name, now = self._name(name), self.clock.now()
        new_url, event = "", None
        if request.url is not None:
            instances = self.cores.instances(core_name)
            known = next((core.url for core in instances if core.lease_id == lease_id), "")
            new_url = await self._checked_url(agent, request.url, known)
            if new_url != known:
                event = agent.event(
                    AuditAction.CORE_MOVE, target_id=name, at=now, details={"url": new_url}
                )
        key, lease_s = KeyId(agent.id), request.ttl_s
        stored = await self.cores.renew(
            core_name, lease_id, now=now, lease_s=lease_s, url=new_url, key=key, event=event
        )
        if stored is None:
            raise _lost(name)
        return _lease(stored)

    async def drain(self, agent: Actor, name: str, request: DrainCore) -> None:
        """Marks the instance of a lease as draining. The instance receives no new requests. Raises
        BadRequest, Conflict, Unavailable."""
        now = self.clock.now()
        event = agent.event(AuditAction.CORE_DRAIN, target_id=name, at=now, details={})
        until = now + request.drain_s
        if not await self.cores.drain(
            self._name(name), request.lease_id, until=until, key=KeyId(agent.id), event=event
        ):
            raise _lost(name)

    def _name(self, name: str) -> CoreName:
        if CORE_NAME.fullmatch(name) is None:
            raise BadRequest(errors=(Problem("path.name", f"must be {CORE_NAME_FORM}"),))
        if name == ECHO:
            problem = "is the name of the Core that the gateway serves itself"
            raise BadRequest(errors=(Problem("path.name", problem, "use another"),))
        return CoreName(name)

    async def _checked_url(self, agent: Actor, url: str, known: str = "") -> str:
        """The normalized URL. Checks its form and every address behind it, to prevent server-side
        request forgery (CWE-918). Raises BadRequest and Unavailable.

        known: URL that needs no lookup, so that heartbeats do not wait for those of others. Each
            connection is checked.
        """
        try:
            parsed = parse_base_url(url)
        except ValueError as exc:
            raise _bad_url(str(exc)) from None
        if parsed.url == known:
            return known
        addresses = await self.resolver.addresses(parsed.host, parsed.port)
        if addresses is None:
            raise Unavailable("The host name of the Core cannot be looked up. Try again later.")
        candidates = [ipaddress.ip_address(address) for address in addresses]
        error = rejection(candidates, self.networks)
        if error:
            raise _bad_url(error)
        return parsed.url


def core_secret(pepper: Pepper, core: CoreRecord) -> str | None:
    """Secret with which the gateway authenticates to a Core. The secret is derived from the lease
    and is not stored.

    None if the pepper generation of the registration is no longer available. The Core must then
    register again.
    """
    return _core_secret(pepper, core.name, core.lease_id, core.pepper_generation)


@lru_cache(maxsize=256)
def _core_secret(pepper: Pepper, name: str, lease_id: str, generation: int) -> str | None:
    digest = pepper.digest(f"core:{name}:{lease_id}", generation)
    return None if digest is None else CORE_PREFIX + base64url(digest)


def credential_headers(
    pepper: Pepper, core: CoreRecord, credential: Credential | None
) -> list[tuple[str, str]]:
    """Headers with the secret of a Core and with its credential, if it has one. Raises
    CoreNotRegistered if the Core must register again, and Unavailable."""
    secret = core_secret(pepper, core)
    if secret is None:
        raise CoreNotRegistered
    header = core.settings.credential_header
    if credential is not None and header is not None:
        return [("gatehouse-core-secret", secret), (header.lower(), credential.value_for(core))]
    if core.settings.forward_authorization:
        return [("gatehouse-core-secret", secret)]
    return [("authorization", f"Bearer {secret}")]


def live_instances(
    registered: Sequence[CoreRecord], environment: KeyEnvironment, pepper: Pepper, *, now: float
) -> list[CoreRecord]:
    """The instances of a Core that can receive a request. `registered`: all instances with the
    requested name. Raises NotFound, CoreNotRegistered."""
    generations = pepper.generations
    live = [
        core
        for core in registered
        if core.environment is environment
        and core.is_live(now)
        and core.pepper_generation in generations
    ]
    if live:
        return live
    if any(core.environment is environment for core in registered):
        raise CoreNotRegistered
    raise NotFound("No Core has this name.")


def _lease(core: CoreRecord, secret: str | UnsetType = UNSET) -> Lease:
    heartbeat_s = max(1, core.lease_s // HEARTBEATS)
    return Lease(
        core.name,
        core.instance_id,
        core.url,
        core.lease_id,
        rfc3339(core.expires_at),
        heartbeat_s,
        secret,
    )


def _bad_url(message: str) -> BadRequest:
    return BadRequest(errors=(Problem("body.url", message, URL_FIX),))


def _lost(name: str) -> Conflict:
    return Conflict(f"The lease on the name {name} is no longer valid; register again.")
