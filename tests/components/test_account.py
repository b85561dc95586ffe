"""What stands around a stack: who may sign checkpoints, who is told what, and the guards of the whole account."""

import json
from typing import Any

import pytest

from components.iam import bucket_policies, endpoint_policies, resource_policies
from components.naming import Naming
from tests.components.program import run
from tests.components.settings.stack_settings import STACKS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pulumi_aws declares its old names on import

NAMES = Naming("dev", "123456789012", "eu-west-1")


def statements(stack: str, key: str) -> dict[str, dict[str, Any]]:
    policy = json.loads(run(stack).one("kms/key:Key", key).inputs["policy"])
    return {s["Sid"]: s for s in policy["Statement"]}


@pytest.mark.requirement("TR-11")
@pytest.mark.parametrize("stack", STACKS)
def test_only_the_console_signs_checkpoints_and_in_one_way(stack: str) -> None:
    found = statements(stack, "audit")
    signing = [s for s in found.values() if any(a in ("kms:Sign", "kms:*") for a in s["Action"])]
    (sign,) = signing
    assert sign["Principal"] == {"AWS": [f"arn:aws:iam::123456789012:role/gatehouse-{stack}-console-task"]}
    assert sign["Condition"]["StringEquals"]["kms:SigningAlgorithm"] == "ECDSA_SHA_256"
    key = run(stack).one("kms/key:Key", "audit").inputs
    assert (key["keyUsage"], key["customerMasterKeySpec"], "enableKeyRotation" in key) == ("SIGN_VERIFY", "ECC_NIST_P256", False)


@pytest.mark.requirement("CG-17")
@pytest.mark.parametrize("stack", STACKS)
def test_every_key_that_encrypts_is_rotated(stack: str) -> None:
    rotated = {a.name for a in run(stack).of("kms/key:Key") if a.inputs.get("enableKeyRotation")}
    assert rotated == {"data", "secrets", "logs", "backup"}


def test_a_key_is_in_two_regions_only_where_something_is_copied() -> None:
    regions = {s: run(s).one("kms/key:Key", "backup").inputs.get("multiRegion", False) for s in STACKS}
    replicas = {s: len(run(s).of("kms/replicaKey:ReplicaKey")) for s in STACKS}
    assert regions == {"dev": False, "staging": False, "prod": True}
    assert replicas == {"dev": 0, "staging": 0, "prod": 1}


@pytest.mark.requirement("CG-21")
def test_only_aws_services_of_our_account_publish_notices_and_only_over_tls() -> None:
    refuse, publish = resource_policies.notification_topic_policy(NAMES)["Statement"]
    assert refuse["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert set(publish["Principal"]) == {"Service"}
    assert publish["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_the_senders_of_notices_use_the_key_for_their_topic_alone() -> None:
    (statement,) = resource_policies.notification_key_statements(NAMES)
    topic = "arn:aws:sns:eu-west-1:123456789012:gatehouse-dev-notifications"
    assert statement["Condition"] == {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": topic}}
    assert statement in list(statements("dev", "logs").values())


@pytest.mark.requirement("SS-11")
@pytest.mark.parametrize(("stack", "limit"), [("dev", "250"), ("staging", "600"), ("prod", "2000")])
def test_every_stack_has_a_budget_and_a_watch_for_anomalies(stack: str, limit: str) -> None:
    program = run(stack)
    (budget,) = program.of("budgets/budget:Budget")
    assert (budget.inputs["limitAmount"], budget.inputs["limitUnit"], budget.inputs["timeUnit"]) == (limit, "USD", "MONTHLY")
    assert {n["notificationType"] for n in budget.inputs["notifications"]} == {"ACTUAL", "FORECASTED"}
    assert all(n["subscriberSnsTopicArns"] == ["arn:aws:mock:::service-notifications"] for n in budget.inputs["notifications"])
    (anomalies,) = program.of("costexplorer/anomalySubscription:AnomalySubscription")
    assert anomalies.inputs["monitorArnLists"] == ["arn:aws:mock:::budget"]
    assert [s["type"] for s in anomalies.inputs["subscribers"]] == ["SNS"]


@pytest.mark.requirement("CG-21")
@pytest.mark.parametrize(("stack", "guarded"), [("dev", False), ("staging", False), ("prod", True)])
def test_one_stack_of_the_account_sets_its_guards(stack: str, guarded: bool) -> None:
    program = run(stack)
    for kind in (
        *("s3/accountPublicAccessBlock:AccountPublicAccessBlock", "ebs/encryptionByDefault:EncryptionByDefault"),
        *("guardduty/detector:Detector", "securityhub/account:Account", "cfg/recorder:Recorder"),
        *("accessanalyzer/analyzer:Analyzer", "iam/accountPasswordPolicy:AccountPasswordPolicy"),
        "ec2/vpcBlockPublicAccessOptions:VpcBlockPublicAccessOptions",
    ):
        assert len(program.of(kind)) == int(guarded), kind


@pytest.mark.parametrize("stack", STACKS)
def test_the_load_balancer_stays_open_when_an_account_closes_its_vpcs(stack: str) -> None:
    excluded = run(stack).of("ec2/vpcBlockPublicAccessExclusion:VpcBlockPublicAccessExclusion")
    subnets = {a.name for a in run(stack).of("ec2/subnet:Subnet") if a.inputs["tags"]["Tier"] == "edge"}
    assert {a.name for a in excluded} == subnets
    assert {a.inputs["internetGatewayExclusionMode"] for a in excluded} == {"allow-bidirectional"}


def test_config_writes_below_its_own_prefix_and_for_our_account_alone() -> None:
    look, write = bucket_policies.config_writers(NAMES, "sink", "config")
    assert write["Resource"] == ["arn:aws:s3:::sink/config/AWSLogs/123456789012/Config/*"]
    assert all(s["Condition"]["StringEquals"]["aws:SourceAccount"] == "123456789012" for s in (look, write))
    assert "s3:PutObject" not in look["Action"]


@pytest.mark.requirement("ECS-03")
def test_the_endpoints_of_a_shell_exist_only_with_the_setting() -> None:
    more = set(endpoint_policies.interface_policies(NAMES, ecs_exec=True)) - set(endpoint_policies.interface_policies(NAMES))
    assert more == {"ssm", "ssmmessages"}
    for statement in (s for name in more for s in endpoint_policies.interface_policies(NAMES, ecs_exec=True)[name]["Statement"]):
        assert statement["Condition"]["StringEquals"]["aws:PrincipalAccount"] == "123456789012"
