"""Puts the console together: engine, stores, service."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from gatehouse import observability as observe
from gatehouse.audit.checkpoint_repository import PostgresCheckpoints
from gatehouse.audit.repository import PostgresAuditTrail
from gatehouse.clock import SystemClock
from gatehouse.console import asgi as console
from gatehouse.console import jobs as watch
from gatehouse.console.background_jobs import PeriodicJob
from gatehouse.console.dependencies import Dependencies
from gatehouse.cores.listing import PostgresCoreListing
from gatehouse.crypto.pepper import pepper
from gatehouse.db import engine as postgres_engine
from gatehouse.db.connection import database
from gatehouse.db.engine_slow_queries import watch_engine
from gatehouse.http import asgi
from gatehouse.http.idempotency_store import PostgresIdempotencyStore
from gatehouse.http.models import Probe
from gatehouse.identity.repository import PostgresSessions
from gatehouse.identity.service import SessionRules, Sessions
from gatehouse.keys.repository import PostgresKeyStore
from gatehouse.keys.resealing import PostgresReseal
from gatehouse.keys.service import KeyService
from gatehouse.keys.signing import Resealer
from gatehouse.leaks.reporters import leak_door
from gatehouse.notifications.repository import PostgresNotifications
from gatehouse.operations import features
from gatehouse.operations.repository import PostgresLevels
from gatehouse.operations.service import LOOK_S, LogLevelFollower, LogLevelService
from gatehouse.redis.credentials import redis_login
from gatehouse.settings import Settings
from gatehouse.usage.reports import PostgresUsageReports
from gatehouse.verification.probes import RedisProbe
from gatehouse.verification.redis_rate_limits import RedisRateLimits


def build(settings: Settings) -> asgi.App:
    """Raises SettingsError. Connections are opened by their first use."""
    login = database(settings)
    observer = observe.observer("console", settings.log_level, settings.environment)
    engine = postgres_engine.build(
        login, pool_max=settings.database_pool_size, application="gatehouse console", wait_s=settings.database_pool_timeout_s
    )
    if settings.slow_query_threshold_ms:
        watch_engine(engine, settings.slow_query_threshold_ms / 1000, observer.slow_query)
    staleness_s = settings.max_staleness_ms / 1000
    counted = None
    helpers: list[Probe] = []
    if settings.redis_url:
        redis = redis_login(settings.redis_url, settings.redis_auth, settings.redis_cluster)
        # To explain and to purge, never to decide: what cannot be asked is said to be unknown.
        counted = RedisRateLimits(redis, timeout_s=settings.limit_timeout_ms / 1000, on_error="refuse")
        helpers.append(RedisProbe(redis))
    peppered = pepper(settings.pepper, "PEPPER")
    session_key = pepper(settings.session_key, "SESSION_KEY")
    clock, signing = SystemClock(), watch.signer(settings)
    levels = PostgresLevels(engine)
    follower = LogLevelFollower(levels, clock, settings.log_level, observer.set_level)
    rules = SessionRules(settings.session_idle_timeout_s, settings.session_max_age_s, settings.step_up_max_age_s)
    sessions = Sessions(PostgresSessions(engine), clock, session_key, rules, secrets.token_bytes)
    keys = PostgresKeyStore(engine, staleness_s=staleness_s)
    service = KeyService(keys, clock, peppered, settings.key_prefix, secrets.token_bytes, staleness_s)
    return console.create(
        Dependencies(
            keys=keys,
            audit=PostgresAuditTrail(engine),
            cores=PostgresCoreListing(engine),
            usage=PostgresUsageReports(engine),
            checkpoints=PostgresCheckpoints(engine),
            notices=PostgresNotifications(engine),
            clock=clock,
            pepper=peppered,
            cursor_pepper=session_key,
            bootstrap_token=None if settings.bootstrap_token is None else settings.bootstrap_token.get_secret_value(),
            key_prefix=settings.key_prefix,
            key_environment=settings.key_environment,
            default_limit=settings.default_limit,
            staleness_s=staleness_s,
            body_max_bytes=settings.body_max_bytes,
            addresses=asgi.ClientAddresses(settings.trusted_proxies),
            probes=[postgres_engine.DatabaseProbe(engine)],
            observer=observer,
            random_bytes=secrets.token_bytes,
            https=settings.console_url.startswith("https://"),
            sessions=sessions,
            levels=LogLevelService(levels, clock, settings.log_level),
            features_off=features.off(settings.features),
            helpers=helpers,
            origin=_origin(settings.console_url),
            limits=counted,
            counters=counted,
            signer=signing,
            webhook_networks=settings.webhook_networks,
            people=watch.people(settings, clock),
            replays=PostgresIdempotencyStore(engine),
            leaks=leak_door(settings, engine, keys, clock, peppered),
        ),
        chores=[
            *watch.chores(settings, engine, clock, observer, signing),
            *watch.notices(settings, engine, clock, peppered),
            *watch.legacy_files(settings, engine, clock, peppered),
            PeriodicJob("sessions", watch.PRUNE_TURN_S, sessions.prune),
            PeriodicJob("log level", LOOK_S, follower.look),
            PeriodicJob("reseal", watch.RESEAL_TURN_S, Resealer(service, PostgresReseal(engine)).turn),
        ],
        on_stop=[engine.dispose, *([counted.close] if counted else [])],
    )


def _origin(url: str) -> str:
    """As browsers name it: scheme, host, and the port where it is not the scheme's own."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""
