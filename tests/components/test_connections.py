"""What a stack file says of the world around the stack reaches the runtime, with exactly the rights and ways that it needs."""

import json
from typing import Any

import pytest

from tests.components.program import Program, run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

OLD = ["s3://old-bucket/api_keys.json", "s3://old-bucket/ngrok_urls.json"]
OBJECTS = ["arn:aws:s3:::old-bucket/api_keys.json", "arn:aws:s3:::old-bucket/ngrok_urls.json"]
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:gatehouse/dev/leaks-AbCdEf"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:keys"
SIGN_IN = {
    "issuer": "https://login.example.com",
    "audience": "gatehouse",
    "roles": ["platform=owner", "on-call=operator"],
}
QUIET = {"public_webhooks": False}


def told(of: Program, process: str) -> dict[str, str]:
    (container,) = json.loads(of.one("ecs/taskDefinition:TaskDefinition", process).inputs["containerDefinitions"])
    return {entry["name"]: entry["value"] for entry in container["environment"]}


def allowed(of: Program, role: str) -> dict[str, dict[str, Any]]:
    policy = json.loads(of.one("iam/rolePolicy:RolePolicy", role).inputs["policy"])
    return {statement["Sid"]: statement for statement in policy["Statement"]}


def outside(of: Program) -> set[tuple[str, int]]:
    """Networks and ports to which the console may open connections."""
    rules = (asked.inputs for asked in of.of("vpc/securityGroupEgressRule:SecurityGroupEgressRule"))
    return {
        (rule["cidrIpv4"], rule["toPort"]) for rule in rules if rule["securityGroupId"] == "console-id" and "cidrIpv4" in rule
    }


def test_the_old_files_are_read_and_replaced_and_nothing_beside_them() -> None:
    moving = run("dev", changes=json.dumps({"legacy_files": OLD}))
    statement = allowed(moving, "console-task")["LegacyFiles"]
    assert (statement["Action"], statement["Resource"]) == (["s3:GetObject", "s3:PutObject"], OBJECTS)
    assert told(moving, "console")["GATEHOUSE_LEGACY_FILES"] == ",".join(OLD)
    assert "GATEHOUSE_LEGACY_FILES" not in told(moving, "gateway")
    assert "LegacyFiles" not in allowed(moving, "gateway-task")


def test_the_old_files_pass_the_endpoint_in_whosever_account_they_are_and_only_for_our_principals() -> None:
    moving = run("dev", changes=json.dumps({"legacy_files": OLD}))
    policy = json.loads(moving.one("ec2/vpcEndpoint:VpcEndpoint", "s3").inputs["policy"])
    (statement,) = (found for found in policy["Statement"] if found["Sid"] == "LegacyFiles")
    assert statement["Resource"] == OBJECTS
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": "123456789012"}}


@pytest.mark.parametrize("stack", STACKS)
def test_without_old_files_no_foreign_object_is_named_anywhere(stack: str) -> None:
    of = run(stack)
    assert "LegacyFiles" not in allowed(of, "console-task")
    assert "LegacyFiles" not in of.one("ec2/vpcEndpoint:VpcEndpoint", "s3").inputs["policy"]
    assert "GATEHOUSE_LEGACY_FILES" not in told(of, "console")


@pytest.mark.parametrize("stack", STACKS)
def test_the_console_keeps_sealed_exports_and_reads_them_back_but_deletes_none(stack: str) -> None:
    of = run(stack)
    bucket = of.one("s3/bucket:Bucket", "data").inputs["bucket"]
    statement = allowed(of, "console-task")["Exports"]
    assert (statement["Action"], statement["Resource"]) == (
        ["s3:GetObject", "s3:PutObject"],
        [f"arn:aws:s3:::{bucket}/exports/*"],
    )
    key = json.loads(of.one("kms/key:Key", "data").inputs["policy"])
    (uses,) = (found for found in key["Statement"] if found["Sid"] == "Exports")
    assert uses["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert [role.rpartition("/")[2] for role in uses["Principal"]["AWS"]] == [f"gatehouse-{stack}-console-task"]
    assert uses["Condition"]["StringEquals"]["kms:EncryptionContext:aws:s3:arn"] == f"arn:aws:s3:::{bucket}"
    assert uses["Condition"]["StringEquals"]["kms:ViaService"] == "s3.eu-west-1.amazonaws.com"


def test_people_sign_in_with_the_identity_provider_of_the_stack_file() -> None:
    of = run("dev", changes=json.dumps({"oidc": SIGN_IN, "notifications": QUIET}))
    assert {name: value for name, value in told(of, "console").items() if "OIDC" in name} == {
        "GATEHOUSE_OIDC_ISSUER": "https://login.example.com",
        "GATEHOUSE_OIDC_AUDIENCE": "gatehouse",
        "GATEHOUSE_OIDC_CLAIM": "groups",
        "GATEHOUSE_OIDC_ROLES": "platform=owner,on-call=operator",
    }
    assert not any("OIDC" in name for name in told(of, "gateway"))
    assert ("0.0.0.0/0", 443) in outside(of), "its keys are fetched from there"


def test_a_console_that_needs_nobody_outside_reaches_nobody_outside() -> None:
    assert outside(run("dev", changes=json.dumps({"notifications": QUIET}))) == set()
    assert outside(run("dev")) == {("0.0.0.0/0", 443)}


def test_webhooks_in_a_private_network_are_reached_on_443_and_known_to_the_console() -> None:
    of = run("dev", changes=json.dumps({"notifications": {**QUIET, "webhook_networks": ["10.30.0.0/16"]}}))
    assert outside(of) == {("10.30.0.0/16", 443)}
    assert told(of, "console")["GATEHOUSE_WEBHOOK_NETWORKS"] == "10.30.0.0/16"


def test_the_console_tells_the_one_topic_of_the_stack_file() -> None:
    of = run("dev", changes=json.dumps({"notifications": {**QUIET, "topic_arn": TOPIC}}))
    statement = allowed(of, "console-task")["PublishNotifications"]
    assert (statement["Action"], statement["Resource"]) == (["sns:Publish"], [TOPIC])
    assert told(of, "console")["GATEHOUSE_NOTIFICATION_TOPIC"] == TOPIC
    assert "PublishNotifications" not in allowed(run("dev"), "console-task")


def test_the_secret_of_leak_reports_is_injected_and_only_the_start_of_the_console_opens_it() -> None:
    of = run("dev", changes=json.dumps({"leak_reports": {"secret_arn": SECRET}}))
    (container,) = json.loads(of.one("ecs/taskDefinition:TaskDefinition", "console").inputs["containerDefinitions"])
    assert {"name": "GATEHOUSE_LEAK_SECRET", "valueFrom": SECRET} in container["secrets"]
    assert SECRET in allowed(of, "console-execution")["InjectSecrets"]["Resource"]
    assert SECRET not in json.dumps(allowed(of, "console-task"))
    assert SECRET not in json.dumps(allowed(of, "gateway-execution"))
    key = json.loads(of.one("kms/key:Key", "secrets").inputs["policy"])
    (uses,) = (found for found in key["Statement"] if SECRET in json.dumps(found))
    assert uses["Principal"]["AWS"] == ["arn:aws:iam::123456789012:role/gatehouse-dev-console-execution"]


def test_a_variable_of_the_runtime_reaches_the_processes_that_read_it_and_no_other() -> None:
    of = run(
        "dev",
        changes=json.dumps({"environment_variables": ["GATEHOUSE_LIMIT_ON_ERROR=refuse", "GATEHOUSE_FEATURES=webhooks=off"]}),
    )
    assert told(of, "gateway")["GATEHOUSE_LIMIT_ON_ERROR"] == "refuse"
    assert "GATEHOUSE_LIMIT_ON_ERROR" not in told(of, "console")
    assert [told(of, process)["GATEHOUSE_FEATURES"] for process in ("gateway", "console")] == ["webhooks=off"] * 2
    assert "GATEHOUSE_FEATURES" not in told(of, "migrate")


def test_every_document_is_known_before_anything_exists() -> None:
    everything = {"legacy_files": OLD, "oidc": SIGN_IN, "leak_reports": {"secret_arn": SECRET}}
    assert run("dev", preview=True, changes=json.dumps(everything)).documents()
