"""Composition root of the gateway: constructs the dependencies from the settings, in the order in
which they start.
"""

import gc
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from gatehouse.core.clock import Clock
from gatehouse.core.errors import GatehouseError, Unavailable
from gatehouse.core.features import PROXY, Features, off
from gatehouse.core.http.addresses import ClientAddresses
from gatehouse.core.keys import KeyRecord
from gatehouse.core.tokens.imported_tokens import ImportedKeyIds
from gatehouse.core.tokens.token import Pepper, read_pepper
from gatehouse.features.cores.credentials import REFRESH_S, Credentials
from gatehouse.features.cores.reports import REPORT_S, InstanceTraffic
from gatehouse.features.cores.repository import CoreRegistry, CoreRepository
from gatehouse.features.cores.secrets_manager import SecretsManager
from gatehouse.features.cores.service import RegistrationService
from gatehouse.features.keys.canary import MAINTAIN_S, CanaryKey, canary_key
from gatehouse.features.keys.changes_in_valkey import COMMIT_S, READ_S, Announcements
from gatehouse.features.keys.possession import KeyFinder
from gatehouse.features.keys.repository import KeyRepository
from gatehouse.features.keys.service import KeyService
from gatehouse.features.operations.health import Reporter, dependencies, new_worker_id
from gatehouse.features.operations.repository import WorkerReportRepository
from gatehouse.features.operations.service import (
    POLL_S,
    FeatureService,
    LogLevelFollower,
    LogLevelService,
)
from gatehouse.features.usage.cloudwatch_metrics import UsageMetrics
from gatehouse.features.usage.repository import UsageRepository
from gatehouse.features.usage.service import FLUSH_S, UsageCounter, UsageFlusher
from gatehouse.features.verification.cache import KeyCache, Prefilter
from gatehouse.features.verification.change_feed import (
    ChangeFeed,
    Freshness,
    FreshnessProbe,
    apply_announcement,
)
from gatehouse.features.verification.nonces import RedisNonces
from gatehouse.features.verification.rate_limiters import RateLimits
from gatehouse.features.verification.repository import (
    CHARGES_KEPT_S,
    CreditRepository,
    KeyLoader,
    PepperMigration,
)
from gatehouse.features.verification.self_revocation import SelfRevocationService
from gatehouse.features.verification.service import VerificationService
from gatehouse.features.verification.subject_limits import SubjectLimitService
from gatehouse.platform.background import Background, PeriodicJob
from gatehouse.platform.db.pool import DatabaseLogin, DatabaseProbe, database, pool_of
from gatehouse.platform.envoy import process
from gatehouse.platform.envoy.admin import Admin
from gatehouse.platform.envoy.bootstrap import (
    RELAY_CLUSTER,
    UPLOAD_CLUSTER,
    Worker,
    log_path,
    socket_path,
    worker_digits,
)
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.redis.connection import Redis, redis_of
from gatehouse.platform.resolver import SystemResolver
from gatehouse.platform.settings import PUBLISH_S, Settings
from gatehouse.platform.web.application import Application
from gatehouse.platform.web.health import Probe, ServiceHealth
from gatehouse.platform.worker import run_workers
from gatehouse.services.gateway import echo
from gatehouse.services.gateway.access_log import Pipe, PipeMetrics
from gatehouse.services.gateway.adapter import ApiConnection, CheckConnection
from gatehouse.services.gateway.check import check
from gatehouse.services.gateway.clusters import ClusterFile, OwnServer
from gatehouse.services.gateway.completions import Completions
from gatehouse.services.gateway.decide import Decide, decide_by
from gatehouse.services.gateway.instance_states import InstanceStates
from gatehouse.services.gateway.local_server import listen
from gatehouse.services.gateway.relay import STREAM_CHECK_S, Relay
from gatehouse.services.gateway.request import Dependencies
from gatehouse.services.gateway.routes import api_handler
from gatehouse.services.gateway.targets import Targets
from gatehouse.services.gateway.uploads import Upload
from gatehouse.services.tracing import start_tracing

#: Interval at which the requests whose end was not reported are removed.
EXPIRE_S = 1.0


def run(worker: Worker, settings: Settings) -> bool:
    """Runs a worker until SIGTERM. False if it does not start. Raises SettingsError."""
    gateway = Gateway(
        worker=worker,
        settings=settings,
        pepper=read_pepper(settings.pepper, "GATEHOUSE_PEPPER"),
        login=database(settings),
        redis=redis_of(settings),
        clock=Clock(),
        observer=Observer(
            "gateway",
            settings.log_level,
            settings.environment,
            Stream(batched=True),
            namespace=settings.metrics_namespace,
        ),
    )

    async def start(stack: AsyncExitStack) -> None:
        await gateway.start(stack)
        _tune_garbage_collector()

    return run_workers(Application(gateway.observer, start), gateway.relay.shutdown)


@dataclass(eq=False)
class Gateway:
    """Constructs the dependencies of a worker. `stack` closes them.

    decide_api, decide_check: after the start, decide on a request to the API and to a Core.
    """

    worker: Worker
    settings: Settings
    pepper: Pepper
    login: DatabaseLogin
    redis: Redis | None
    observer: Observer
    clock: Clock
    decide_api: Decide = field(init=False)
    decide_check: Decide = field(init=False)
    completions: Completions = field(init=False)

    def __post_init__(self) -> None:
        settings, worker = self.settings, self.worker
        self.stack = AsyncExitStack()
        self.worker_id = new_worker_id()
        self.pool = pool_of(settings, "gatehouse gateway", self.clock)
        self.freshness = Freshness(
            self.clock,
            settings.max_staleness_ms,
            1000 * settings.announced_outage_s,
            1000 * settings.database_outage_max_s,
        )
        self.cache = KeyCache(settings.key_cache_size)
        self.cores = CoreRegistry(self.pool, self.freshness.lease_time)
        self.repository = KeyRepository(
            self.pool,
            staleness_s=settings.max_staleness_ms / 1000,
            outage_s=settings.announced_outage_s,
        )
        self.admin = Admin(worker.folder / process.ADMIN)
        self.relay = Relay(
            environment=settings.key_environment,
            clock=self.clock,
            egress=str(worker.folder / process.EGRESS),
            find_instance=self.cores.find,
            lease_time=self.cores.now,
            max_staleness_ms=settings.max_staleness_ms,
            streams_max=settings.streams_max,
            idle_timeout_s=settings.websocket_idle_timeout_s,
            docs_url=settings.docs_url,
        )

    async def start(self, stack: AsyncExitStack) -> None:
        """Starts the worker, which then listens. Raises the errors of its dependencies."""
        settings, self.stack = self.settings, stack
        await start_tracing(settings, self.observer, stack)
        stack.push_async_callback(self.pool.close)
        await self.pool.open()
        keys, finder = await self._keys()
        self.relay.find_key, self.relay.staleness_ms = keys.load, self.freshness.staleness_ms
        announcements = await self._announcements()
        canary = await self._canary_key()
        usage, flusher = self._usage(canary)
        await self._follow_log_level()
        verification = await self._verification(keys, finder)
        completions = Completions(
            self.observer,
            verification,
            InstanceTraffic(),
            settings.key_requests_max,
            self.cores.find,
        )
        stack.push_async_callback(completions.close)
        stack.push_async_callback(self.admin.close)
        credentials = Credentials(
            SecretsManager(), settings.core_credentials_prefix, time.monotonic, self._on_credential
        )
        clusters = await self._clusters(credentials, await self._echo(canary))
        self._start_jobs(completions, credentials, clusters, flusher, announcements)
        features = await self._features()
        gauges = partial(self._refresh_gauges, completions, flusher)
        health = ServiceHealth(*self._probes(), features, gauges, self.admin.metrics)
        served = Dependencies(
            observer=self.observer,
            addresses=ClientAddresses(settings.trusted_proxies, settings.outer_proxies),
            clock=self.clock,
            services={
                VerificationService: verification,
                SubjectLimitService: SubjectLimitService(keys, verification.limits, self.pepper),
                SelfRevocationService: self._self_revocation(finder, announcements),
                RegistrationService: self._registration(),
                ServiceHealth: health,
            },
            docs_url=settings.docs_url,
            body_max_bytes=settings.body_max_bytes,
            lenient=True,
            verification=verification,
            cores=self.cores,
            credentials=credentials,
            public_host=urlsplit(settings.gateway_url).netloc,
            cores_domain=settings.cores_domain,
            usage=usage,
            completions=completions,
            clusters=clusters,
            targets=Targets(self.cores, settings.key_environment, self.pepper),
            worker_digits=worker_digits(self.worker.number),
            features=features,
        )
        uses = dependencies("gateway", settings, shares=False)
        reporter = Reporter("gateway", uses, health, worker_id=self.worker_id)
        await reporter.start(WorkerReportRepository(self.pool), self.observer, stack)
        await self._listen(served, completions)

    def _start_jobs(
        self,
        completions: Completions,
        credentials: Credentials,
        clusters: ClusterFile | None,
        flusher: UsageFlusher,
        announcements: Announcements | None,
    ) -> None:
        """Starts the jobs of the data path. The worker that writes the clusters also reads the
        state of Envoy.
        """
        observer, cores, freshness = self.observer, self.cores, self.freshness
        states = None if clusters is None else InstanceStates(self.admin, clusters, observer)
        pipe_metrics = PipeMetrics(completions, None if clusters is None else self.admin)

        async def publish_staleness() -> None:
            ages_ms = {
                "StalenessSeconds": freshness.staleness_ms(),
                "DatabaseAgeSeconds": freshness.feed_age_ms(),
            }
            observer.publish({name: age_ms / 1000 for name, age_ms in ages_ms.items()})
            if announcements is not None:
                age_s = freshness.announcements_age_ms() / 1000
                observer.publish({"AnnouncementsAgeSeconds": age_s})

        async def refresh_credentials() -> None:
            await credentials.refresh(cores.settings)
            if clusters is not None:
                clusters.change()

        async def write_reports() -> None:
            found = None if states is None else await states.read()
            report = completions.traffic.end_interval(cores.find, found)
            await CoreRepository(self.pool).write_reports(self.worker_id, report)

        for job in (
            PeriodicJob("core credentials", REFRESH_S, refresh_credentials),
            PeriodicJob("core reports", REPORT_S, write_reports),
            PeriodicJob("usage counts", FLUSH_S, flusher.flush),
            PeriodicJob("staleness", PUBLISH_S, publish_staleness),
            PeriodicJob("completions", PUBLISH_S, pipe_metrics.publish),
            PeriodicJob("streams", STREAM_CHECK_S, self.relay.check, ends_entries=True),
        ):
            job.start(observer, self.stack)

    async def _follow_log_level(self) -> None:
        levels = LogLevelService(self.pool, self.clock, self.settings.log_level)
        follower = LogLevelFollower(levels, self.observer.set_level)
        await follower.run_once()
        PeriodicJob("log level", POLL_S, follower.run_once).start(self.observer, self.stack)

    async def _features(self) -> Features:
        features = Features(self.settings.features)
        switches = FeatureService(self.pool, self.clock, features)
        await switches.apply()
        PeriodicJob("features", POLL_S, switches.apply).start(self.observer, self.stack)
        return features

    def _self_revocation(
        self, finder: KeyFinder[KeyRecord], announcements: Announcements | None
    ) -> SelfRevocationService:
        return SelfRevocationService(
            finder=finder,
            repository=self.repository,
            cache=self.cache,
            clock=self.clock,
            confirmation_timeout_s=self.settings.max_staleness_ms / 1000,
            announcements=announcements,
        )

    def _registration(self) -> RegistrationService:
        return RegistrationService(
            cores=self.cores,
            resolver=SystemResolver(),
            clock=self.clock,
            pepper=self.pepper,
            environment=self.settings.key_environment,
            networks=self.settings.core_networks,
        )

    async def _listen(self, dependencies: Dependencies, completions: Completions) -> None:
        folder, number = self.worker.folder, self.worker.number
        self.completions = completions
        self.decide_api = decide_by(dependencies, api_handler(dependencies))
        self.decide_check = decide_by(dependencies, check)
        pipe = Pipe(log_path(folder, number), completions)
        self.stack.callback(pipe.close)
        PeriodicJob("lost requests", EXPIRE_S, pipe.expire).start(self.observer, self.stack)
        for name, factory in (
            ("check", partial(CheckConnection, self.decide_check, completions)),
            (RELAY_CLUSTER, self.relay.accept),
            (UPLOAD_CLUSTER, lambda: Upload(self.relay.egress).protocol()),
            # the last one, when all are ready
            ("gateway", partial(ApiConnection, self.decide_api, dependencies.body_max_bytes)),
        ):
            server = await listen(socket_path(folder, name, number), factory)
            self.stack.callback(server.close)

    async def _canary_key(self) -> CanaryKey:
        settings = self.settings
        secret = "" if settings.canary_key is None else settings.canary_key.get_secret_value()
        canary = canary_key(KeyService.of(settings, self.pool, self.clock, self.pepper), secret)
        if settings.canary_key is not None and not canary.tokens:
            self.observer.log.warning("no canary key", reason="not a token of this deployment")
        if canary.tokens and self.worker.number == 0:
            with suppress(GatehouseError):  # stored later, while the database is not available
                await canary.store()
            PeriodicJob("canary key", MAINTAIN_S, canary.maintain).start(self.observer, self.stack)
        return canary

    async def _echo(self, canary: CanaryKey) -> OwnServer | None:
        """Adds the Core for the canary key. The first worker serves it."""
        if not canary.tokens or PROXY in off(self.settings.features):
            return None
        core = echo.record(self.pepper, self.settings.key_environment)
        self.cores.serve(core)
        if self.worker.number:
            return None
        return await echo.serve(self.stack, self.worker.folder, self.pepper, core)

    async def _clusters(
        self, credentials: Credentials, own: OwnServer | None
    ) -> ClusterFile | None:
        if self.worker.number:
            return None
        settings = self.settings
        clusters = ClusterFile(
            self.cores,
            credentials,
            self.pepper,
            settings.key_environment,
            SystemResolver(),
            settings.core_networks,
            settings,
            self.worker.folder,
            self.admin,
            self._on_clusters_failure,
            own,
        )
        await clusters.write()
        self.cores.on_change = clusters.change
        background = Background()
        background.start(clusters.run(), "clusters")
        self.stack.push_async_callback(background.stop)
        return clusters

    async def _keys(self) -> tuple[KeyLoader, KeyFinder[KeyRecord]]:
        prefilter, imported_ids = Prefilter(self.pepper), ImportedKeyIds(self.pepper)
        keys = self.keys = KeyLoader(self.pool, self.cache, self.freshness.staleness_ms)
        self.stack.push_async_callback(keys.close)
        changes = ChangeFeed(
            self.login,
            worker_id=self.worker_id,
            keys=keys,
            cores=self.cores,
            prefilter=prefilter,
            imported_ids=imported_ids,
            generations=self.pepper.generations,
            clock=self.clock,
            outage_max_s=self.settings.database_outage_max_s,
            watched_keys=self.relay.key_ids,
            on_key_change=self.relay.key_changed,
            on_interrupted=self._on_feed_interrupted,
        )
        await changes.start()
        self.freshness.feed_age_ms = changes.age_ms
        self.stack.push_async_callback(changes.close)

        async def known_ids() -> ImportedKeyIds:
            return imported_ids

        sources = keys.find, known_ids, self.cache.find, prefilter.plausible
        return keys, KeyFinder(self.pepper, self.settings.key_prefix, *sources)

    async def _announcements(self) -> Announcements | None:
        """The announcements, which are read before the first request. None if they are not used."""
        settings, freshness = self.settings, self.freshness
        redis = redis_of(settings) if settings.announced_outage_s else None
        if redis is None:
            return None
        self.stack.push_async_callback(redis.close)
        announcements = Announcements(
            redis,
            self.pepper,
            self.clock,
            settings.announced_outage_s,
            partial(
                apply_announcement,
                keys=self.keys,
                watched_keys=self.relay.key_ids,
                on_key_change=self.relay.key_changed,
            ),
        )
        freshness.announcements_age_ms = announcements.age_ms

        async def read() -> None:
            with suppress(Unavailable):  # reported by /readyz
                await announcements.read()

        async def commit() -> None:
            if freshness.feed_age_ms() <= settings.max_staleness_ms:
                await announcements.commit(self.repository)

        await read()
        for name, interval_s, action in (
            ("announcements", READ_S, read),
            ("announced revocations", COMMIT_S, commit),
        ):
            PeriodicJob(name, interval_s, action).start(self.observer, self.stack)
        return announcements

    async def _redis_clients(self) -> tuple[RateLimits, RedisNonces | None]:
        if self.redis is not None:
            self.stack.push_async_callback(self.redis.close)
        limits = RateLimits(
            self.redis, on_error=self.settings.limit_on_error, on_degraded=self._on_limiter_degraded
        )
        await limits.start()
        self.stack.push_async_callback(limits.close)
        return limits, None if self.redis is None else RedisNonces(self.redis)

    def _usage(self, canary: CanaryKey) -> tuple[UsageCounter, UsageFlusher]:
        namespace = self.settings.metrics_namespace
        usage = UsageCounter(
            self.cores.__contains__,
            uncounted=canary.ids,
            records_addresses=self.settings.request_addresses,
        )
        cloudwatch = UsageMetrics(namespace, self.clock, self.observer.metric_line)
        if namespace:
            self.stack.callback(cloudwatch.flush)
        flusher = UsageFlusher(
            usage,
            UsageRepository(self.pool),
            self.clock,
            worker_id=self.worker_id,
            metrics=self.observer.metrics,
            cloudwatch=cloudwatch if namespace else None,
        )
        self.stack.push_async_callback(flusher.close)
        return usage, flusher

    def _probes(self) -> tuple[list[Probe], list[Probe]]:
        """Required probes, and optional probes whose failure only degrades the gateway: it can
        decide while the key state is fresh.
        """
        bound_ms, freshness = self.settings.max_staleness_ms, self.freshness
        required: list[Probe] = [FreshnessProbe("keys", freshness.staleness_ms, bound_ms)]
        optional: list[Probe] = [DatabaseProbe(self.pool)]
        if self.settings.announced_outage_s:
            age_ms = freshness.announcements_age_ms
            optional.append(FreshnessProbe("announcements", age_ms, bound_ms))
        if self.redis is not None:
            (required if self.settings.limit_on_error == "deny" else optional).append(self.redis)
        return required, optional

    async def _verification(
        self, keys: KeyLoader, finder: KeyFinder[KeyRecord]
    ) -> VerificationService:
        limits, nonces = await self._redis_clients()
        migration = PepperMigration(self.pool, self.repository, self.pepper)
        self.stack.push_async_callback(migration.close)
        credits = CreditRepository(self.pool)
        if self.worker.number == 0:
            PeriodicJob("charges", CHARGES_KEPT_S, credits.forget_charges).start(
                self.observer, self.stack
            )
        return VerificationService(
            keys=keys,
            limits=limits,
            credits=credits,
            finder=finder,
            nonces=nonces,
            on_old_pepper=migration.add,
            clock=self.clock,
            environment=self.settings.key_environment,
            default_limits=(self.settings.default_limit,),
            max_staleness_ms=self.settings.max_staleness_ms,
        )

    def _refresh_gauges(self, completions: Completions, flusher: UsageFlusher) -> None:
        metrics, freshness = self.observer.metrics, self.freshness
        metrics.staleness_seconds.set(freshness.staleness_ms() / 1000)
        metrics.database_age_seconds.set(freshness.feed_age_ms() / 1000)
        metrics.cached_keys.set(len(self.cache))
        metrics.cores.set(len(self.cores))
        metrics.requests_in_progress.set(len(completions))
        metrics.usage_pending.set(flusher.pending)
        metrics.streams.set(len(self.relay))

    def _on_limiter_degraded(self, reason: str) -> None:
        self.observer.metrics.rate_limiter_degraded.inc()
        self.observer.log.warning("rate limiter degraded", reason=reason)

    def _on_clusters_failure(self, reason: str) -> None:
        self.observer.metrics.background_job_failures.labels("clusters").inc()
        self.observer.log.error("clusters were not written", reason=reason)

    def _on_credential(self, core: str, reason: str) -> None:
        self.observer.log.warning("core credential", core=core, reason=reason)

    def _on_feed_interrupted(self, reason: str) -> None:
        self.observer.metrics.change_feed_gaps.inc()
        self.observer.log.warning("change feed interrupted", reason=reason)


def _tune_garbage_collector() -> None:
    """Excludes objects that live as long as the worker from garbage collection, and makes
    collections less frequent.

    In measurements, this halved the p99 latency.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
