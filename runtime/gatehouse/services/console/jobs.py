"""The background jobs of the console."""

from contextlib import suppress

from gatehouse.core.clock import Clock
from gatehouse.core.errors import Unavailable
from gatehouse.core.tokens.token import Pepper
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import CheckpointArchive, Checkpointer
from gatehouse.features.keys.changes_in_valkey import COMMIT_S, Announcements
from gatehouse.features.keys.service import KeyService
from gatehouse.features.notifications.delivery import NotificationDispatcher
from gatehouse.features.notifications.reminders import remind, report_credits
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.features.secrets.worker import INTERVAL_S as SECRETS_INTERVAL_S
from gatehouse.features.secrets.worker import ORPHAN_INTERVAL_S, REPORT_INTERVAL_S, SecretWorker
from gatehouse.features.transfer.legacy_file_sync import LegacyFileSync
from gatehouse.features.transfer.repository import RemovalRepository
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import PUBLISH_S, Settings

#: Interval between checks for a due checkpoint. Each check queries one row.
CHECKPOINT_INTERVAL_S = 5.0
PRUNE_INTERVAL_S = 3600.0
NOTIFICATION_INTERVAL_S = 1.0
REMIND_INTERVAL_S = 300.0
CREDITS_INTERVAL_S = 60.0
IDEMPOTENCY_INTERVAL_S = 600.0
LEGACY_FILES_INTERVAL_S = 30.0


def checkpoint_jobs(
    settings: Settings, pool: Pool, observer: Observer, clock: Clock, signer: KmsSigner | None
) -> list[PeriodicJob]:
    """Return the job that creates checkpoints, or no job if checkpoints are disabled."""
    if signer is None:
        return []

    def on_broken(seq: int) -> None:
        observer.metrics.audit_chain_broken.inc()
        observer.log.error("audit trail broken", seq=seq, fix="run gatehouse audit verify")

    checkpointer = Checkpointer(
        AuditRepository(pool),
        signer,
        CheckpointArchive(settings.checkpoint_archive),
        clock,
        settings.checkpoint_interval_s,
        on_broken,
    )

    async def create_checkpoint() -> None:
        checkpoint = await checkpointer.run_once()
        if checkpoint is not None:
            observer.metrics.audit_checkpoint_timestamp_seconds.set(checkpoint.taken_at)
            observer.log.info("checkpoint", seq=checkpoint.seq)

    async def publish_delay() -> None:
        observer.publish({"CheckpointDelaySeconds": checkpointer.delay_s})

    return [
        PeriodicJob("checkpoint", CHECKPOINT_INTERVAL_S, create_checkpoint),
        PeriodicJob("checkpoint delay", PUBLISH_S, publish_delay),
    ]


def secret_jobs(
    sharing: Backend | None, pool: Pool, observer: Observer, signer: KmsSigner | None
) -> list[PeriodicJob]:
    """Return the jobs that record audit events for secrets, and delete the content of secrets
    that are no longer active, and orphaned objects.

    Returns no jobs if secret sharing is not configured.
    """
    if sharing is None:
        return []
    worker = SecretWorker(sharing, pool, signer, observer)
    events = SecretEventRepository(pool)
    return [
        PeriodicJob("secrets", SECRETS_INTERVAL_S, worker.run_once),
        PeriodicJob("due secrets", REPORT_INTERVAL_S, worker.report),
        PeriodicJob(
            "orphaned secrets", ORPHAN_INTERVAL_S, worker.remove_orphans, ends_entries=True
        ),
        PeriodicJob("recorded secret events", PRUNE_INTERVAL_S, events.prune),
    ]


def notification_jobs(
    settings: Settings, pool: Pool, clock: Clock, pepper: Pepper
) -> list[PeriodicJob]:
    dispatcher = NotificationDispatcher.of(settings, pool, clock, pepper)
    return [
        PeriodicJob("notifications", NOTIFICATION_INTERVAL_S, dispatcher.run_once),
        PeriodicJob("reminders", REMIND_INTERVAL_S, lambda: remind(dispatcher.repository, clock)),
        PeriodicJob(
            "credits", CREDITS_INTERVAL_S, lambda: report_credits(dispatcher.repository, clock)
        ),
        PeriodicJob("deliveries", PRUNE_INTERVAL_S, dispatcher.prune),
    ]


def legacy_file_jobs(
    settings: Settings, pool: Pool, clock: Clock, pepper: Pepper
) -> list[PeriodicJob]:
    """Return the jobs for legacy files. Returns no jobs if no file is configured."""
    if not settings.legacy_files:
        return []
    files = LegacyFileSync(RemovalRepository(pool), settings.legacy_files, clock, pepper)
    return [PeriodicJob("legacy files", LEGACY_FILES_INTERVAL_S, files.run_once)]


def announcement_jobs(announcements: Announcements | None, keys: KeyService) -> list[PeriodicJob]:
    """Return the job that writes announced revocations to the database."""
    if announcements is None:
        return []

    async def run() -> None:
        with suppress(Unavailable):  # reported by /readyz
            await announcements.read()
            await announcements.commit(keys.store)

    return [PeriodicJob("announced revocations", COMMIT_S, run)]
