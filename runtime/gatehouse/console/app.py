"""Composition root of the console."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from gatehouse import observability as observe
from gatehouse.audit.repository import AuditRepository
from gatehouse.clock import SystemClock
from gatehouse.console import asgi as console
from gatehouse.console import jobs
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.console.dependencies import Dependencies
from gatehouse.cores.repository import CoreRepository
from gatehouse.crypto.token import read_pepper
from gatehouse.db.pool import DatabaseProbe, pool_of
from gatehouse.http import asgi
from gatehouse.http.idempotency_store import IdempotencyStore
from gatehouse.http.models import Probe
from gatehouse.identity.repository import SessionRepository
from gatehouse.identity.service import SessionRules, Sessions
from gatehouse.keys.repository import KeyRepository
from gatehouse.keys.service import KeyService
from gatehouse.keys.signing import Resealer
from gatehouse.leaks.reporters import leak_reporters
from gatehouse.notifications.repository import NotificationRepository
from gatehouse.operations import features
from gatehouse.operations.repository import LogLevelRepository
from gatehouse.operations.service import POLL_S, LogLevelFollower, LogLevelService
from gatehouse.redis.connection import RedisProbe, redis_login
from gatehouse.settings import Settings
from gatehouse.usage.repository import UsageReports
from gatehouse.verification.rate_limiters import RedisRateLimits


def build(settings: Settings) -> asgi.App:
    """Build the console. Raises SettingsError. Connections are opened on first use."""
    observer = observe.observer("console", settings.log_level, settings.environment)
    pool = pool_of(settings, "gatehouse console", observer.slow_query)
    staleness_s = settings.max_staleness_ms / 1000
    counters = None
    helpers: list[Probe] = []
    if settings.redis_url:
        redis = redis_login(settings.redis_url, settings.redis_auth, settings.redis_cluster)
        # Reads and deletes counters, but does not limit requests. On an error the state of a limit is unknown.
        counters = RedisRateLimits(redis, timeout_s=settings.limit_timeout_ms / 1000, on_error="refuse")
        helpers.append(RedisProbe(redis))
    pepper = read_pepper(settings.pepper, "GATEHOUSE_PEPPER")
    session_key = read_pepper(settings.session_key, "GATEHOUSE_SESSION_KEY")
    clock, signer = SystemClock(), jobs.signer(settings)
    log_levels = LogLevelRepository(pool)
    follower = LogLevelFollower(log_levels, clock, settings.log_level, observer.set_level)
    rules = SessionRules(settings.session_idle_timeout_s, settings.session_max_age_s, settings.step_up_max_age_s)
    sessions = Sessions(SessionRepository(pool), clock, session_key, rules, secrets.token_bytes)
    keys = KeyRepository(pool, staleness_s=staleness_s)
    service = KeyService(keys, clock, pepper, settings.key_prefix, secrets.token_bytes, staleness_s)
    return console.create(
        Dependencies(
            keys=keys,
            audit=AuditRepository(pool),
            cores=CoreRepository(pool),
            usage=UsageReports(pool),
            notifications=NotificationRepository(pool),
            clock=clock,
            pepper=pepper,
            cursor_pepper=session_key,
            bootstrap_token=None if settings.bootstrap_token is None else settings.bootstrap_token.get_secret_value(),
            key_prefix=settings.key_prefix,
            key_environment=settings.key_environment,
            default_limit=settings.default_limit,
            staleness_s=staleness_s,
            body_max_bytes=settings.body_max_bytes,
            addresses=asgi.ClientAddresses(settings.trusted_proxies),
            probes=[DatabaseProbe(pool)],
            observer=observer,
            random_bytes=secrets.token_bytes,
            https=settings.console_url.startswith("https://"),
            sessions=sessions,
            log_levels=LogLevelService(log_levels, clock, settings.log_level),
            features_off=features.off(settings.features),
            helpers=helpers,
            origin=_origin(settings.console_url),
            limits=counters,
            counters=counters,
            signer=signer,
            webhook_networks=settings.webhook_networks,
            identity_provider=jobs.identity_provider(settings, clock),
            idempotency_store=IdempotencyStore(pool),
            leaks=leak_reporters(settings, pool, keys, clock, pepper),
        ),
        jobs=[
            *jobs.maintenance_jobs(settings, pool, clock, observer, signer),
            *jobs.notification_jobs(settings, pool, clock, pepper),
            *jobs.legacy_file_jobs(settings, pool, clock, pepper),
            PeriodicJob("sessions", jobs.PRUNE_INTERVAL_S, sessions.prune),
            PeriodicJob("log level", POLL_S, follower.run_once),
            PeriodicJob("reseal", jobs.RESEAL_INTERVAL_S, Resealer(service).run_once),
        ],
        on_stop=[pool.close, *([counters.close] if counters else [])],
    )


def _origin(url: str) -> str:
    """Origin of a URL, as in the header Origin: scheme, host, and the port if it is not the default of the scheme."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
