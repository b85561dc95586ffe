"""Metric filters and alarms on the CloudTrail trail and on the logs of the services."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from gatehouse.background import PeriodicJob
from gatehouse.errors import GatehouseError, Unavailable
from gatehouse.observability import Observer, Stream
from gatehouse.sharing.denials import LinkNotFound, TooManyDenied
from gatehouse.sharing.links import HONEY_EVENT, PassphraseRequired, TooManyAttempts
from gatehouse.sharing.worker import REPORT_EVENT
from gatehouse.tracing.context import RequestTrace
from gatehouse.verification.models import Code

from components.monitoring import log_alarms
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS

CIS = {
    *("cis-unauthorized-calls", "cis-no-mfa", "cis-root", "cis-iam-changes", "cis-trail-changes", "cis-sign-in-failures"),
    *("cis-key-deletion", "cis-bucket-policies", "cis-config-changes", "cis-security-groups", "cis-network-acls"),
    *("cis-gateways", "cis-routes", "cis-vpcs", "cis-organization"),
}


def resource_inputs(stack: str, kind: str) -> dict[str, dict[str, Any]]:
    return {a.name: a.inputs for a in run(stack).of_type(kind)}


@pytest.mark.requirement("CG-21", "ECS-05")
@pytest.mark.parametrize("stack", STACKS)
def test_cis_events_have_metric_filter_and_alarm(stack: str) -> None:
    filters = resource_inputs(stack, "cloudwatch/logMetricFilter:LogMetricFilter")
    alarms = run(stack).alarms()
    assert {name for name in filters if name.startswith("cis-")} == CIS
    for name in CIS:
        metric = filters[name]["metricTransformation"]
        assert filters[name]["logGroupName"] == f"/gatehouse/{stack}/trail"
        assert (alarms[name]["namespace"], alarms[name]["metricName"]) == (metric["namespace"], metric["name"])
        assert alarms[name]["statistic"] == "Sum"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("cis-trail-changes", '{ ($.eventName = "CreateTrail") || ($.eventName = "UpdateTrail")'),
        ("cis-routes", '{ ($.eventSource = "ec2.amazonaws.com") && (($.eventName = "CreateRoute")'),
    ],
)
def test_cis_filter_matches_api_calls_of_service(name: str, pattern: str) -> None:
    (metric_filter,) = (row for row in log_alarms.account_filters() if row.name == name)
    assert metric_filter.pattern.startswith(pattern)


def test_filter_patterns_are_within_cloudwatch_limits() -> None:
    for metric_filter in (
        *log_alarms.account_filters(),
        *log_alarms.gateway_filters(1),
        *log_alarms.link_filters(1),
        *log_alarms.secret_filters(),
    ):
        assert metric_filter.pattern.startswith("{ ")
        assert metric_filter.pattern.endswith(" }")
        assert metric_filter.pattern.count("(") == metric_filter.pattern.count(")")
        assert len(metric_filter.pattern) <= 1024, f"{metric_filter.name}: the maximum is 1024 characters"


@pytest.mark.requirement("CG-21")
@pytest.mark.parametrize("stack", STACKS)
def test_denied_keys_are_filters_by_verification_code(stack: str) -> None:
    filters = resource_inputs(stack, "cloudwatch/logMetricFilter:LogMetricFilter")
    for name in ("keys-rejected", "keys-unavailable"):
        codes = set(re.findall(r'\$\.code = "(\w+)"', filters[name]["pattern"]))
        assert codes <= {code.value for code in Code} - {Code.VALID.value}
        assert codes
        assert filters[name]["logGroupName"] == f"/gatehouse/{stack}/gateway"


@pytest.mark.requirement("CG-21", "CG-22")
def test_unusual_use_filter_matches_gateway_log_line() -> None:
    pattern = resource_inputs("prod", "cloudwatch/logMetricFilter:LogMetricFilter")["keys-abused"]["pattern"]
    alarm = run("prod").alarms()["keys-abused"]
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (0, "GreaterThanThreshold")
    event, kind = re.findall(r'= "([^"]+)"', pattern)
    assert f'log.warning("{event}"' in (ROOT / "runtime/gatehouse/usage/service.py").read_text()
    assert f'UnusualUse(key_id, "{kind}"' in (ROOT / "runtime/gatehouse/usage/repository.py").read_text()


@pytest.mark.requirement("ECS-05", "CG-16")
@pytest.mark.parametrize("stack", STACKS)
def test_trail_records_data_events_of_sensitive_resources(stack: str) -> None:
    (trail,) = resource_inputs(stack, "cloudtrail/trail:Trail").values()
    recorded = {}
    for selector in trail["advancedEventSelectors"]:
        fields = {field["field"]: field for field in selector["fieldSelectors"]}
        if "resources.type" in fields:
            recorded[fields["resources.type"]["equals"][0]] = fields["resources.ARN"]["startsWiths"]
    assert set(recorded) == {"AWS::S3::Object", "AWS::DynamoDB::Table", "AWS::Lambda::Function"}
    assert recorded["AWS::Lambda::Function"] == [f"arn:aws:lambda:eu-west-1:123456789012:function:gatehouse-{stack}-rotate"]
    regions = ["eu-west-1", "eu-central-1"] if stack == "prod" else ["eu-west-1"]
    buckets = [*(("data", region) for region in regions), ("secrets", "eu-west-1")]
    names = [f"arn:aws:s3:::gatehouse-{stack}-{bucket}-123456789012-{region}/" for bucket, region in buckets]
    assert recorded["AWS::S3::Object"] == names


def matches(pattern: str, line: bytes) -> bool:
    """Evaluate a filter pattern of equalities, `&&`, `||` and parentheses over a JSON line."""
    fields = json.loads(line)
    expression = re.sub(r'\(\$\.(\w+) = (\*|"[^"]*")\)', lambda test: str(_is_equal(fields, *test.groups())), pattern)
    assert re.fullmatch(r"\{ [\s()TrueFals|&]+ \}", expression), f"{pattern}: not evaluated"
    value = eval(expression.strip("{} ").replace("&&", "and").replace("||", "or"))  # noqa: S307 - of True and False only
    return bool(value)


def _is_equal(fields: dict[str, Any], name: str, text: str) -> bool:
    return name in fields and (text == "*" or fields[name] == text.strip('"'))


def logged(write: Callable[[Observer], None], service: str = "sharing") -> bytes:
    out = io.BytesIO()
    write(Observer(service, "info", "test", Stream(out)))
    (line,) = out.getvalue().splitlines()
    return line


def request(error: type[GatehouseError] | None) -> Callable[[Observer], None]:
    return lambda observer: observer.request(
        request_id="req_1",
        trace=RequestTrace("1" * 32, "2" * 16, "", sampled=False),
        method="POST",
        route="/s/{link}",
        path="/s/{link}",
        status=200 if error is None else error.status,
        seconds=0.1,
        code=None if error is None else error.code,
    )


@pytest.mark.requirement("SS-10")
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
def test_denied_links_are_counted_by_error_code(error: type[GatehouseError] | None, alarms: set[str]) -> None:
    filters = list(log_alarms.link_filters(1))
    assert {f.name for f in filters if matches(f.pattern, logged(request(error)))} == alarms
    assert not [f.name for f in filters if matches(f.pattern, logged(request(error), "console"))]


@pytest.mark.requirement("SS-10")
def test_use_of_a_honey_link_is_an_alarm() -> None:
    line = logged(lambda observer: observer.metric_line({"secret": "5tRw0aB9xK2m7HqYc1dZ8e"}, event=HONEY_EVENT))
    assert [(f.name, f.threshold) for f in log_alarms.link_filters(1) if matches(f.pattern, line)] == [("links-honey", 0)]


@pytest.mark.requirement("SS-10")
@pytest.mark.parametrize(("job", "alarms"), [("secrets", {"secrets-not-deleted"}), ("sessions", set())])
async def test_failed_deletions_are_counted(job: str, alarms: set[str]) -> None:
    out, failed = io.BytesIO(), asyncio.Event()

    async def action() -> None:
        if failed.is_set():
            await asyncio.Event().wait()
        failed.set()
        raise Unavailable("S3 is not available")

    task = asyncio.create_task(PeriodicJob(job, 0.0, action).run(Observer("console", "info", "test", Stream(out))))
    await asyncio.wait_for(failed.wait(), 30)
    task.cancel()
    (line,) = out.getvalue().splitlines()
    assert {f.name for f in log_alarms.secret_filters() if matches(f.pattern, line)} == alarms


@pytest.mark.requirement("SS-10")
@pytest.mark.parametrize("stack", STACKS)
def test_age_of_due_secrets_is_a_metric_whose_absence_is_an_alarm(stack: str) -> None:
    line = logged(lambda observer: observer.metric_line({"oldest_s": 301.5}, event=REPORT_EVENT), "console")
    assert {f.name for f in log_alarms.secret_filters() if matches(f.pattern, line)} == {"secrets-late"}
    metric_filter = resource_inputs(stack, "cloudwatch/logMetricFilter:LogMetricFilter")["secrets-late"]
    assert metric_filter["logGroupName"] == f"/gatehouse/{stack}/console"
    assert metric_filter["metricTransformation"]["value"] == "$.oldest_s"
    assert "defaultValue" not in metric_filter["metricTransformation"], "other lines do not replace a missing line"
    alarm = run(stack).alarms()["secrets-late"]
    assert (alarm["statistic"], alarm["threshold"], alarm["period"]) == ("Maximum", 300, 300)
    assert alarm["treatMissingData"] == "breaching"


@pytest.mark.requirement("SS-10")
@pytest.mark.parametrize(("stack", "process"), [("dev", "console"), ("staging", "sharing"), ("prod", "console")])
def test_link_alarms_follow_the_form_of_the_service(stack: str, process: str) -> None:
    filters = resource_inputs(stack, "cloudwatch/logMetricFilter:LogMetricFilter")
    for name in ("links-denied", "links-honey", "links-locked"):
        assert filters[name]["logGroupName"] == f"/gatehouse/{stack}/{process}"
        assert run(stack).alarms()[name]["treatMissingData"] == "notBreaching"
