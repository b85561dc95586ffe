"""Puts the gateway together: database, key cache, limiter, Cores, upstream side, service."""

from __future__ import annotations

import gc
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from gatehouse import observability as observe
from gatehouse.clock import SystemClock
from gatehouse.cores.circuit_breaker import CircuitBreakers, CircuitState
from gatehouse.cores.repository import PostgresCores
from gatehouse.cores.resolver import SystemResolver
from gatehouse.cores.response_cache import ResponseCache
from gatehouse.cores.service import RegistrationService
from gatehouse.cores.upstream import UpstreamClients
from gatehouse.crypto.pepper import pepper
from gatehouse.db.connection import DatabaseLogin, database
from gatehouse.db.slow_queries import watch_connection
from gatehouse.errors import Unavailable
from gatehouse.gateway import routes as gateway
from gatehouse.http import asgi
from gatehouse.http.lifespan import LifespanApp
from gatehouse.http.models import Probe
from gatehouse.keys.self_revocation import PostgresSelfRevocations
from gatehouse.keys.service import SelfRevocation
from gatehouse.operations import features
from gatehouse.operations.log_level_reader import PoolLevels
from gatehouse.operations.service import LogLevelFollower
from gatehouse.redis.credentials import redis_login
from gatehouse.redis.nonces import RedisNonces
from gatehouse.request_log import Stream
from gatehouse.settings import Settings
from gatehouse.usage.cloudwatch import UsageMetrics
from gatehouse.usage.models import UnusualUse
from gatehouse.usage.repository import PostgresUsage
from gatehouse.usage.service import UsageCounter, UsageFlusher
from gatehouse.verification.cache import KeyCache
from gatehouse.verification.change_feed import PostgresChanges
from gatehouse.verification.credits import PostgresCredits
from gatehouse.verification.imported_keys import ImportedKeyIds, ImportedKeys, PostgresLegacyHashes
from gatehouse.verification.local_rate_limits import LocalLimits
from gatehouse.verification.models import Limits
from gatehouse.verification.pepper_migration import PepperMigration
from gatehouse.verification.prefilter import Prefilter
from gatehouse.verification.probes import FreshnessProbe, PoolProbe, RedisProbe
from gatehouse.verification.redis_rate_limits import RedisLimits
from gatehouse.verification.repository import PostgresKeys
from gatehouse.verification.service import VerificationService


def build(settings: Settings) -> asgi.App:
    """Raises SettingsError at once; what the neighbours say comes when the server starts it."""
    secrets_of_keys = pepper(settings.pepper, "PEPPER")
    login = database(settings)
    redis = redis_login(settings.redis_url, settings.redis_auth, settings.redis_cluster) if settings.redis_url else None
    stream = Stream()
    observer = observe.observer("gateway", settings.log_level, settings.environment, stream=stream)

    @asynccontextmanager
    async def start() -> AsyncIterator[asgi.App]:
        async with AsyncExitStack() as stack:
            clock = SystemClock()
            worker_id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
            cache = KeyCache(settings.key_cache_size)
            pool = await _pool(login, settings, observer)
            stack.push_async_callback(pool.close)
            cores = PostgresCores(pool)
            prefilter, imported = Prefilter(secrets_of_keys), ImportedKeyIds(secrets_of_keys)
            changes = PostgresChanges(
                login,
                worker_id=worker_id,
                cache=cache,
                cores=cores,
                on_lost=lambda kind: _changes_lost(observer, kind),
                prefilter=prefilter,
                foreign=imported,
                generations=secrets_of_keys.generations,
            )
            await changes.start()
            stack.push_async_callback(changes.close)
            keys = PostgresKeys(pool, cache, changes.staleness_ms, plausible=prefilter.plausible)
            stack.push_async_callback(keys.close)
            rewrap = PepperMigration(pool, secrets_of_keys, live_s=2 * settings.max_staleness_ms / 1000)
            stack.push_async_callback(rewrap.close)
            foreign = ImportedKeys(keys, PostgresLegacyHashes(pool, cache), clock, secrets_of_keys, imported)
            limits: Limits = LocalLimits()
            nonces: RedisNonces | None = None
            redis_probes: list[Probe] = []
            if redis is not None:
                counted = RedisLimits(
                    redis,
                    timeout_s=settings.limit_timeout_ms / 1000,
                    on_error=settings.limit_on_error,
                    on_degraded=lambda kind: _limiter_degraded(observer, kind),
                )
                await counted.start()
                stack.push_async_callback(counted.close)
                limits = counted
                nonces = RedisNonces(redis, timeout_s=settings.limit_timeout_ms / 1000)
                stack.push_async_callback(nonces.close)
                redis_probes = [RedisProbe(redis)]
            resolver = SystemResolver()
            upstream = UpstreamClients(resolver, settings.core_networks, read_timeout_s=settings.core_timeout_s)
            stack.push_async_callback(upstream.close)
            metrics = observer.metrics
            reach = CircuitBreakers(
                upstream,
                time.monotonic,
                failures_max=settings.circuit_breaker_failures,
                rest_s=settings.circuit_breaker_reset_s,
                retry_share=settings.retry_budget_percent / 100,
                on_circuit=lambda name, phase: _circuit(observer, name, phase),
                on_retry=lambda allowed: metrics.core_retries.labels("sent" if allowed else "over_budget").inc(),
            )
            refuses = settings.limit_on_error == "refuse"
            usage = UsageCounter()
            counted_use = UsageMetrics(settings.metrics_namespace, clock, observe.metric_lines(observer.service, stream))
            if settings.metrics_namespace:
                stack.callback(counted_use.flush)
            flusher = UsageFlusher(
                usage,
                PostgresUsage(pool),
                clock,
                worker_id=worker_id,
                is_core=lambda name: cores.find(name) is not None,
                on_flush=metrics.usage_written.inc,
                on_failure=lambda kind: _usage_delayed(observer, kind),
                on_unusual=lambda unusual: _unusual(observer, unusual),
                **({"on_batch": counted_use.add} if settings.metrics_namespace else {}),
            )
            flusher.start()
            stack.push_async_callback(flusher.close)

            def refresh_gauges() -> None:
                metrics.staleness.set(changes.staleness_ms() / 1000)
                metrics.cached_keys.set(len(cache))
                metrics.cores.set(len(cores))
                metrics.core_circuits.set(reach.open_circuits(cores.find))
                metrics.usage_waiting.set(flusher.waiting)

            service = gateway.create(
                gateway.Dependencies(
                    admission=VerificationService(
                        keys=keys,
                        limits=limits,
                        clock=clock,
                        pepper=secrets_of_keys,
                        prefix=settings.key_prefix,
                        environment=settings.key_environment,
                        default_limit=settings.default_limit,
                        max_staleness_ms=settings.max_staleness_ms,
                        credits=PostgresCredits(pool),
                        rewrap=rewrap.offer,
                        foreign=foreign,
                        nonces=nonces,
                    ),
                    self_revocation=SelfRevocation(
                        keys=keys,
                        revocations=PostgresSelfRevocations(pool, cache, staleness_s=settings.max_staleness_ms / 1000),
                        clock=clock,
                        pepper=secrets_of_keys,
                        prefix=settings.key_prefix,
                        foreign=foreign,
                        bound_s=settings.max_staleness_ms / 1000,
                    ),
                    registrar=RegistrationService(
                        cores=cores,
                        resolver=resolver,
                        clock=clock,
                        pepper=secrets_of_keys,
                        environment=settings.key_environment,
                        networks=settings.core_networks,
                        core_lease_max_s=settings.core_lease_max_s,
                    ),
                    cores=cores,
                    reach=reach,
                    pepper=secrets_of_keys,
                    clock=clock,
                    addresses=asgi.ClientAddresses(settings.trusted_proxies),
                    usage=usage,
                    observer=observer,
                    probes=[
                        PoolProbe(pool),
                        FreshnessProbe(changes.staleness_ms, settings.max_staleness_ms),
                        *(redis_probes if refuses else []),
                    ],
                    helpers=[] if refuses else redis_probes,
                    refresh_gauges=refresh_gauges,
                    body_max_bytes=settings.body_max_bytes,
                    core_cache=ResponseCache(settings.core_cache_max_bytes) if settings.core_cache_max_bytes else None,
                    features_off=features.off(settings.features),
                )
            )
            follower = LogLevelFollower(PoolLevels(pool), clock, settings.log_level, observer.set_level)
            follower.start()
            stack.push_async_callback(follower.close)
            _calm_garbage_collector()
            yield service

    return LifespanApp(start, observer)


async def _pool(login: DatabaseLogin, settings: Settings, observer: observe.Observer) -> asyncpg.Pool[asyncpg.Record]:
    async def opened(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        watch_connection(connection, settings.slow_query_threshold_ms / 1000, observer.slow_query)

    try:
        pool: asyncpg.Pool[asyncpg.Record] = await asyncpg.create_pool(
            **login.arguments(),
            min_size=1,
            max_size=settings.database_pool_size,
            server_settings={"application_name": "gatehouse gateway"},
            init=opened if settings.slow_query_threshold_ms else None,
        )
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as exc:
        raise Unavailable(
            f"cannot log in to PostgreSQL at {login.address} as {login.user} ({type(exc).__name__}):"
            " check GATEHOUSE_DATABASE_URL, GATEHOUSE_DATABASE_AUTH and that the server runs"
        ) from exc
    return pool


def _limiter_degraded(observer: observe.Observer, kind: str) -> None:
    observer.metrics.limiter_degraded.inc()
    observer.log.warning("limiter degraded", service=observer.service, reason=kind)


def _circuit(observer: observe.Observer, name: str, phase: CircuitState) -> None:
    observer.metrics.core_circuit.labels(phase.value).inc()
    observer.log.warning("core circuit", service=observer.service, core=name, circuit=phase.value)


def _changes_lost(observer: observe.Observer, kind: str) -> None:
    observer.metrics.changes_lost.inc()
    observer.log.warning("key changes lost", service=observer.service, reason=kind)


def _usage_delayed(observer: observe.Observer, kind: str) -> None:
    observer.metrics.usage_delayed.inc()
    observer.log.warning("use not written yet", service=observer.service, reason=kind)


def _unusual(observer: observe.Observer, unusual: UnusualUse) -> None:
    observer.metrics.unusual.labels(unusual.kind).inc()
    observer.log.warning("unusual use", service=observer.service, key_id=unusual.key_id, kind=unusual.kind)


def _calm_garbage_collector() -> None:
    """What was built so far stays for good: collections need not look at it, nor come so often (measured: halves p99)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
