"""What the console door is made of; `app.py` of the package fills it, the endpoints take from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from gatehouse.core.apikey import Pepper
from gatehouse.doors.asgi import ClientAddresses, Network
from gatehouse.doors.console.leak_door import LeakDoor
from gatehouse.flows.log_level import LevelDesk
from gatehouse.flows.session import Sessions
from gatehouse.observe import Observer
from gatehouse.store.ports import AuditTrail, Clock, Counters, Directory, KeyStore, Limits, Probes
from gatehouse.store.ports_checkpoint import Checkpoints, Signer
from gatehouse.store.ports_notice import Notices
from gatehouse.store.ports_people import People
from gatehouse.store.ports_replay import Replays
from gatehouse.store.ports_usage import UsageReports
from gatehouse.types import KeyEnvironment, Limit


@dataclass(frozen=True, slots=True)
class Parts:
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

    keys: KeyStore
    audit: AuditTrail
    cores: Directory
    usage: UsageReports
    checkpoints: Checkpoints
    notices: Notices
    clock: Clock
    pepper: Pepper
    cursor_pepper: Pepper
    bootstrap_token: str | None
    key_prefix: str
    key_environment: KeyEnvironment
    default_limit: Limit
    staleness_s: float
    body_max_bytes: int
    addresses: ClientAddresses
    probes: Probes
    observer: Observer
    random_bytes: Callable[[int], bytes]
    https: bool
    sessions: Sessions
    levels: LevelDesk
    origin: str = ""
    features_off: frozenset[str] = frozenset()
    helpers: Probes = ()
    limits: Limits | None = None
    counters: Counters | None = None
    signer: Signer | None = None
    webhook_networks: tuple[Network, ...] = ()
    people: People | None = None
    replays: Replays | None = None
    leaks: LeakDoor | None = None


def parts_of(request: Request) -> Parts:
    """FastAPI dependency: the parts of the door that serves the request."""
    parts: Parts = request.app.state.parts
    return parts
