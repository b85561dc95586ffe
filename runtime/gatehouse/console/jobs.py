"""Background jobs of the console: checkpoints, notifications, and the deletion of old usage counters and expired rows."""

from __future__ import annotations

from pathlib import Path

from gatehouse.audit.checkpoint_archive import FileCheckpointArchive, S3CheckpointArchive
from gatehouse.audit.models import CheckpointArchive, Signer
from gatehouse.audit.repository import AuditRepository
from gatehouse.audit.service import Checkpointer
from gatehouse.aws.signing_key import KmsSigner, local_signer
from gatehouse.clock import Clock
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.cores.upstream import SystemResolver, UpstreamClients
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
from gatehouse.usage.repository import UsageReports

#: Interval of the check for a due checkpoint, which is one query of one row.
CHECKPOINT_INTERVAL_S = 5.0
PRUNE_INTERVAL_S = 3600.0
RESEAL_INTERVAL_S = 60.0
NOTIFICATION_INTERVAL_S = 1.0
REMIND_INTERVAL_S = 300.0
IDEMPOTENCY_INTERVAL_S = 600.0
LEGACY_FILES_INTERVAL_S = 5.0
_FILE = "file:"


def signer(settings: Settings) -> Signer | None:
    """Signer of checkpoints; None if checkpoints are disabled. Raises SettingsError if the file contains no key."""
    name = settings.checkpoint_key
    if not name:
        return None
    return local_signer(Path(name.removeprefix(_FILE))) if name.startswith(_FILE) else KmsSigner(name)


def maintenance_jobs(
    settings: Settings, pool: Pool, clock: Clock, observer: Observer, signer: Signer | None
) -> list[PeriodicJob]:
    usage, idempotency_store = UsageReports(pool), IdempotencyStore(pool)

    async def prune_usage() -> None:
        await usage.prune(now=clock.now())

    async def prune_idempotency_keys() -> None:
        await idempotency_store.prune(now=clock.now())

    jobs = [
        PeriodicJob("usage", PRUNE_INTERVAL_S, prune_usage),
        PeriodicJob("idempotency keys", IDEMPOTENCY_INTERVAL_S, prune_idempotency_keys),
    ]
    if signer is not None:
        jobs.append(PeriodicJob("checkpoint", CHECKPOINT_INTERVAL_S, _checkpoints(settings, pool, clock, observer, signer)))
    return jobs


def legacy_file_jobs(settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> list[PeriodicJob]:
    """Synchronization of the legacy files; none if no file is configured."""
    if not settings.legacy_files:
        return []
    files = LegacyFileSync(RemovalRepository(pool), settings.legacy_files, clock, pepper)
    return [PeriodicJob("old files", LEGACY_FILES_INTERVAL_S, files.run_once)]


def identity_provider(settings: Settings, clock: Clock) -> IdentityProvider | None:
    if not settings.oidc_issuer:
        return None
    roles = {name: Role(role) for name, role in settings.oidc_roles}
    issuer = Issuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_claim, roles)
    return OidcIdentityProvider(issuer, clock)


def notification_jobs(settings: Settings, pool: Pool, clock: Clock, pepper: Pepper) -> list[PeriodicJob]:
    sender = WebhookSender(UpstreamClients(SystemResolver(), settings.webhook_networks, read_timeout_s=TIMEOUT_S))
    topic = SnsTopic(settings.notification_topic) if settings.notification_topic else None
    dispatcher = NotificationDispatcher(NotificationRepository(pool), sender, topic, clock, pepper)
    return [
        PeriodicJob("notices", NOTIFICATION_INTERVAL_S, dispatcher.run_once),
        PeriodicJob("reminders", REMIND_INTERVAL_S, dispatcher.remind),
    ]


class _CheckpointJob:
    def __init__(self, checkpointer: Checkpointer, observer: Observer) -> None:
        self._checkpointer = checkpointer
        self._observer = observer

    async def __call__(self) -> None:
        checkpoint = await self._checkpointer.run_once()
        if checkpoint is not None:
            self._observer.metrics.checkpoint.set(checkpoint.taken_at)
            self._observer.log.info("checkpoint", service=self._observer.service, seq=checkpoint.seq)


def _checkpoints(settings: Settings, pool: Pool, clock: Clock, observer: Observer, signer: Signer) -> _CheckpointJob:
    def on_broken(seq: int) -> None:
        observer.metrics.audit_chain_broken.inc()
        observer.log.error("audit trail broken", service=observer.service, seq=seq, fix="run gatehouse audit verify")

    checkpointer = Checkpointer(
        AuditRepository(pool),
        signer,
        _archive(settings.checkpoint_archive),
        clock,
        rows=settings.checkpoint_interval_events,
        seconds=settings.checkpoint_interval_s,
        on_broken=on_broken,
    )
    return _CheckpointJob(checkpointer, observer)


def _archive(location: str) -> CheckpointArchive:
    if location.startswith(_FILE):
        return FileCheckpointArchive(Path(location.removeprefix(_FILE)))
    bucket, _, prefix = location.removeprefix("s3://").partition("/")
    return S3CheckpointArchive(bucket, prefix)
