"""The project `account`: guards of an AWS account."""

import json
from typing import Any

import pytest
from pulumi_local.type_tokens import aws

from tests.components.program import Program, run, run_account
from tests.components.settings.stack_settings import (
    GUARDS,
    account_mistakes,
    each_stack,
    raw_account_settings,
)

ACCOUNT, REGION = "123456789012", "eu-west-1"
TYPES = {
    "s3_public_access_block": aws("s3.AccountPublicAccessBlock"),
    "ebs_encryption": aws("ebs.EncryptionByDefault"),
    "imdsv2": aws("ec2.InstanceMetadataDefaults"),
    "password_policy": aws("iam.AccountPasswordPolicy"),
    "backup_opt_in": aws("backup.RegionSettings"),
    "block_public_vpcs": aws("ec2.VpcBlockPublicAccessOptions"),
    "access_analyzer": aws("accessanalyzer.Analyzer"),
    "config_recorder": aws("cfg.Recorder", "cfg.DeliveryChannel", "cfg.RecorderStatus"),
    "guardduty": aws("guardduty.Detector", "guardduty.DetectorFeature"),
    "security_hub": aws("securityhub.Account"),
}
"""Resource types of each guard. The bucket for AWS Config is not a guard."""
GUARD_TYPES = set().union(*TYPES.values())


def account(*, guards: bool = False, **changes: Any) -> Program:
    return run_account(json.dumps(raw_account_settings(changes, guards=guards)))


def guards(program: Program) -> dict[str, Any]:
    return {f"{row.type} {row.name}": row for row in program.resources if row.type in GUARD_TYPES}


def test_every_guard_is_off_by_default() -> None:
    program = run_account(
        json.dumps({k: v for k, v in raw_account_settings().items() if k != "guards"})
    )
    assert [row.type for row in program.resources if row.type.startswith("aws:")] == []
    exports = {"account": ACCOUNT, "region": REGION}
    assert program.exports == exports


@pytest.mark.parametrize("guard", GUARDS)
def test_each_guard_has_a_setting(guard: str) -> None:
    program = account(**{f"guards.{guard}": True})
    assert {row.type for row in guards(program).values()} == set(TYPES[guard])
    assert len(program.of_type("s3.Bucket")) == (guard == "config_recorder")


def test_guards_stay_in_aws() -> None:
    program = account(guards=True)
    assert {row.type for row in guards(program).values()} == GUARD_TYPES
    assert [key for key, row in guards(program).items() if not row.retain_on_delete] == []
    buckets = [row for row in program.resources if row.type in aws("s3.Bucket", "s3.BucketPolicy")]
    assert [(row.protect, row.retain_on_delete) for row in buckets] == [(True, True)] * 2


def test_backup_preferences_of_other_services_are_not_changed() -> None:
    settings = account(guards=True).get("backup.RegionSettings", "guards")
    assert settings.ignore_changes == (
        "resourceTypeOptInPreference",
        "resourceTypeManagementPreference",
    )


def test_config_recorder_uses_the_shared_role_and_its_bucket() -> None:
    program = account(guards=True, name_prefix="acme-gw")
    role = program.get("cfg.Recorder", "guards").inputs["roleArn"]
    name = "aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"
    assert role == f"arn:aws:iam::{ACCOUNT}:role/{name}"
    channel = program.get("cfg.DeliveryChannel", "guards").inputs
    bucket = f"acme-gw-account-config-{ACCOUNT}-{REGION}"
    assert program.get("s3.Bucket", "config").inputs["bucket"] == bucket
    statement = program.statements("s3.BucketPolicy", "config")["AllowConfigWrite"]
    assert statement["Resource"] == [
        f"arn:aws:s3:::{bucket}/{channel['s3KeyPrefix']}/AWSLogs/{ACCOUNT}/Config/*"
    ]


def test_budget_covers_the_whole_account() -> None:
    budget = account(budget={"monthly_usd": 300, "emails": ["finance@acme.dev"]}).get(
        "budgets.Budget", "guards"
    )
    assert (budget.inputs["limitAmount"], "filterExpression" in budget.inputs) == ("300", False)
    assert {row["notificationType"] for row in budget.inputs["notifications"]} == {
        "ACTUAL",
        "FORECASTED",
    }
    assert all(
        row["subscriberEmailAddresses"] == ["finance@acme.dev"]
        for row in budget.inputs["notifications"]
    )


@pytest.mark.parametrize(
    "existing", ["", f"arn:aws:ce::{ACCOUNT}:anomalymonitor/00000000-0000-0000-0000-000000000000"]
)
def test_cost_anomalies_are_reported_daily(existing: str) -> None:
    budget = {"anomaly_usd": 50, "emails": ["finance@acme.dev"]}
    program = account(budget={**budget, "anomaly_monitor_arn": existing} if existing else budget)
    monitors = [row.inputs for row in program.of_type("costexplorer.AnomalyMonitor")]
    assert [row["monitorDimension"] for row in monitors] == ([] if existing else ["SERVICE"])
    report = program.get("costexplorer.AnomalySubscription", "guards").inputs
    assert (report["frequency"], report["subscribers"]) == (
        "DAILY",
        [{"type": "EMAIL", "address": "finance@acme.dev"}],
    )
    assert report["monitorArnLists"] == [existing or "arn:aws:mock:::guards"]
    assert report["thresholdExpression"]["dimension"]["values"] == ["50"]


@each_stack
def test_other_stacks_create_no_guards(stack: str) -> None:
    assert guards(run(stack)) == {}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"state_bucket": "s3://state"}, "state_bucket"),
        ({"guards.guardduty": "create"}, "guards.guardduty"),
        ({"budget": {"monthly_usd": 100}}, "budget.emails"),
        ({"budget": {"anomaly_usd": 100}}, "budget.emails"),
        ({"domain": "gatehouse.acme.dev"}, "domain"),
    ],
)
def test_invalid_value_is_rejected(changes: dict[str, Any], key: str) -> None:
    assert [
        message.partition(" ")[0] for message in account_mistakes(raw_account_settings(changes))
    ] == [key]
