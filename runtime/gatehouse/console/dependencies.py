"""What the console door is made of; `app.py` of the package fills it, the endpoints take from it.

What endpoints ask for in their signatures: the parts of the door and the one who calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from gatehouse.audit.models import Signer
from gatehouse.audit.repository import AuditRepository
from gatehouse.clock import Clock
from gatehouse.cores.repository import CoreRepository
from gatehouse.crypto.token import Pepper
from gatehouse.http.asgi import ClientAddresses, Network
from gatehouse.http.idempotency_store import IdempotencyStore
from gatehouse.http.models import Probes
from gatehouse.identity.models import Actor, IdentityProvider
from gatehouse.identity.service import Sessions
from gatehouse.keys.models import KeyEnvironment, RateLimit
from gatehouse.keys.repository import KeyRepository
from gatehouse.leaks.reporters import LeakReporters
from gatehouse.notifications.repository import NotificationRepository
from gatehouse.observability import Observer
from gatehouse.operations.service import LogLevelService
from gatehouse.usage.repository import UsageReports
from gatehouse.verification.models import RateLimits
from gatehouse.verification.redis_rate_limits import RedisRateLimits


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Stores and settings of one console.

    pepper: under which tokens are stored. cursor_pepper: the session key, under which page cursors are signed.
    bootstrap_token: the first admin credential; None when only keys with the scope `admin` are admitted.
    staleness_s: how long a gateway may work with what it knows; a revocation waits that long at most.
    addresses: who is behind X-Forwarded-For. random_bytes: `secrets.token_bytes`.
    https: the door's public address is https (HSTS is sent then).
    sessions: of browsers that signed in. origin: the console's own (https://console.example.com); empty: as the browser calls it.
    levels: the log level of all processes. features_off: names of core.features. helpers: it is ready without them, but says so.
    limits, counters: where the gateways count; None when each counts for itself.
    signer: who signs checkpoints; None when nobody does.
    webhook_networks: private networks in which webhooks may be. people: who may sign in with a JWT; None: nobody.
    replays: answers that are given again; None: an Idempotency-Key is read and of no effect.
    leaks: who may report keys that were found in public; None: nobody.
    """

    keys: KeyRepository
    audit: AuditRepository
    cores: CoreRepository
    usage: UsageReports
    notices: NotificationRepository
    clock: Clock
    pepper: Pepper
    cursor_pepper: Pepper
    bootstrap_token: str | None
    key_prefix: str
    key_environment: KeyEnvironment
    default_limit: RateLimit
    staleness_s: float
    body_max_bytes: int
    addresses: ClientAddresses
    probes: Probes
    observer: Observer
    random_bytes: Callable[[int], bytes]
    https: bool
    sessions: Sessions
    levels: LogLevelService
    origin: str = ""
    features_off: frozenset[str] = frozenset()
    helpers: Probes = ()
    limits: RateLimits | None = None
    counters: RedisRateLimits | None = None
    signer: Signer | None = None
    webhook_networks: tuple[Network, ...] = ()
    people: IdentityProvider | None = None
    replays: IdempotencyStore | None = None
    leaks: LeakReporters | None = None


def parts_of(request: Request) -> Dependencies:
    """FastAPI dependency: the parts of the door that serves the request."""
    parts: Dependencies = request.app.state.parts
    return parts


def actor_of(request: Request) -> Actor:
    """FastAPI dependency: whom AdminRoute let in."""
    actor: Actor = request.state.actor
    return actor


Door = Annotated[Dependencies, Depends(parts_of)]


Caller = Annotated[Actor, Depends(actor_of)]
