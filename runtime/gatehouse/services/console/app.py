"""Composition root of the console."""

import secrets
from collections.abc import Awaitable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from gatehouse.core.clock import Clock
from gatehouse.core.errors import NotFound, Unavailable
from gatehouse.core.features import SESSIONS, Features
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.tokens.token import Pepper, read_pepper
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import WINDOW_S, CheckpointReader, DeniedAttempts
from gatehouse.features.cores.repository import CoreRepository
from gatehouse.features.cores.routes import GatewayUrl
from gatehouse.features.customers.repository import CustomerRepository
from gatehouse.features.customers.service import CustomerService, LimitService, PlanService
from gatehouse.features.identity.authorization_code import AuthorizationCodeFlow, Client
from gatehouse.features.identity.issuer import Issuer
from gatehouse.features.identity.oidc import OidcIdentityProvider
from gatehouse.features.identity.repository import SessionRepository
from gatehouse.features.identity.service import Sessions
from gatehouse.features.keys.changes_in_valkey import Announcements
from gatehouse.features.keys.possession import finder_of
from gatehouse.features.keys.service import KeyService
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.notifications.service import WebhookService
from gatehouse.features.operations.health import Reporter, dependencies
from gatehouse.features.operations.log_search import LogStore, log_store
from gatehouse.features.operations.repository import WorkerReportRepository
from gatehouse.features.operations.service import (
    POLL_S,
    FeatureService,
    HealthService,
    LogLevelFollower,
    LogLevelService,
)
from gatehouse.features.secret_requests.service import RequestService
from gatehouse.features.secrets.backend import Backend
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.features.secrets.service import SecretService
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.verification.explanation import ExplanationService
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.db.pool import DatabaseProbe, Pool, pool_of
from gatehouse.platform.envoy.bootstrap import Worker
from gatehouse.platform.observability import Observer
from gatehouse.platform.redis.connection import Redis, redis_of
from gatehouse.platform.semaphores import RequestLimits
from gatehouse.platform.settings import Settings
from gatehouse.platform.web.application import Application
from gatehouse.platform.web.form_protection import FormProtection
from gatehouse.platform.web.health import ServiceHealth
from gatehouse.platform.web.security_headers import security_headers
from gatehouse.platform.worker import run_asgi
from gatehouse.services.console import jobs
from gatehouse.services.console import routes as console
from gatehouse.services.console.authentication import Authenticator
from gatehouse.services.console.idempotency import IdempotencyGuard, IdempotencyStore
from gatehouse.services.console.lockout import Lockout
from gatehouse.services.console.lookup import Lookup
from gatehouse.services.console.pipeline import CALLER_REQUESTS_MAX, ConsolePipeline
from gatehouse.services.console.portal.pages import Branding
from gatehouse.services.console.portal.repository import PortalSessionRepository
from gatehouse.services.console.portal.routes import REQUESTS_MAX as PORTAL_REQUESTS_MAX
from gatehouse.services.console.portal.routes import Portal
from gatehouse.services.console.portal.service import PortalService
from gatehouse.services.console.portal.session import PortalSessions
from gatehouse.services.console.references import References
from gatehouse.services.console.web import WebFiles
from gatehouse.services.sharing_reports import reports_of_sharing
from gatehouse.services.tracing import start_tracing

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
        parts = self._parts()
        periodic = self._jobs(parts)

        async def start(stack: AsyncExitStack) -> None:
            await start_tracing(self.settings, self.observer, stack)
            with suppress(Unavailable):  # reported by /readyz; the first connection compares
                await self.pool.open()
            if self.sharing is not None:
                with suppress(Unavailable):
                    await self.sharing.table.confirm()
            if parts.redis is not None:
                stack.push_async_callback(parts.redis.close)
            if parts.announcements is not None:
                stack.push_async_callback(parts.announcements.redis.close)
            for stop in (parts.limits.close, self.pool.close, parts.denied.flush):
                stack.push_async_callback(stop)
            reports = WorkerReportRepository(self.pool)
            await parts.reporter.start(reports, self.observer, stack)
            for job in periodic:
                job.start(self.observer, stack)

        return console.create(
            self._pipeline(parts), sign_in_flow=self._sign_in_flow(parts), start=start
        )

    def _parts(self) -> "_Parts":
        settings, features = self.settings, Features(self.settings.features)
        redis = redis_of(settings)
        limits = RateLimits(redis, on_error=settings.limit_on_error)
        announcements = self._announcements()
        secrets, requests = self._secret_sharing()
        denied = DeniedAttempts(AuditRepository(self.pool), self.clock, service="console")
        store = self.idempotency_store or IdempotencyStore(self.pool)
        idempotency = IdempotencyGuard(store, self.clock, self.pepper)
        sessions = self.sessions()
        keys = self.key_service(
            announcements=announcements,
            deliver=secrets.deliver if isinstance(secrets, SecretService) else None,
            forget=limits.forget,
        )
        return _Parts(
            features=features,
            redis=redis,
            limits=limits,
            announcements=announcements,
            sessions=sessions,
            secrets=secrets,
            requests=requests,
            keys=keys,
            switches=FeatureService(self.pool, self.clock, features),
            denied=denied,
            idempotency=idempotency,
            portal=Portal(
                url=settings.console_url.rstrip("/"),
                sessions=PortalSessions(
                    PortalSessionRepository(self.pool),
                    self.clock,
                    sessions.key,
                    CustomerRepository(self.pool),
                    settings.key_prefix,
                ),
                service=PortalService(keys, UsageRepository(self.pool), limits, idempotency),
                branding=Branding.of(settings),
                protection=FormProtection(https=settings.console_url.startswith("https://")),
                limits=RequestLimits(PORTAL_REQUESTS_MAX, CALLER_REQUESTS_MAX),
                denied=denied,
            ),
            identity_provider=self._identity_provider(),
            reporter=self._reporter(redis, features),
        )

    def _reporter(self, redis: Redis | None, features: Features) -> Reporter:
        helpers = [] if redis is None else [redis]
        uses = dependencies("console", self.settings, shares=self.sharing is not None)
        health = ServiceHealth([DatabaseProbe(self.pool)], helpers, features)
        return Reporter("console", uses, health)

    def _pipeline(self, parts: "_Parts") -> ConsolePipeline:
        settings = self.settings
        return ConsolePipeline(
            observer=self.observer,
            addresses=ClientAddresses(settings.trusted_proxies, settings.outer_proxies),
            clock=self.clock,
            headers=security_headers(https=settings.console_url.startswith("https://")),
            docs_url=settings.docs_url,
            cursor_key=parts.sessions.key,
            services=self._services(parts),
            features=parts.features,
            body_max_bytes=settings.body_max_bytes,
            authenticator=Authenticator(
                keys=parts.keys,
                finder=finder_of(parts.keys.store, self.pepper, parts.keys.prefix),
                sessions=parts.sessions,
                lockout=Lockout(self.clock),
                usage=UsageRepository(self.pool),
                limits=parts.limits,
                origin=_origin(settings.console_url),
                features=parts.features,
                identity_provider=parts.identity_provider,
            ),
            denied=parts.denied,
            idempotency=parts.idempotency,
            references=References(self.pool),
            web_files=WebFiles.read(),
            portal=parts.portal,
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

    def _jobs(self, parts: "_Parts") -> list[PeriodicJob]:
        usage = UsageRepository(self.pool)
        requests_s = 86_400 * self.settings.request_retention_days
        follower = LogLevelFollower(self._log_levels(), self.observer.set_level)
        settings, pool, observer, clock = self.settings, self.pool, self.observer, self.clock

        def prune_usage() -> Awaitable[object]:
            return usage.prune(now=clock.now(), requests_s=requests_s)

        def prune_idempotency_keys() -> Awaitable[object]:
            return parts.idempotency.store.prune(now=clock.now())

        async def prune_sessions() -> int:
            return await parts.sessions.prune() + await parts.portal.sessions.prune()

        # The number of denied requests is written at the end of each window, even if no further
        # request arrives.
        return [
            PeriodicJob("denied attempts", WINDOW_S, parts.denied.run_once),
            PeriodicJob("features", POLL_S, parts.switches.apply),
            PeriodicJob("usage", jobs.PRUNE_INTERVAL_S, prune_usage),
            PeriodicJob(
                "idempotency keys",
                jobs.IDEMPOTENCY_INTERVAL_S,
                prune_idempotency_keys,
                ends_entries=True,
            ),
            PeriodicJob("sessions", jobs.PRUNE_INTERVAL_S, prune_sessions, ends_entries=True),
            PeriodicJob("log level", POLL_S, follower.run_once),
            *jobs.checkpoint_jobs(settings, pool, observer, clock, self.signer),
            *jobs.notification_jobs(settings, pool, clock, self.pepper),
            *jobs.legacy_file_jobs(settings, pool, clock, self.pepper),
            *jobs.secret_jobs(self.sharing, pool, observer, self.signer),
            *jobs.announcement_jobs(parts.announcements, parts.keys),
        ]

    def _services(self, parts: "_Parts") -> dict[Any, object]:
        cores, audit = CoreRepository(self.pool), AuditRepository(self.pool)
        keys = parts.keys
        usage = UsageRepository(self.pool, (keys.default_limit,))
        customers = CustomerRepository(self.pool)
        logs = log_store(self.settings.logs) if self.settings.logs else None
        secrets = parts.secrets if isinstance(parts.secrets, SecretService) else None
        return {
            KeyService: keys,
            CustomerService: CustomerService(customers, keys),
            PlanService: PlanService.of(self.pool, keys),
            LimitService: LimitService.of(self.pool, keys),
            ExplanationService: ExplanationService(keys, parts.limits, cores),
            AuditRepository: audit,
            SecretEventRepository: SecretEventRepository(self.pool),
            CheckpointReader: CheckpointReader(audit, self.signer),
            UsageRepository: usage,
            WebhookService: self._webhooks(),
            CoreRepository: cores,
            GatewayUrl: self.settings.gateway_url.rstrip("/"),
            LogLevelService: self._log_levels(),
            Sessions: parts.sessions,
            SecretService: parts.secrets,
            LogStore: logs or NotFound(_NO_LOGS),
            Lookup: Lookup(
                keys, customers, secrets, cores, audit, usage, logs, References(self.pool)
            ),
            RequestService: parts.requests,
            ServiceHealth: parts.reporter.health,
            HealthService: HealthService(
                parts.reporter,
                WorkerReportRepository(self.pool),
                self.clock,
                None if self.sharing is None else partial(reports_of_sharing, self.sharing.table),
            ),
            FeatureService: parts.switches,
            Portal: parts.portal,
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

    def _identity_provider(self) -> OidcIdentityProvider | None:
        settings = self.settings
        if self.identity_provider is not None or not settings.oidc_issuer:
            return self.identity_provider
        issuer = Issuer(
            settings.oidc_issuer, settings.oidc_audience, settings.oidc_claim, settings.oidc_roles
        )
        return OidcIdentityProvider(issuer, self.clock)

    def _sign_in_flow(self, parts: "_Parts") -> AuthorizationCodeFlow | None:
        settings, provider = self.settings, parts.identity_provider
        accepts_sessions = SESSIONS not in parts.features.configured_off
        if not accepts_sessions or provider is None or not settings.oidc_client_id:
            return None
        secret = _text(settings.oidc_client_secret) or ""
        client = Client(
            settings.oidc_client_id, secret, settings.oidc_scopes, _origin(settings.console_url)
        )
        return AuthorizationCodeFlow(
            *(provider, client, self.clock, parts.sessions.key, secrets.token_bytes),
            settings.step_up_max_age_s,
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """The services that several others use. redis, announcements: None if they are not configured.
    secrets, requests: the error of their endpoints if they are not configured.
    """

    features: Features
    redis: Redis | None
    limits: RateLimits
    announcements: Announcements | None
    sessions: Sessions
    secrets: SecretService | NotFound
    requests: RequestService | NotFound
    keys: KeyService
    switches: FeatureService
    denied: DeniedAttempts
    idempotency: IdempotencyGuard
    portal: Portal
    identity_provider: OidcIdentityProvider | None
    reporter: Reporter


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
