"""Health of a deployment: what each worker reports about itself and about the systems on which it
depends, and the state that follows from the reports of all workers.

A worker is the only one that knows whether its calls succeed: it has its own role, network and
connections. The state of a system therefore rests on the last calls of the workers that use it.
"""

import os
import secrets
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from gatehouse import __version__
from gatehouse.core.clock import monotonic, rfc3339
from gatehouse.core.errors import Unavailable
from gatehouse.core.health import HEALTH_STATES, HealthState
from gatehouse.features.operations.schemas import DependencyHealth, HealthView, InstanceHealth
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.calls import DEPENDENCIES, Dependency, last_calls
from gatehouse.platform.observability import Observer
from gatehouse.platform.settings import Settings, SharingSettings
from gatehouse.platform.web.health import ServiceHealth, readiness

#: Interval between two reports of a worker. Each report of the sharing service is a billed write.
REPORT_S, SHARING_REPORT_S = 5.0, 20.0

#: Intervals without a report after which a worker is not healthy, and after which its lease ends.
LATE_REPORTS, LEASE_REPORTS = 3, 12

#: Time in seconds for which a failure counts although other workers of the service have called the
#: same operation successfully since.
FAILURE_S = 300.0

_ORDER: Sequence[HealthState] = tuple(HEALTH_STATES)


class CallAges(msgspec.Struct, frozen=True):
    """The last calls of an operation. Ages in seconds at the time of the report; None: there was no
    such call.
    """

    succeeded_s: float | None = None
    failed_s: float | None = None
    problem: str = ""


class WorkerReport(msgspec.Struct, frozen=True):
    """What a worker reports. Members that another version does not write have defaults.

    id: of the worker. instance: of the container, or of the process that started the workers.
    status, checks: see `Readiness`. calls: the last calls by operation, of each system that it
    uses. every_s: interval between two reports.
    """

    id: str
    service: str
    instance: str
    version: str = ""
    status: str = "ready"
    checks: dict[str, str] = {}
    calls: dict[str, dict[str, CallAges]] = {}
    every_s: float = REPORT_S


#: A report and its time in Unix seconds.
Reported = tuple[WorkerReport, float]


class ReportStore(Protocol):
    """Stores the reports of workers. Methods raise Unavailable."""

    async def write(self, report: WorkerReport) -> None: ...
    async def remove(self, worker_id: str) -> None: ...


def new_worker_id() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def dependencies(service: str, settings: SharingSettings, *, shares: bool) -> list[Dependency]:
    """The systems that a service uses with these settings. shares: secret sharing is configured."""
    used: dict[Dependency, bool] = dict.fromkeys(("DynamoDB", "S3", "KMS"), shares)
    if isinstance(settings, Settings):
        used["trace collector"] = bool(settings.traces_endpoint)
    if service != "sharing" and isinstance(settings, Settings):
        used |= {"PostgreSQL": True, "Redis": bool(settings.redis_url)}
    if service == "gateway" and isinstance(settings, Settings):
        used["Secrets Manager"] = bool(settings.core_credentials_prefix)
    if service == "console" and isinstance(settings, Settings):
        files = (settings.checkpoint_archive, *settings.legacy_files)
        used |= {
            "S3": shares or any(file.startswith("s3:") for file in files),
            "KMS": shares or bool(settings.checkpoint_key),
            "SNS": bool(settings.notification_topic),
            "SES": bool(settings.notification_sender),
            "CloudWatch Logs": settings.logs.startswith("cloudwatch:"),
            "identity provider": bool(settings.oidc_issuer),
        }
    return [each for each in DEPENDENCIES if used.get(each)]


@dataclass(frozen=True, slots=True)
class Reporter:
    """Creates the reports of a worker."""

    service: str
    uses: Collection[Dependency]
    health: ServiceHealth
    worker_id: str = field(default_factory=new_worker_id)

    @property
    def every_s(self) -> float:
        """Interval between two reports."""
        return SHARING_REPORT_S if self.service == "sharing" else REPORT_S

    async def report(self) -> WorkerReport:
        found, _ = await readiness(self.health)
        now = monotonic()

        def age(at: float | None) -> float | None:
            return None if at is None else round(now - at, 1)

        calls = {
            each: {
                operation: CallAges(age(last.succeeded_at), age(last.failed_at), last.problem)
                for operation, last in last_calls(each).items()
            }
            for each in self.uses
        }
        return WorkerReport(
            id=self.worker_id,
            service=self.service,
            instance=f"{socket.gethostname()}:{os.getppid()}",
            version=__version__,
            status=found.status,
            checks={**found.checks},
            calls={str(name): ages for name, ages in calls.items()},
            every_s=self.every_s,
        )

    async def start(self, store: ReportStore, observer: Observer, stack: AsyncExitStack) -> None:
        """Writes a report now and periodically. The exit stack removes it."""

        async def write() -> None:
            with suppress(Unavailable):  # reported by /readyz
                await store.write(await self.report())

        async def remove() -> None:
            with suppress(Unavailable):
                await store.remove(self.worker_id)

        await write()
        stack.push_async_callback(remove)
        PeriodicJob("health reports", self.every_s, write).start(observer, stack)


def health_of(
    reports: Iterable[Reported],
    unreported: Mapping[str, float],
    expected: Collection[str],
    now: float,
) -> HealthView:
    """The health of a deployment at the time `now`, in Unix seconds.

    unreported: gateway workers of earlier versions, each with the time when it was last seen.
    expected: services that must have a worker.
    """
    live = [(report, at) for report, at in reports if now - at < report.every_s * LEASE_REPORTS]
    instances: list[InstanceHealth] = [
        *_instances(live, now),
        *(_earlier_instance(worker, at) for worker, at in unreported.items()),
    ]
    missing = {*expected} - {instance.service for instance in instances}
    instances += [
        InstanceHealth(service, None, None, 0, "no_report", None, {}) for service in missing
    ]
    systems = [row for name in DEPENDENCIES for row in _systems(name, live, now)]
    instances.sort(key=lambda row: (_ORDER.index(row.state), row.service, row.instance or ""))
    systems.sort(key=lambda row: _ORDER.index(row.state))
    working = {row.service for row in instances if row.state in ("ok", "degraded")}
    states = {row.state for row in instances} | {row.state for row in systems}
    state: HealthState = "ok"
    if not working.issuperset(("gateway", "console")) and not unreported:
        state = "unavailable"
    elif states & {"unavailable", "no_report", "degraded"}:
        state = "degraded"
    versions = sorted({row.version for row in instances if row.version})
    return HealthView(state, rfc3339(now, "milliseconds"), versions, systems, instances)


def _instances(live: Sequence[Reported], now: float) -> list[InstanceHealth]:
    workers: dict[tuple[str, str, str], list[Reported]] = {}
    for report, at in live:
        workers.setdefault((report.service, report.instance, report.version), []).append(
            (report, at)
        )
    return [
        _instance(service, instance, version, each, now)
        for (service, instance, version), each in workers.items()
    ]


def _instance(
    service: str, instance: str, version: str, workers: Sequence[Reported], now: float
) -> InstanceHealth:
    """The health of the workers of an instance: the worst of each check, and the oldest report."""
    checks: dict[str, str] = {
        name: _worst(report.checks.get(name, "") for report, _ in workers)
        for name in dict.fromkeys(name for report, _ in workers for name in report.checks)
    }
    is_late = any(now - at > report.every_s * LATE_REPORTS for report, at in workers)
    status = _worst(report.status for report, _ in workers)
    seen_at = rfc3339(min(at for _, at in workers), "milliseconds")
    state: HealthState = "no_report" if is_late else status
    return InstanceHealth(service, instance, version, len(workers), state, seen_at, checks)


def _worst(states: Iterable[str]) -> HealthState:
    """The worst of several results of /readyz, in which `ready` is the best status."""
    found = {*states}
    return next((state for state in _ORDER if state in found), "ok")


def _earlier_instance(worker: str, at: float) -> InstanceHealth:
    seen_at = rfc3339(at, "milliseconds")
    return InstanceHealth("gateway", worker, None, 1, "no_report", seen_at, {})


class _Calls(msgspec.Struct, frozen=True):
    """The last calls of an operation by a worker, in Unix seconds; 0: there was no such call."""

    worker: str
    operation: str
    succeeded_at: float
    failed_at: float
    problem: str


def _systems(name: str, live: Sequence[Reported], now: float) -> list[DependencyHealth]:
    """The health of a system for each service that uses it."""
    services: dict[str, list[_Calls]] = {}
    for report, at in live:
        if name in report.calls:
            services.setdefault(report.service, []).extend(
                _Calls(
                    report.id,
                    operation,
                    _time(at, ages.succeeded_s),
                    _time(at, ages.failed_s),
                    ages.problem,
                )
                for operation, ages in report.calls[name].items()
            )
    if not services:
        return [DependencyHealth(name, None, "not_configured", None, None, None)]
    return [_system(name, service, calls, now) for service, calls in sorted(services.items())]


def _time(at: float, age_s: float | None) -> float:
    return 0.0 if age_s is None else at - age_s


def _system(name: str, service: str, calls: Sequence[_Calls], now: float) -> DependencyHealth:
    """unavailable: the last call of each worker has failed. degraded: of some workers, or of some
    operations.
    """
    failing = [each for each in calls if _fails(each, calls, now)]
    last: dict[str, bool] = {}
    for each in sorted(calls, key=lambda each: max(each.succeeded_at, each.failed_at)):
        last[each.worker] = each in failing
    state: HealthState = "ok"
    if not calls:
        state = "not_called"
    elif failing:
        state = "unavailable" if all(last.values()) else "degraded"
    newest = max(failing, key=lambda each: each.failed_at, default=None)
    problem = None
    if newest is not None:
        problem = f"{newest.operation}: {newest.problem}" if newest.operation else newest.problem
    return DependencyHealth(
        name,
        service,
        state,
        _instant(max((each.succeeded_at for each in calls), default=0.0)),
        _instant(max((each.failed_at for each in calls), default=0.0)),
        problem,
    )


def _fails(calls: _Calls, others: Sequence[_Calls], now: float) -> bool:
    """The last call of an operation by a worker has failed, recently or as that of the others."""
    if calls.failed_at <= calls.succeeded_at:
        return False
    return now - calls.failed_at < FAILURE_S or not any(
        each.operation == calls.operation and each.succeeded_at > calls.failed_at for each in others
    )


def _instant(at: float) -> str | None:
    return rfc3339(at, "milliseconds") if at else None
