"""Puts together what the console does by itself: checkpoints, notices, and taking old counts of use away."""

from __future__ import annotations

from pathlib import Path

from gatehouse.audit.checkpoint_archive import FileCheckpointArchive, S3CheckpointArchive
from gatehouse.audit.models import CheckpointArchive, Signer
from gatehouse.audit.repository import AuditRepository
from gatehouse.audit.service import Checkpointer
from gatehouse.aws.signing_key import KmsSigner, local_signer
from gatehouse.clock import Clock
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.cores.resolver import SystemResolver
from gatehouse.cores.upstream import UpstreamClients
from gatehouse.crypto.token import Pepper
from gatehouse.db.pool import Pool
from gatehouse.http.idempotency_store import IdempotencyStore
from gatehouse.identity.models import IdentityProvider, Role
from gatehouse.identity.oidc import Issuer, OidcIdentityProvider
from gatehouse.notifications.repository import NotificationRepository
from gatehouse.notifications.senders import TIMEOUT_S, SnsTopic, WebhookSender
from gatehouse.notifications.service import NotificationDispatcher
from gatehouse.observability import Observer
from gatehouse.settings import Settings
from gatehouse.transfer.legacy_file_sync import LegacyFileSync
from gatehouse.transfer.repository import RemovalRepository
from gatehouse.transfer.schemas import locators_of
from gatehouse.usage.repository import UsageReports

#: How often it is asked whether a checkpoint is due: one query of one row.
CHECKPOINT_TURN_S = 5.0


PRUNE_TURN_S = 3600.0


RESEAL_TURN_S = 60.0


NOTICE_TURN_S = 1.0


REMIND_TURN_S = 300.0


REPLAYS_TURN_S = 600.0


OLD_FILES_TURN_S = 5.0


_FILE = "file:"


def signer(settings: Settings) -> Signer | None:
    """Raises SettingsError when the file holds no key."""
    name = settings.checkpoint_key
    if not name:
        return None
    return local_signer(Path(name.removeprefix(_FILE))) if name.startswith(_FILE) else KmsSigner(name)


def chores(settings: Settings, pool: Pool, clock: Clock, observer: Observer, signing: Signer | None) -> list[PeriodicJob]:
    usage, replays = UsageReports(pool), IdempotencyStore(pool)

    async def prune() -> None:
        await usage.prune(now=clock.now())

    async def prune_replays() -> None:
        await replays.prune(now=clock.now())

    found = [PeriodicJob("usage", PRUNE_TURN_S, prune), PeriodicJob("idempotency keys", REPLAYS_TURN_S, prune_replays)]
    if signing is not None:
        found.append(PeriodicJob("checkpoint", CHECKPOINT_TURN_S, _checkpoints(settings, pool, clock, observer, signing)))
    return found


def legacy_files(settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> list[PeriodicJob]:
    """Keeps the files of an older deployment in step, while there are any."""
    if not settings.legacy_files:
        return []
    files = LegacyFileSync(RemovalRepository(pool), settings.legacy_files, clock, pepper, locators_of)
    return [PeriodicJob("old files", OLD_FILES_TURN_S, files.run_once)]


def people(settings: Settings, clock: Clock) -> IdentityProvider | None:
    if not settings.oidc_issuer:
        return None
    roles = {name: Role(role) for name, role in settings.oidc_roles}
    issuer = Issuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_claim, roles)
    return OidcIdentityProvider(issuer, clock)


def notices(settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> list[PeriodicJob]:
    sender = WebhookSender(UpstreamClients(SystemResolver(), settings.webhook_networks, read_timeout_s=TIMEOUT_S))
    topic = SnsTopic(settings.notification_topic) if settings.notification_topic else None
    notifier = NotificationDispatcher(NotificationRepository(pool), sender, topic, clock, pepper)
    return [PeriodicJob("notices", NOTICE_TURN_S, notifier.run_once), PeriodicJob("reminders", REMIND_TURN_S, notifier.remind)]


class _Turn:
    def __init__(self, checkpointer: Checkpointer, observer: Observer) -> None:
        self._checkpointer = checkpointer
        self._observer = observer

    async def __call__(self) -> None:
        taken = await self._checkpointer.run_once()
        if taken is not None:
            self._observer.metrics.checkpoint.set(taken.taken_at)
            self._observer.log.info("checkpoint", service=self._observer.service, seq=taken.seq)


def _checkpoints(settings: Settings, pool: Pool, clock: Clock, observer: Observer, signing: Signer) -> _Turn:
    def broken(seq: int) -> None:
        observer.metrics.audit_chain_broken.inc()
        observer.log.error("audit trail broken", service=observer.service, seq=seq, fix="run gatehouse audit verify")

    checkpointer = Checkpointer(
        AuditRepository(pool),
        signing,
        _vault(settings.checkpoint_archive),
        clock,
        rows=settings.checkpoint_interval_events,
        seconds=settings.checkpoint_interval_s,
        on_broken=broken,
    )
    return _Turn(checkpointer, observer)


def _vault(place: str) -> CheckpointArchive:
    if place.startswith(_FILE):
        return FileCheckpointArchive(Path(place.removeprefix(_FILE)))
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    return S3CheckpointArchive(bucket, prefix)
