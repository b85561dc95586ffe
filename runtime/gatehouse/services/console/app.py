"""Composition root of the console."""

import secrets
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from gatehouse.core.clock import Clock
from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.core.features import SESSIONS, Features
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.tokens.token import Pepper, read_pepper
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import (
    WINDOW_S,
    CheckpointArchive,
    Checkpointer,
    CheckpointReader,
    DeniedAttempts,
)
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.cores.routes import GatewayUrl
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow, Client
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.repository import SessionRepository
from gatehouse.features.identity.service import Sessions
from gatehouse.features.keys.changes_in_valkey import COMMIT_S, Announcements
from gatehouse.features.keys.possession import finder_of
from gatehouse.features.keys.service import KeyService
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.notifications.service import NotificationDispatcher, WebhookService
from gatehouse.features.operations.log_search import LogStore, log_store
from gatehouse.features.operations.service import (
    POLL_S,
    FeatureService,
    LogLevelFollower,
    LogLevelService,
)
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.features.secrets.service import SecretService
from gatehouse.features.secrets.worker import INTERVAL_S as SECRETS_INTERVAL_S
from gatehouse.features.secrets.worker import ORPHAN_INTERVAL_S, REPORT_INTERVAL_S, SecretWorker
from gatehouse.features.transfer.legacy_file_sync import LegacyFileSync
from gatehouse.features.transfer.repository import RemovalRepository
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.explanation import ExplanationService
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.db.pool import DatabaseProbe, Pool, pool_of
from gatehouse.platform.envoy.bootstrap import Worker
from gatehouse.platform.observability import Observer
from gatehouse.platform.redis.connection import redis_of
from gatehouse.platform.settings import PUBLISH_S, Settings
from gatehouse.platform.web.application import Application
from gatehouse.platform.web.health import ServiceHealth
from gatehouse.platform.web.security_headers import security_headers
from gatehouse.platform.worker import run_asgi
from gatehouse.services.console import routes as console
from gatehouse.services.console.authentication import Authenticator, Lockout
from gatehouse.services.console.idempotency import IdempotencyGuard, IdempotencyStore
from gatehouse.services.console.lookup import Lookup
from gatehouse.services.console.pipeline import ConsolePipeline
from gatehouse.services.console.web import WebFiles
from gatehouse.services.tracing import start_tracing

#: Interval between checks for a due checkpoint. Each check queries one row.
CHECKPOINT_INTERVAL_S = 5.0
PRUNE_INTERVAL_S = 3600.0
NOTIFICATION_INTERVAL_S = 1.0
REMIND_INTERVAL_S = 300.0
IDEMPOTENCY_INTERVAL_S = 600.0
LEGACY_FILES_INTERVAL_S = 30.0
_NO_LOGS = "Logs cannot be searched. Set GATEHOUSE_LOGS of the console (docs/settings-runtime.md)."
_NO_SHARING = (
    "Secret sharing is not configured. Set GATEHOUSE_SECRET_LINKS_TABLE, GATEHOUSE_SECRETS_BUCKET, "
    "GATEHOUSE_SECRETS_KEY and GATEHOUSE_SHARING_URL."
)


def run(worker: Worker, settings: Settings) -> bool:
    """Runs the console until SIGTERM. False if it does not start. Raises SettingsError."""
    return run_asgi(build(settings), worker)


def build(settings: Settings) -> Application:
    """Build the console. Raises SettingsError. Connections are opened on first use."""
    observer = Observer(
        "console", settings.log_level, settings.environment, namespace=settings.metrics_namespace
    )
    clock = Clock()
    pool = pool_of(settings, "gatehouse console", clock)
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    sharing = Backend.from_settings(settings, clock) if settings.sharing_url else None
    signer = KmsSigner(settings.checkpoint_key) if settings.checkpoint_key else None
    return Composition(settings, pool, observer, clock, pepper, signer, sharing).application()


@dataclass(frozen=True, slots=True)
class Composition:
    """Builds the services and the background jobs of a console.

    pepper: HMAC secret of tokens.
    signer: None disables checkpoints. sharing: None disables secret sharing.
    identity_provider: None: the identity provider in the settings.
    idempotency_store: None: the database.
    """

    settings: Settings
    pool: Pool
    observer: Observer
    clock: Clock
    pepper: Pepper
    signer: KmsSigner | None
    sharing: Backend | None
    identity_provider: OidcIdentityProvider | None = None
    idempotency_store: IdempotencyStore | None = None

    def application(self) -> Application:
        """Return the console application. Raises SettingsError."""
        settings, features = self.settings, Features(self.settings.features)
        accepts_sessions = SESSIONS not in features.configured_off
        sessions, (secrets, requests) = self.sessions(), self._secret_sharing()
        provider = self._identity_provider()
        redis = redis_of(settings)
        limits = RateLimits(redis, on_error=settings.limit_on_error)
        announcements = self._announcements()
        keys = self.key_service(
            announcements=announcements,
            deliver=secrets.deliver if isinstance(secrets, SecretService) else None,
            forget=limits.forget,
        )
        switches = FeatureService(self.pool, self.clock, features)
        denied = DeniedAttempts(AuditRepository(self.pool), self.clock, service="console")
        store = self.idempotency_store or IdempotencyStore(self.pool)
        authenticator = Authenticator(
            keys=keys,
            finder=finder_of(keys.store, self.pepper, keys.prefix),
            sessions=sessions,
            lockout=Lockout(self.clock),
            limits=limits,
            origin=_origin(settings.console_url),
            features=features,
            identity_provider=provider,
        )
        logs = log_store(settings.logs) if settings.logs else None
        helpers = [] if redis is None else [redis]
        pipeline = ConsolePipeline(
            observer=self.observer,
            addresses=ClientAddresses(settings.trusted_proxies, settings.outer_proxies),
            clock=self.clock,
            headers=security_headers(https=settings.console_url.startswith("https://")),
            cursor_key=sessions.key,
            services={
                **self._services(keys, sessions, limits),
                SecretService: secrets,
                LogStore: logs or NotFound(_NO_LOGS),
                Lookup: Lookup(
                    keys,
                    secrets if isinstance(secrets, SecretService) else None,
                    CoreRepository(self.pool),
                    AuditRepository(self.pool),
                    UsageRepository(self.pool),
                    logs,
                ),
                RequestService: requests,
                ServiceHealth: ServiceHealth([DatabaseProbe(self.pool)], helpers, features),
                FeatureService: switches,
            },
            features=features,
            body_max_bytes=settings.body_max_bytes,
            authenticator=authenticator,
            denied=denied,
            idempotency=IdempotencyGuard(store, self.clock, self.pepper),
            web_files=WebFiles.read(),
        )
        # The number of denied requests is written at the end of each window, even if no further
        # request arrives.
        jobs = [
            PeriodicJob("denied attempts", WINDOW_S, denied.run_once),
            PeriodicJob("features", POLL_S, switches.apply),
            *self.jobs(keys, sessions, store),
            *_announcement_jobs(announcements, keys),
        ]

        async def start(stack: AsyncExitStack) -> None:
            await start_tracing(settings, self.observer, stack)
            with suppress(Unavailable):  # reported by /readyz; the first connection compares
                await self.pool.open()
            if self.sharing is not None:
                with suppress(Unavailable):
                    await self.sharing.table.confirm()
            if redis is not None:
                stack.push_async_callback(redis.close)
            if announcements is not None:
                stack.push_async_callback(announcements.redis.close)
            for stop in (limits.close, self.pool.close, denied.flush):
                stack.push_async_callback(stop)
            for job in jobs:
                job.start(self.observer, stack)

        return console.create(
            pipeline,
            sign_in_flow=self._sign_in_flow(provider, sessions.key) if accepts_sessions else None,
            start=start,
        )

    def sessions(self) -> Sessions:
        settings = self.settings
        key = read_pepper(settings.session_key, "GATEHOUSE_SESSION_KEY")
        store, token = SessionRepository(self.pool), _text(settings.bootstrap_token)
        return Sessions(
            store, self.clock, key, settings, secrets.token_bytes, token, settings.key_prefix
        )

    def key_service(self, **fields: Any) -> KeyService:
        fields["contact_problem"] = self._webhooks().contact_problem
        return KeyService.of(self.settings, self.pool, self.clock, self.pepper, **fields)

    def jobs(
        self, keys: KeyService, sessions: Sessions, idempotency_store: IdempotencyStore
    ) -> list[PeriodicJob]:
        usage, denials_s = UsageRepository(self.pool), 86_400 * self.settings.denial_retention_days
        follower = LogLevelFollower(self._log_levels(), self.observer.set_level)
        return [
            PeriodicJob(
                "usage",
                PRUNE_INTERVAL_S,
                lambda: usage.prune(now=self.clock.now(), denials_s=denials_s),
            ),
            PeriodicJob(
                "idempotency keys",
                IDEMPOTENCY_INTERVAL_S,
                lambda: idempotency_store.prune(now=self.clock.now()),
                ends_entries=True,
            ),
            PeriodicJob("sessions", PRUNE_INTERVAL_S, sessions.prune, ends_entries=True),
            PeriodicJob("log level", POLL_S, follower.run_once),
            *self.checkpoint_jobs(),
            *self._notification_jobs(),
            *self._legacy_file_jobs(),
            *self.secret_jobs(),
        ]

    def checkpoint_jobs(self) -> list[PeriodicJob]:
        """Return the job that creates checkpoints, or no job if checkpoints are disabled."""
        if self.signer is None:
            return []
        observer, settings = self.observer, self.settings

        def on_broken(seq: int) -> None:
            observer.metrics.audit_chain_broken.inc()
            observer.log.error("audit trail broken", seq=seq, fix="run gatehouse audit verify")

        checkpointer = Checkpointer(
            AuditRepository(self.pool),
            self.signer,
            CheckpointArchive(settings.checkpoint_archive),
            self.clock,
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

    def secret_jobs(self) -> list[PeriodicJob]:
        """Return the jobs that record audit events for secrets, and delete the content of secrets
        that are no longer active, and orphaned objects.

        Returns no jobs if secret sharing is not configured.
        """
        if self.sharing is None:
            return []
        worker = SecretWorker(self.sharing, self.pool, self.signer, self.observer)
        events = SecretEventRepository(self.pool)
        return [
            PeriodicJob("secrets", SECRETS_INTERVAL_S, worker.run_once),
            PeriodicJob("due secrets", REPORT_INTERVAL_S, worker.report),
            PeriodicJob(
                "orphaned secrets", ORPHAN_INTERVAL_S, worker.remove_orphans, ends_entries=True
            ),
            PeriodicJob("recorded secret events", PRUNE_INTERVAL_S, events.prune),
        ]

    def _services(
        self, keys: KeyService, sessions: Sessions, limits: RateLimits
    ) -> dict[Any, object]:
        cores = CoreRepository(self.pool)
        return {
            KeyService: keys,
            ExplanationService: ExplanationService(keys, limits, cores),
            AuditRepository: AuditRepository(self.pool),
            SecretEventRepository: SecretEventRepository(self.pool),
            CheckpointReader: CheckpointReader(AuditRepository(self.pool), self.signer),
            UsageRepository: UsageRepository(self.pool),
            WebhookService: self._webhooks(),
            CoreRepository: cores,
            GatewayUrl: self.settings.gateway_url.rstrip("/"),
            LogLevelService: self._log_levels(),
            Sessions: sessions,
        }

    def _webhooks(self) -> WebhookService:
        networks, sender = self.settings.webhook_networks, self.settings.notification_sender
        repository = NotificationRepository(self.pool)
        return WebhookService(repository, self.clock, self.pepper, networks, bool(sender))

    def _announcements(self) -> Announcements | None:
        settings = self.settings
        outage_max_s = settings.announced_outage_s
        redis = redis_of(settings) if outage_max_s else None
        return (
            None if redis is None else Announcements(redis, self.pepper, self.clock, outage_max_s)
        )

    def _log_levels(self) -> LogLevelService:
        return LogLevelService(self.pool, self.clock, self.settings.log_level)

    def _secret_sharing(self) -> tuple[SecretService, RequestService] | tuple[NotFound, NotFound]:
        """Return the error of their endpoints instead if secret sharing is not configured."""
        if self.sharing is None:
            self.observer.log.info("secret sharing disabled", reason=_NO_SHARING)
            return NotFound(_NO_SHARING), NotFound(_NO_SHARING)
        secrets = SecretService(self.sharing, self.settings.sharing_url)
        return secrets, RequestService(self.sharing, secrets)

    def _notification_jobs(self) -> list[PeriodicJob]:
        dispatcher = NotificationDispatcher.of(self.settings, self.pool, self.clock, self.pepper)
        return [
            PeriodicJob("notifications", NOTIFICATION_INTERVAL_S, dispatcher.run_once),
            PeriodicJob("reminders", REMIND_INTERVAL_S, dispatcher.remind),
            PeriodicJob("deliveries", PRUNE_INTERVAL_S, dispatcher.prune),
        ]

    def _legacy_file_jobs(self) -> list[PeriodicJob]:
        """Return the jobs for legacy files. Returns no jobs if no file is configured."""
        if not self.settings.legacy_files:
            return []
        files = LegacyFileSync(
            RemovalRepository(self.pool), self.settings.legacy_files, self.clock, self.pepper
        )
        return [PeriodicJob("legacy files", LEGACY_FILES_INTERVAL_S, files.run_once)]

    def _identity_provider(self) -> OidcIdentityProvider | None:
        settings = self.settings
        if self.identity_provider is not None or not settings.oidc_issuer:
            return self.identity_provider
        issuer = Issuer(
            settings.oidc_issuer, settings.oidc_audience, settings.oidc_claim, settings.oidc_roles
        )
        return OidcIdentityProvider(issuer, self.clock)

    def _sign_in_flow(
        self, provider: OidcIdentityProvider | None, key: Pepper
    ) -> AuthorizationCodeFlow | None:
        settings = self.settings
        if provider is None or not settings.oidc_client_id:
            return None
        secret = _text(settings.oidc_client_secret) or ""
        client = Client(
            settings.oidc_client_id, secret, settings.oidc_scopes, _origin(settings.console_url)
        )
        return AuthorizationCodeFlow(
            provider, client, self.clock, key, secrets.token_bytes, settings.step_up_max_age_s
        )


def _announcement_jobs(announcements: Announcements | None, keys: KeyService) -> list[PeriodicJob]:
    """Return the job that writes announced revocations to the database."""
    if announcements is None:
        return []

    async def run() -> None:
        with suppress(Unavailable):  # reported by /readyz
            await announcements.read()
            await announcements.commit(keys.store)

    return [PeriodicJob("announced revocations", COMMIT_S, run)]


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _origin(url: str) -> str:
    """Return the origin of a URL as browsers send it: in lowercase and without a default port (RFC
    6454, section 6.2).
    """
    parts = urlsplit(url.lower())
    default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return (
        f"{parts.scheme}://{parts.netloc.removesuffix(default_port)}"
        if parts.scheme and parts.netloc
        else ""
    )
