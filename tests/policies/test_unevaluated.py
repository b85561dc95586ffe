"""What no rule evaluates is in every report, until a reason accepts it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import read
from gatehouse_policies.policy_check import FORMATS, CheckResult
from pulumi_local.errors import CommandError

PROGRAM = """
import pulumi
import pulumi_aws as aws

source = {"rules_string": "pass tcp any any <> any any (sid:1;)"}
rules = aws.networkfirewall.RuleGroup(
    "rules", capacity=10, type="STATEFUL", rule_group={"rules_source": source}
)
cluster = pulumi.CustomResource("kubernetes:core/v1:Pod", "pod", {"spec": {}})
"""
FIREWALL = "aws.networkfirewall.RuleGroup: rule_group.rules_source.rules_string"
POD = "kubernetes:core/v1:Pod: all inputs"
PACK = """
from gatehouse_policies.engine.pack import guarded
from gatehouse_policies.engine.rule import resource_rule
from pulumi_local.type_tokens import aws
from pulumi_policy import PolicyPack

@resource_rule(
    "ACME-FW-001", title="Rules drop", remedy="drop", url="https://example.com",
    types=aws("networkfirewall.RuleGroup"),
)
def drops(resource):
    if "drop" not in resource.props.block("ruleGroup").block("rulesSource").text("rulesString"):
        yield "rulesString drops nothing"

PolicyPack("acme", guarded([drops]))
"""
ORDINARY = """
import json
import pulumi_aws as aws

key = aws.kms.Key("key", enable_key_rotation=True)
aws.kms.Alias("key", name="alias/shop", target_key_id=key.key_id)
vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
aws.ec2.Subnet("subnet", vpc_id=vpc.id, cidr_block="10.0.1.0/24")
table = aws.ec2.RouteTable("private", vpc_id=vpc.id)
group = aws.cloudwatch.LogGroup("flows", retention_in_days=365, kms_key_id=key.arn)
role = aws.iam.Role("flows", assume_role_policy=json.dumps({
    "Version": "2012-10-17",
    "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
    }],
}))
aws.ec2.FlowLog(
    "flows", vpc_id=vpc.id, traffic_type="ALL", log_destination=group.arn, iam_role_arn=role.arn
)
repository = aws.ecr.Repository("images", image_tag_mutability="IMMUTABLE")
aws.ecr.LifecyclePolicy("images", repository=repository.name, policy=json.dumps({"rules": []}))
aws.sqs.RedriveAllowPolicy("jobs", queue_url="q", redrive_allow_policy="{}")
aws.cloudwatch.EventBus("events", name="events")
"""
Run = Callable[..., CheckResult]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")

    def run(program: str, configuration: str = "", folders: Sequence[Path] = ()) -> CheckResult:
        (tmp_path / "__main__.py").write_text(program)
        (tmp_path / "policies.toml").write_text(configuration)
        config = read(tmp_path / "policies.toml")
        folders = (*policy_check.PACKS, *folders)
        return policy_check.check(tmp_path, "dev", configuration=config, folders=folders)

    return run


def test_inputs_that_no_rule_evaluates_are_in_every_report(run: Run) -> None:
    result = run(PROGRAM)
    assert [*result.run.unevaluated] == [FIREWALL, POD]
    for suffix in FORMATS:
        text = " ".join(result.text(suffix).split())
        assert all(note in text for note in (FIREWALL, POD)), suffix


def test_ordinary_program_is_evaluated_completely(run: Run) -> None:
    assert [*run(ORDINARY).run.unevaluated] == []


def test_input_that_the_program_does_not_set_is_not_listed(run: Run) -> None:
    program = PROGRAM.replace('rule_group={"rules_source": source}', 'rules="pass"')
    assert [*run(program).run.unevaluated] == [POD]


def accepted(days: int, reason: str = "the network team reviews each rule") -> str:
    end = datetime.now(UTC).date() + timedelta(days=days)
    entry = f'{{ reason = "{reason}", expires = {end} }}'
    names = ("aws.networkfirewall.RuleGroup", "kubernetes:core/v1:Pod")
    return "[accepted_types]\n" + "".join(f'"{name}" = {entry}\n' for name in names)


def test_accepted_type_is_listed_and_does_not_fail_the_check(run: Run, tmp_path: Path) -> None:
    result = run(PROGRAM, accepted(30))
    assert [*result.run.unevaluated] == []
    for suffix in FORMATS:
        text = " ".join(result.text(suffix).split())
        assert f"{FIREWALL} (the network team reviews each rule)" in text, suffix
    options = ["--home", str(tmp_path / "home"), "check", "--program", str(tmp_path)]
    options += ["--fail-on", "critical", "--fail-on-unevaluated"]
    assert main(options) == 0
    (tmp_path / "policies.toml").write_text(accepted(-1))
    assert main(options) == 3


@pytest.mark.parametrize(
    ("configuration", "message"),
    [
        (accepted(181), "more than 180 days"),
        (accepted(30, "because"), "fewer than 4 words"),
        ('[accepted_types]\n"aws.s3.Bucket" = "no"', "must have a reason and an end"),
        ("accepted_types = []", "must be a table"),
    ],
    ids=["end", "reason", "text", "list"],
)
def test_malformed_entry_is_rejected(run: Run, configuration: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(PROGRAM, configuration)


def test_input_that_another_pack_reads_is_evaluated(run: Run, tmp_path: Path) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (pack / "__main__.py").write_text(PACK)
    result = run(PROGRAM, folders=[pack])
    assert "ACME-FW-001" in {finding.rule for finding in result.findings}
    assert [*result.run.unevaluated] == [POD]
