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

from gatehouse import observe
from gatehouse.app.database import database
from gatehouse.app.hosted import Hosted
from gatehouse.app.peppers import pepper
from gatehouse.core import features
from gatehouse.core.circuit import Phase
from gatehouse.core.corecache import CoreCache
from gatehouse.core.foreign import Foreign
from gatehouse.doors import asgi
from gatehouse.doors.gateway import app as gateway
from gatehouse.errors import Unavailable
from gatehouse.flows.admit import Admission
from gatehouse.flows.foreign import ForeignTokens
from gatehouse.flows.log_level import LevelFollower
from gatehouse.flows.reach import Reach
from gatehouse.flows.register import Registrar
from gatehouse.flows.revoke import SelfRevocation
from gatehouse.flows.usage import UsageCounter, UsageFlusher
from gatehouse.flows.usage_metrics import UsageMetrics
from gatehouse.request_lines import Stream
from gatehouse.settings import Settings
from gatehouse.store.clock import SystemClock
from gatehouse.store.gateway_level import PoolLevels
from gatehouse.store.gateway_queries import watch_connection
from gatehouse.store.keycache import KeyCache
from gatehouse.store.local_limits import LocalLimits
from gatehouse.store.ports import Limits, Probe
from gatehouse.store.ports_usage import Unusual
from gatehouse.store.postgres_changes import PostgresChanges
from gatehouse.store.postgres_cores import PostgresCores
from gatehouse.store.postgres_credits import PostgresCredits
from gatehouse.store.postgres_foreign import PostgresForeignHashes
from gatehouse.store.postgres_keys import PostgresKeys
from gatehouse.store.postgres_login import Login
from gatehouse.store.postgres_rewrap import PostgresRewrap
from gatehouse.store.postgres_selfrevoke import PostgresSelfRevocations
from gatehouse.store.postgres_usage import PostgresUsage
from gatehouse.store.prefilter import Prefilter
from gatehouse.store.probes import FreshnessProbe, PoolProbe, RedisProbe
from gatehouse.store.redis_limits import RedisLimits
from gatehouse.store.redis_login import redis_login
from gatehouse.store.redis_nonces import RedisNonces
from gatehouse.store.resolve import SystemResolver
from gatehouse.store.upstream import Upstreams


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
            prefilter, imported = Prefilter(secrets_of_keys), Foreign(secrets_of_keys)
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
            rewrap = PostgresRewrap(pool, secrets_of_keys, live_s=2 * settings.max_staleness_ms / 1000)
            stack.push_async_callback(rewrap.close)
            foreign = ForeignTokens(keys, PostgresForeignHashes(pool, cache), clock, secrets_of_keys, imported)
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
            upstream = Upstreams(resolver, settings.core_networks, read_timeout_s=settings.core_timeout_s)
            stack.push_async_callback(upstream.close)
            metrics = observer.metrics
            reach = Reach(
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
                gateway.Parts(
                    admission=Admission(
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
                    registrar=Registrar(
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
                    core_cache=CoreCache(settings.core_cache_max_bytes) if settings.core_cache_max_bytes else None,
                    features_off=features.off(settings.features),
                )
            )
            follower = LevelFollower(PoolLevels(pool), clock, settings.log_level, observer.set_level)
            follower.start()
            stack.push_async_callback(follower.close)
            _calm_garbage_collector()
            yield service

    return Hosted(start, observer)


async def _pool(login: Login, settings: Settings, observer: observe.Observer) -> asyncpg.Pool[asyncpg.Record]:
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


def _circuit(observer: observe.Observer, name: str, phase: Phase) -> None:
    observer.metrics.core_circuit.labels(phase.value).inc()
    observer.log.warning("core circuit", service=observer.service, core=name, circuit=phase.value)


def _changes_lost(observer: observe.Observer, kind: str) -> None:
    observer.metrics.changes_lost.inc()
    observer.log.warning("key changes lost", service=observer.service, reason=kind)


def _usage_delayed(observer: observe.Observer, kind: str) -> None:
    observer.metrics.usage_delayed.inc()
    observer.log.warning("use not written yet", service=observer.service, reason=kind)


def _unusual(observer: observe.Observer, unusual: Unusual) -> None:
    observer.metrics.unusual.labels(unusual.kind).inc()
    observer.log.warning("unusual use", service=observer.service, key_id=unusual.key_id, kind=unusual.kind)


def _calm_garbage_collector() -> None:
    """What was built so far stays for good: collections need not look at it, nor come so often (measured: halves p99)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
