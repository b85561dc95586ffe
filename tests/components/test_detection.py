"""The audit trail alarms on what the CIS benchmark names, and the gateway's log on keys that are refused."""

import re
from typing import Any

import pytest
from gatehouse.usage.models import UnusualUse
from gatehouse.verification.models import Code

from components.monitoring import log_alarms
from tests.components.program import ROOT, run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

CIS = {
    *("cis-unauthorized-calls", "cis-no-mfa", "cis-root", "cis-iam-changes", "cis-trail-changes", "cis-sign-in-failures"),
    *("cis-key-deletion", "cis-bucket-policies", "cis-config-changes", "cis-security-groups", "cis-network-acls"),
    *("cis-gateways", "cis-routes", "cis-vpcs", "cis-organization"),
}
CALLS = {
    "cis-iam-changes": {"PutRolePolicy", "AttachUserPolicy", "DeleteGroupPolicy", "CreatePolicyVersion", "DetachRolePolicy"},
    "cis-trail-changes": {"StopLogging", "DeleteTrail", "UpdateTrail"},
    "cis-key-deletion": {"ScheduleKeyDeletion", "DisableKey"},
    "cis-bucket-policies": {"PutBucketPolicy", "DeleteBucketPolicy", "PutBucketAcl"},
    "cis-security-groups": {"AuthorizeSecurityGroupIngress", "DeleteSecurityGroup"},
    "cis-routes": {"CreateRoute", "ReplaceRoute", "DeleteRouteTable"},
    "cis-gateways": {"AttachInternetGateway", "DeleteCustomerGateway"},
    "cis-organization": {"LeaveOrganization", "AttachPolicy"},
}


def made(stack: str, kind: str) -> dict[str, dict[str, Any]]:
    return {a.name: a.inputs for a in run(stack).of(kind)}


@pytest.mark.requirement("CG-21", "ECS-05")
@pytest.mark.parametrize("stack", STACKS)
def test_each_of_the_fifteen_changes_is_counted_in_the_trail_and_alarms(stack: str) -> None:
    counted = made(stack, "cloudwatch/logMetricFilter:LogMetricFilter")
    alarms = made(stack, "cloudwatch/metricAlarm:MetricAlarm")
    assert {name for name in counted if name.startswith("cis-")} == CIS
    for name in CIS:
        metric = counted[name]["metricTransformation"]
        assert counted[name]["logGroupName"] == f"/gatehouse/{stack}/trail"
        assert (alarms[name]["namespace"], alarms[name]["metricName"]) == (metric["namespace"], metric["name"])
        assert alarms[name]["statistic"] == "Sum"


@pytest.mark.parametrize("name", sorted(CALLS))
def test_a_filter_names_the_calls_that_it_is_for(name: str) -> None:
    (found,) = (wanted for wanted in log_alarms.account_filters() if wanted.name == name)
    assert set(re.findall(r'\$\.eventName = "(\w+)"', found.pattern)) >= CALLS[name]


def test_a_filter_pattern_is_within_the_limits_of_cloudwatch() -> None:
    for wanted in (*log_alarms.account_filters(), *log_alarms.gateway_filters(1)):
        assert wanted.pattern.startswith("{ ")
        assert wanted.pattern.endswith(" }")
        assert wanted.pattern.count("(") == wanted.pattern.count(")")
        assert len(wanted.pattern) <= 1024, f"{wanted.name}: FilterPattern takes 1024 characters"


@pytest.mark.requirement("CG-21")
@pytest.mark.parametrize("stack", STACKS)
def test_refused_keys_are_counted_by_the_codes_that_the_gateway_writes(stack: str) -> None:
    counted = made(stack, "cloudwatch/logMetricFilter:LogMetricFilter")
    for name in ("keys-rejected", "keys-unavailable"):
        codes = set(re.findall(r'\$\.code = "(\w+)"', counted[name]["pattern"]))
        assert codes <= {code.value for code in Code} - {Code.VALID.value}
        assert codes
        assert counted[name]["logGroupName"] == f"/gatehouse/{stack}/gateway"


@pytest.mark.requirement("CG-21", "CG-22")
def test_an_abused_key_is_counted_by_the_line_that_the_gateway_writes() -> None:
    pattern = made("prod", "cloudwatch/logMetricFilter:LogMetricFilter")["keys-abused"]["pattern"]
    alarm = made("prod", "cloudwatch/metricAlarm:MetricAlarm")["keys-abused"]
    assert (alarm["threshold"], alarm["comparisonOperator"]) == (0, "GreaterThanThreshold")
    event, kind = re.findall(r'= "([^"]+)"', pattern)
    assert f'log.warning("{event}"' in (ROOT / "runtime/gatehouse/gateway/app.py").read_text()
    assert kind in UnusualUse.__doc__  # type: ignore[operator]


@pytest.mark.requirement("ECS-05")
@pytest.mark.parametrize("stack", STACKS)
def test_the_trail_records_reads_of_files_tokens_and_calls_of_the_rotation(stack: str) -> None:
    (trail,) = made(stack, "cloudtrail/trail:Trail").values()
    watched = {}
    for selector in trail["advancedEventSelectors"]:
        fields = {field["field"]: field for field in selector["fieldSelectors"]}
        if "resources.type" in fields:
            watched[fields["resources.type"]["equals"][0]] = fields["resources.ARN"]["startsWiths"]
    assert set(watched) == {"AWS::S3::Object", "AWS::DynamoDB::Table", "AWS::Lambda::Function"}
    assert watched["AWS::Lambda::Function"] == [f"arn:aws:lambda:eu-west-1:123456789012:function:gatehouse-{stack}-rotate"]
