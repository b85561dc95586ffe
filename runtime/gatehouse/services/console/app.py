"""Composition root of the console."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from gatehouse.core import features
from gatehouse.core.addresses import ClientAddresses
from gatehouse.core.clock import Clock
from gatehouse.core.errors import SettingsError
from gatehouse.core.roles import Role
from gatehouse.core.token import Pepper, read_pepper
from gatehouse.core.webhook_signatures import parse_webhook_secret
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import CheckpointArchive, Checkpointer
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow, Client
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.repository import SessionRepository
from gatehouse.features.identity.service import SessionRules, Sessions
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.service import KeyService
from gatehouse.features.leaks.schemas import p256_key
from gatehouse.features.leaks.service import LeakService
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.notifications.service import TIMEOUT_S, NotificationDispatcher, SnsTopic, WebhookSender
from gatehouse.features.operations.service import POLL_S, LogLevelFollower, LogLevelService
from gatehouse.features.sharing.backend import Backend
from gatehouse.features.sharing.requests.service import RequestService
from gatehouse.features.sharing.routes import NOT_CONFIGURED
from gatehouse.features.sharing.service import SecretService, SecretSharing
from gatehouse.features.sharing.worker import INTERVAL_S as SECRETS_INTERVAL_S
from gatehouse.features.sharing.worker import ORPHAN_INTERVAL_S, REPORT_INTERVAL_S, SecretWorker
from gatehouse.features.transfer.legacy_file_sync import LegacyFileSync
from gatehouse.features.transfer.repository import ImportRepository, RemovalRepository
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.rate_limiters import LocalRateLimits, RedisRateLimits
from gatehouse.platform.aws.signing_key import KmsSigner, Signer, local_signer
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.db.pool import DatabaseProbe, Pool, pool_of
from gatehouse.platform.http import asgi
from gatehouse.platform.http.idempotency import IdempotencyStore
from gatehouse.platform.http_client.upstream import SystemResolver, UpstreamClients
from gatehouse.platform.observability import Observer
from gatehouse.platform.redis.connection import RedisLogin, RedisProbe, redis_login
from gatehouse.platform.settings import Settings
from gatehouse.services.console import asgi as console
from gatehouse.services.console.dependencies import Dependencies
from gatehouse.services.tracing import start_tracing

#: Interval between checks for a due checkpoint. Each check queries one row.
CHECKPOINT_INTERVAL_S = 5.0
PRUNE_INTERVAL_S = 3600.0
RESEAL_INTERVAL_S = 60.0
NOTIFICATION_INTERVAL_S = 1.0
REMIND_INTERVAL_S = 300.0
IDEMPOTENCY_INTERVAL_S = 600.0
LEGACY_FILES_INTERVAL_S = 5.0
_FILE = "file:"


def build(settings: Settings) -> asgi.App:
    """Build the console. Raises SettingsError. Connections are opened on first use."""
    observer = Observer("console", settings.log_level, settings.environment)
    pool = pool_of(settings, "gatehouse console", observer.slow_query)
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    clock = Clock()
    sharing = Backend.from_settings(settings, clock) if settings.sharing_url else None
    return Composition(settings, pool, observer, clock, pepper, checkpoint_signer(settings), sharing).application()


@dataclass(frozen=True, slots=True)
class Composition:
    """Builds the dependencies and the background jobs of a console.

    signer: None disables checkpoints. sharing: None disables secret sharing.
    """

    settings: Settings
    pool: Pool
    observer: Observer
    clock: Clock
    pepper: Pepper
    signer: Signer | None
    sharing: Backend | None

    def application(self) -> asgi.App:
        """Return the console application. Raises SettingsError."""
        settings, log_levels = self.settings, LogLevelService(self.pool, self.clock, self.settings.log_level)
        session_key = read_pepper(settings.session_key, "GATEHOUSE_SESSION_KEY")
        rules = SessionRules(settings.session_idle_timeout_s, settings.session_max_age_s, settings.step_up_max_age_s)
        sessions = Sessions(SessionRepository(self.pool), self.clock, session_key, rules, secrets.token_bytes)
        redis = redis_login(settings.redis_url, settings.redis_auth, settings.redis_cluster) if settings.redis_url else None
        counters = None if redis is None else self._counters(redis)
        limits = None if redis is None else self._limits(redis)
        identity_provider = self._identity_provider()
        keys, audit, usage = self._keys(), AuditRepository(self.pool), UsageRepository(self.pool)
        dependencies = Dependencies(
            keys=keys,
            imports=ImportRepository(self.pool, keys),
            audit=audit,
            cores=CoreRepository(self.pool),
            usage=usage,
            notifications=NotificationRepository(self.pool),
            clock=self.clock,
            pepper=self.pepper,
            cursor_pepper=session_key,
            bootstrap_token=None if settings.bootstrap_token is None else settings.bootstrap_token.get_secret_value(),
            key_prefix=settings.key_prefix,
            key_environment=settings.key_environment,
            default_limit=settings.default_limit,
            staleness_s=settings.max_staleness_ms / 1000,
            body_max_bytes=settings.body_max_bytes,
            addresses=ClientAddresses(settings.trusted_proxies),
            probes=[DatabaseProbe(self.pool)],
            observer=self.observer,
            random_bytes=secrets.token_bytes,
            https=settings.console_url.startswith("https://"),
            sessions=sessions,
            log_levels=log_levels,
            features_off=features.off(settings.features),
            helpers=[] if redis is None else [RedisProbe(redis)],
            origin=_origin(settings.console_url),
            gateway_url=settings.gateway_url.rstrip("/"),
            counters=counters,
            limits=limits or LocalRateLimits(),
            signer=self.signer,
            webhook_networks=settings.webhook_networks,
            identity_provider=identity_provider,
            sign_in_flow=self._sign_in_flow(identity_provider, session_key),
            idempotency_store=IdempotencyStore(self.pool),
            leaks=self._leak_service(),
            sharing=self._secret_sharing(),
        )
        on_stop = [self.pool.close, *(used.close for used in (counters, limits) if used)]
        on_start = partial(start_tracing, settings, self.observer)
        return console.create(dependencies, jobs=self.jobs(sessions, log_levels), on_start=on_start, on_stop=on_stop)

    def jobs(self, sessions: Sessions, log_levels: LogLevelService) -> list[PeriodicJob]:
        usage, idempotency_store = UsageRepository(self.pool), IdempotencyStore(self.pool)
        follower = LogLevelFollower(log_levels, self.observer.set_level)
        keys = self._key_service(self.settings.max_staleness_ms / 1000)
        return [
            PeriodicJob("usage", PRUNE_INTERVAL_S, lambda: usage.prune(now=self.clock.now())),
            PeriodicJob("idempotency keys", IDEMPOTENCY_INTERVAL_S, lambda: idempotency_store.prune(now=self.clock.now())),
            PeriodicJob("sessions", PRUNE_INTERVAL_S, sessions.prune),
            PeriodicJob("log level", POLL_S, follower.run_once),
            PeriodicJob("reseal", RESEAL_INTERVAL_S, keys.reseal),
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
            observer.log.error("audit trail broken", service=observer.service, seq=seq, fix="run gatehouse audit verify")

        checkpointer = Checkpointer(
            AuditRepository(self.pool),
            self.signer,
            CheckpointArchive(settings.checkpoint_archive),
            self.clock,
            rows=settings.checkpoint_interval_events,
            seconds=settings.checkpoint_interval_s,
            on_broken=on_broken,
        )

        async def create_checkpoint() -> None:
            checkpoint = await checkpointer.run_once()
            if checkpoint is not None:
                observer.metrics.checkpoint.set(checkpoint.taken_at)
                observer.log.info("checkpoint", service=observer.service, seq=checkpoint.seq)

        return [PeriodicJob("checkpoint", CHECKPOINT_INTERVAL_S, create_checkpoint)]

    def secret_jobs(self) -> list[PeriodicJob]:
        """Return the jobs that record audit events for secrets, and delete the content of secrets that are no longer active, and
        orphaned objects.

        Returns no jobs if secret sharing is not configured.
        """
        if self.sharing is None:
            return []
        worker = SecretWorker(self.sharing, self.pool, self.signer, self.observer)
        return [
            PeriodicJob("secrets", SECRETS_INTERVAL_S, worker.run_once),
            PeriodicJob("due secrets", REPORT_INTERVAL_S, worker.report),
            PeriodicJob("orphaned secrets", ORPHAN_INTERVAL_S, worker.remove_orphans),
            PeriodicJob("recorded secret events", PRUNE_INTERVAL_S, worker.prune),
        ]

    def _secret_sharing(self) -> SecretSharing | None:
        """Return the secret sharing dependencies, or None if secret sharing is not configured."""
        if self.sharing is None:
            self.observer.log.info("secret sharing disabled", service=self.observer.service, reason=NOT_CONFIGURED)
            return None
        return SecretSharing(
            SecretService(self.sharing),
            self.settings.sharing_url,
            self.settings.sharing_file_max_bytes,
            RequestService(self.sharing),
        )

    def _notification_jobs(self) -> list[PeriodicJob]:
        topic, networks = self.settings.notification_topic, self.settings.webhook_networks
        sender = WebhookSender(UpstreamClients(SystemResolver(), networks, read_timeout_s=TIMEOUT_S))
        repository = NotificationRepository(self.pool)
        dispatcher = NotificationDispatcher(repository, sender, SnsTopic(topic) if topic else None, self.clock, self.pepper)
        return [
            PeriodicJob("notifications", NOTIFICATION_INTERVAL_S, dispatcher.run_once),
            PeriodicJob("reminders", REMIND_INTERVAL_S, dispatcher.remind),
        ]

    def _legacy_file_jobs(self) -> list[PeriodicJob]:
        """Return the jobs for legacy files. Returns no jobs if no file is configured."""
        if not self.settings.legacy_files:
            return []
        files = LegacyFileSync(RemovalRepository(self.pool), self.settings.legacy_files, self.clock, self.pepper)
        return [PeriodicJob("legacy files", LEGACY_FILES_INTERVAL_S, files.run_once)]

    def _keys(self) -> KeyRepository:
        return KeyRepository(self.pool, staleness_s=self.settings.max_staleness_ms / 1000)

    def _key_service(self, confirmation_timeout_s: float) -> KeyService:
        prefix = self.settings.key_prefix
        return KeyService(self._keys(), self.clock, self.pepper, prefix, secrets.token_bytes, confirmation_timeout_s)

    def _counters(self, redis: RedisLogin) -> RedisRateLimits:
        """Return the rate limit counters that the console reads and deletes. After an error, the state of a limit is unknown."""
        return RedisRateLimits(redis, timeout_s=self.settings.limit_timeout_ms / 1000, on_error="deny")

    def _limits(self, redis: RedisLogin) -> RedisRateLimits:
        """Return the rate limits of keys that authenticate at the console."""
        return RedisRateLimits(redis, timeout_s=self.settings.limit_timeout_ms / 1000, on_error=self.settings.limit_on_error)

    def _identity_provider(self) -> OidcIdentityProvider | None:
        settings = self.settings
        if not settings.oidc_issuer:
            return None
        roles = {name: Role(role) for name, role in settings.oidc_roles}
        issuer = Issuer(settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url, settings.oidc_claim, roles)
        return OidcIdentityProvider(issuer, self.clock)

    def _sign_in_flow(self, provider: OidcIdentityProvider | None, key: Pepper) -> AuthorizationCodeFlow | None:
        settings = self.settings
        if provider is None or not settings.oidc_client_id or features.SESSIONS.name in features.off(settings.features):
            return None
        secret = "" if settings.oidc_client_secret is None else settings.oidc_client_secret.get_secret_value()
        client = Client(settings.oidc_client_id, secret, settings.oidc_scopes, _origin(settings.console_url))
        return AuthorizationCodeFlow(provider, client, self.clock, key, secrets.token_bytes, settings.step_up_max_age_s)

    def _leak_service(self) -> LeakService:
        """Return the service that handles leak reports. Raises SettingsError if a key or the secret is malformed."""
        settings, secret = self.settings, None
        # A report may contain many keys, and the gateways apply changes within a second, so a report does not wait for
        # confirmation.
        keys = self._key_service(confirmation_timeout_s=0.0)
        if settings.leak_secret is not None:
            try:
                secret = parse_webhook_secret(settings.leak_secret.get_secret_value())
            except ValueError:
                raise SettingsError("GATEHOUSE_LEAK_SECRET must be whsec_ followed by 24 to 64 bytes in base64") from None
        try:
            pinned = json.loads(settings.leak_github_keys or "{}")
            github_keys = {str(identifier): p256_key(pem) for identifier, pem in pinned.items()}
        except (ValueError, AttributeError, TypeError):
            form = '{"<key identifier>": "<P-256 public key, PEM>"}'
            raise SettingsError(f"GATEHOUSE_LEAK_GITHUB_KEYS must be JSON: {form}") from None
        token = None if settings.bootstrap_token is None else settings.bootstrap_token.get_secret_value()
        return LeakService(keys, self.pool, self.clock, settings.leak_action, github_keys, secret, token)


def _origin(url: str) -> str:
    """Return the origin of a URL as browsers send it: in lowercase and without a default port (RFC 6454, section 6.2)."""
    parts = urlsplit(url.lower())
    default_port = {"http": ":80", "https": ":443"}.get(parts.scheme, "")
    return f"{parts.scheme}://{parts.netloc.removesuffix(default_port)}" if parts.scheme and parts.netloc else ""


def checkpoint_signer(settings: Settings) -> Signer | None:
    """Return the checkpoint signer, or None if checkpoints are disabled. Raises SettingsError if the file contains no key."""
    name = settings.checkpoint_key
    if not name:
        return None
    return local_signer(Path(name.removeprefix(_FILE))) if name.startswith(_FILE) else KmsSigner(name)
