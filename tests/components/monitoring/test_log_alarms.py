"""Metric filters and alarms on the trail and on logs."""

import asyncio
import io
import json
from collections.abc import Callable

import pytest
from gatehouse.core.errors import GatehouseError, Unavailable
from gatehouse.core.verification import Code
from gatehouse.features.secrets.denials import LinkNotFound, TooManyDenied
from gatehouse.features.secrets.passphrases import PassphraseRequired, TooManyAttempts
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.tracing.context import RequestTrace

from tests.components.monitoring.alarm_evaluation import alarm_states, matches, series
from tests.components.program import run
from tests.runtime.logged_requests import LoggedRequest


def test_filter_patterns_are_within_cloudwatch_limits() -> None:
    filters = run("prod").inputs("cloudwatch.LogMetricFilter")
    assert len(filters) == 22
    for name, row in filters.items():
        pattern = row["pattern"]
        assert (pattern[:2], pattern[-2:]) == ("{ ", " }")
        assert pattern.count("(") == pattern.count(")")
        assert len(pattern) <= 1024, f"{name}: the maximum is 1024 characters"


def test_values_of_others_do_not_hide_events() -> None:
    program = run("prod")
    for name, row in program.inputs("cloudwatch.LogMetricFilter").items():
        metric, alarm = row["metricTransformation"], program.alarms()[name]
        sources = series(alarm)
        source = sources.get("lines") or sources[""]
        values = [*[float(metric["value"])] * (int(alarm["threshold"]) + 1), -1e9]
        value = sum(values) if source["stat"] == "Sum" else len(values)
        assert value > alarm["threshold"], name
        assert source["stat"] in ("Sum", "SampleCount")
        assert source.get("unit") == metric.get("unit") == "Count", name
        # Otherwise, each minute without events would be a sample.
        assert "defaultValue" not in metric


#: The alarm of each code, if any. A client that may use its key raises none by using it too much
#: or for too much.
ALARMS = {
    **dict.fromkeys(
        (Code.NOT_FOUND, Code.REVOKED, Code.DISABLED, Code.EXPIRED, Code.FORBIDDEN), "keys-rejected"
    ),
    Code.UNAVAILABLE: "keys-unavailable",
    **dict.fromkeys((Code.VALID, Code.RATE_LIMITED, Code.USAGE_EXCEEDED), ""),
    **dict.fromkeys((Code.INSUFFICIENT_PERMISSIONS, Code.SIGNATURE_INVALID), ""),
}


@pytest.mark.alarm_triggered("keys-rejected", "keys-unavailable")
@pytest.mark.parametrize("code", Code)
def test_denied_requests_are_counted_by_verification_code(code: Code) -> None:
    line = logged(
        lambda observer: write_request(observer, 200 if code is Code.VALID else 403, code.value),
        "gateway",
    )
    assert raised(line) == {ALARMS[code]} - {""}


def raised(line: bytes) -> set[str]:
    """The alarms of prod if a line is written once more than their threshold allows. An outage of
    the database, which has an alarm of its own, does not raise them.
    """
    program, event, names = run("prod"), json.loads(line), set()
    for name, row in program.inputs("cloudwatch.LogMetricFilter").items():
        if name.startswith("cis-") or not matches(row["pattern"], event):
            continue
        alarm = program.alarms()[name]
        values = {query: [alarm["threshold"] + 1] * 10 for query in series(alarm)}
        if "database" in values:
            assert alarm_states(alarm, {**values, "database": [60] * 10})[-1] == "OK"
            values["database"] = [1] * 10
        assert alarm_states(alarm, values)[-1] == "ALARM"
        names.add(name)
    return names


def logged(write: Callable[[Observer], None], service: str = "sharing") -> bytes:
    out = io.BytesIO()
    write(Observer(service, "info", "test", Stream(out)))
    (line,) = out.getvalue().splitlines()
    return line


def write_request(observer: Observer, status: int, code: str | None) -> None:
    trace = RequestTrace("req_1", None, sampled=False)
    observer.request(LoggedRequest(trace, "POST", "/s/{link}", "/s/{link}", code=code), status, 0.1)


def request(error: type[GatehouseError] | None) -> Callable[[Observer], None]:
    return lambda observer: write_request(
        observer, *((200, None) if error is None else (error.status, error.code))
    )


@pytest.mark.alarm_triggered("links-denied", "links-locked")
@pytest.mark.parametrize(
    ("error", "alarms"),
    [
        (LinkNotFound, {"links-denied"}),
        (TooManyDenied, {"links-denied"}),
        (TooManyAttempts, {"links-locked"}),
        (PassphraseRequired, set()),
        (Unavailable, set()),
        (None, set()),
    ],
)
def test_denied_links_are_counted_by_error_code(
    error: type[GatehouseError] | None, alarms: set[str]
) -> None:
    assert raised(logged(request(error))) == alarms
    assert raised(logged(request(error), "console")) == set()


@pytest.mark.alarm_triggered("secrets-not-deleted", "usage-not-written")
@pytest.mark.parametrize(
    ("job", "alarms"),
    [
        ("secrets", {"secrets-not-deleted"}),
        ("usage counts", {"usage-not-written"}),
        ("sessions", set()),
    ],
)
async def test_failed_jobs_are_counted(job: str, alarms: set[str]) -> None:
    out, failed = io.BytesIO(), asyncio.Event()

    async def action() -> None:
        if failed.is_set():
            await asyncio.Event().wait()
        failed.set()
        raise Unavailable("S3 is not available")

    task = asyncio.create_task(
        PeriodicJob(job, 0.0, action).run(Observer("console", "info", "test", Stream(out)))
    )
    await asyncio.wait_for(failed.wait(), 60)
    task.cancel()
    (line,) = out.getvalue().splitlines()
    assert raised(line) == alarms


@pytest.mark.parametrize(
    ("stack", "process"), [("dev", "console"), ("staging", "sharing"), ("prod", "console")]
)
def test_link_alarms_follow_the_form_of_the_service(stack: str, process: str) -> None:
    filters = run(stack).inputs("cloudwatch.LogMetricFilter")
    for name in ("links-denied", "links-locked"):
        assert filters[name]["logGroupName"] == f"/gatehouse/{stack}/{process}"
        assert run(stack).alarms()[name]["treatMissingData"] == "notBreaching"
