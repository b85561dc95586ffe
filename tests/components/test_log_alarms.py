"""Metric filters and alarms on the audit trail and the gateway's log."""

import re
from typing import Any

import pytest
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
    for metric_filter in (*log_alarms.account_filters(), *log_alarms.gateway_filters(1)):
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
