"""Puts the console together: engine, stores, door."""

from __future__ import annotations

import secrets

from gatehouse import observe
from gatehouse.app import watch
from gatehouse.app.leaks import leak_door
from gatehouse.app.peppers import pepper
from gatehouse.doors import asgi
from gatehouse.doors.console import app as console
from gatehouse.doors.console.chores import Chore
from gatehouse.doors.console.parts import Parts
from gatehouse.flows.signing import Resealer
from gatehouse.settings import Settings
from gatehouse.store import postgres_engine
from gatehouse.store.clock import SystemClock
from gatehouse.store.postgres_audit import PostgresAuditTrail
from gatehouse.store.postgres_checkpoints import PostgresCheckpoints
from gatehouse.store.postgres_directory import PostgresDirectory
from gatehouse.store.postgres_keystore import PostgresKeyStore
from gatehouse.store.postgres_login import login
from gatehouse.store.postgres_notices import PostgresNotices
from gatehouse.store.postgres_reseal import PostgresReseal
from gatehouse.store.postgres_usage_reports import PostgresUsageReports
from gatehouse.store.redis_limits import RedisLimits
from gatehouse.store.redis_login import redis_login


def build(settings: Settings) -> asgi.App:
    """Raises SettingsError. Connections are opened by their first use."""
    database = login(
        settings.database_url,
        settings.database_auth,
        settings.database_password.get_secret_value() if settings.database_password else None,
    )
    observer = observe.observer("console", settings.log_level, settings.environment)
    engine = postgres_engine.build(database, pool_max=settings.database_pool_max, application="gatehouse console")
    staleness_s = settings.staleness_ms_max / 1000
    counted = None
    if settings.redis_url:
        redis = redis_login(settings.redis_url, settings.redis_auth, settings.redis_cluster)
        # To explain and to purge, never to decide: what cannot be asked is said to be unknown.
        counted = RedisLimits(redis, timeout_s=settings.limit_timeout_ms / 1000, on_error="refuse")
    peppered = pepper(settings.pepper, "PEPPER")
    clock, signing = SystemClock(), watch.signer(settings)
    keys = PostgresKeyStore(engine, staleness_s=staleness_s)
    return console.create(
        Parts(
            keys=keys,
            audit=PostgresAuditTrail(engine),
            cores=PostgresDirectory(engine),
            usage=PostgresUsageReports(engine),
            checkpoints=PostgresCheckpoints(engine),
            notices=PostgresNotices(engine),
            clock=clock,
            pepper=peppered,
            cursor_pepper=pepper(settings.session_key, "SESSION_KEY"),
            bootstrap_token=None if settings.bootstrap_token is None else settings.bootstrap_token.get_secret_value(),
            key_prefix=settings.key_prefix,
            key_environment=settings.key_environment,
            default_limit=settings.default_limit,
            staleness_s=staleness_s,
            body_bytes_max=settings.body_bytes_max,
            addresses=asgi.ClientAddresses(settings.trusted_proxies),
            probes=[postgres_engine.DatabaseProbe(engine)],
            observer=observer,
            random_bytes=secrets.token_bytes,
            https=settings.console_url.startswith("https://"),
            limits=counted,
            counters=counted,
            signer=signing,
            webhook_networks=settings.webhook_networks,
            people=watch.people(settings, clock),
            leaks=leak_door(settings, engine, keys, clock, peppered),
        ),
        chores=[
            *watch.chores(settings, engine, clock, observer, signing),
            *watch.notices(settings, engine, clock, peppered),
            Chore(
                "reseal", watch.RESEAL_TURN_S, Resealer(keys, PostgresReseal(engine), peppered, clock, secrets.token_bytes).turn
            ),
        ],
        on_stop=[engine.dispose, *([counted.close] if counted else [])],
    )
