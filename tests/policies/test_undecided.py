"""Results that unknown or invented values do not decide."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from textwrap import dedent

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import read
from gatehouse_policies.policy_check import CheckResult
from pulumi_local.errors import CommandError

from tests.cases import cases

_CASES = cases(__file__)

HEAD: str = _CASES["head"]

Judge = Callable[[str], CheckResult]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {}\n")
    return tmp_path


@pytest.fixture
def judge(folder: Path) -> Judge:
    """A function that checks a program with the levels of prod."""

    def run(code: str) -> CheckResult:
        (folder / "__main__.py").write_text(HEAD + dedent(code))
        return policy_check.check(folder, "dev", levels="prod")

    return run


def outcomes(result: CheckResult, rules: Iterable[str]) -> set[tuple[str, str, str]]:
    return {
        (item.rule, item.urn.rpartition("::")[2], item.outcome)
        for item in result.findings
        if item.rule in rules
    }


def test_account_of_a_program_that_declares_none_is_its_own(judge: Judge) -> None:
    result = judge(
        """
        user = aws.iam.User("user")
        for name, principal in (("own", user.arn), ("other", "arn:aws:iam::999999999999:root")):
            policy = pulumi.Output.json_dumps(
                {"Statement": [allow("sts:AssumeRole", "*", Principal={"AWS": principal})]}
            )
            aws.iam.Role(name, assume_role_policy=policy)
        """
    )
    assert outcomes(result, {"GH-IAM-004"}) == {("GH-IAM-004", "shop-dev", "undecided")}


PARTNERS = """
for name, keys in {{
    "role": {{"aws:PrincipalAccount": "999999999999"}},
    "other": {{"aws:PrincipalAccount": "111122223333"}},
    "queue": {{"aws:PrincipalOrgID": "o-a1b2c3d4e5"}},
}}.items():
    statement = allow("sts:AssumeRole", "*", Principal="*", Condition={{"StringEquals": keys}})
    del statement["Resource"]
    aws.iam.Role(name, assume_role_policy=json.dumps({{"Statement": [statement]}}){})
"""


def test_unknown_accounts_and_organization_are_reported_once(judge: Judge, folder: Path) -> None:
    result = judge(PARTNERS.format(""))
    found = [item for item in result.findings if item.rule == "GH-IAM-004"]
    assert {(item.urn.rpartition("::")[2], item.outcome) for item in found} == {
        ("shop-dev", "undecided")
    }
    assert len(found) == 2
    assert all("policies.toml" in item.remedy for item in found)
    assert sum("2 resources" in item.message for item in found) == 1
    names = '["999999999999", "111122223333", "o-a1b2c3d4e5"]'
    (folder / "policies.toml").write_text(f"accounts = {names}\n")
    configuration = read(folder / "policies.toml")
    result = policy_check.check(folder, "dev", levels="prod", configuration=configuration)
    assert outcomes(result, {"GH-IAM-004"}) == set()


def test_foreign_account_is_reported_beside_an_unknown_organization(judge: Judge) -> None:
    result = judge(PARTNERS.format(", opts=own"))
    assert outcomes(result, {"GH-IAM-004"}) == {
        ("GH-IAM-004", "role", "violation"),
        ("GH-IAM-004", "other", "violation"),
        ("GH-IAM-004", "shop-dev", "undecided"),
    }


DOCUMENTS: str = _CASES["documents"]
ORIGIN_ACCESS_CONTROL: str = _CASES["origin_access_control"]


def test_documents_of_computed_arns_are_decided(judge: Judge) -> None:
    result = judge(DOCUMENTS + ORIGIN_ACCESS_CONTROL)
    rules = {"GH-IAM-001", "GH-IAM-002", "GH-IAM-010", "GH-KMS-007", "GH-S3-003", "GH-S3-012"}
    assert outcomes(result, rules | {"GH-S3-016", "GH-SQS-003"}) == set()
    assert "undecided" not in {item.outcome for item in result.findings}


def test_undecided_result_has_its_own_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
    other = pulumi.StackReference("org/other/dev")
    aws.iam.RolePolicy("of-stack", role="r", policy=other.get_output("policy"), opts=own)
    """
    (folder / "__main__.py").write_text(HEAD + dedent(code))
    reports = folder / ".gatehouse" / "check"
    arguments = ["check", "--program", str(folder), "--env", "dev"]
    assert main([*arguments, "--levels", "prod"]) == 0
    assert main([*arguments, "--levels", "prod", "--fail-on-undecided"]) == 3
    report = json.loads((reports / "dev.prod.sarif").read_text())["runs"][0]
    open_results = [row for row in report["results"] if row["kind"] == "open"]
    assert "GH-IAM-001 could not be decided" in " ".join(
        row["message"]["text"] for row in open_results
    )
    assert report["properties"] == {"undecided": len(open_results), "absent": 0}
    assert report["invocations"][0]["exitCode"] == 3
    assert f"{len(open_results)} undecided" in capsys.readouterr().out.replace("\n", " ")


FAILING = (
    "topic.arn.apply(lambda arn: 1 / 0)",
    "topic.arn.apply(lambda arn: arn.split('/')[1])",
    "pulumi.Output.all(topic.arn, topic.id).apply(json.loads)",
    "topic.arn.apply(fail)",
    "topic.arn.apply(exit)",
)


def test_function_that_fails_with_a_fake_value_has_an_unknown_result(judge: Judge) -> None:
    topics = (
        f'topic = aws.sns.Topic("{n}", opts=own)\n'
        f'aws.sns.Topic("of-{n}", display_name={expression}, opts=own)\n'
        for n, expression in enumerate(FAILING)
    )
    result = judge("async def fail(arn):\n    return 1 / 0\n" + "".join(topics))
    failed = [item for item in result.findings if item.outcome == "undecided"]
    assert sorted((item.urn.rpartition("::")[2], item.rule) for item in failed) == [
        (str(n), "GH-UNDECIDED") for n in range(len(FAILING))
    ]
    assert {("GH-SNS-001", f"of-{n}", "violation") for n in range(len(FAILING))} <= outcomes(
        result, {"GH-SNS-001"}
    )


def test_function_that_fails_with_a_known_value_is_an_error(judge: Judge) -> None:
    with pytest.raises(CommandError, match=r"__main__.py:\d+: ZeroDivisionError"):
        judge("pulumi.Output.from_input(1).apply(lambda number: number / 0)")


def test_results_of_the_first_run_are_kept_if_the_second_fails(judge: Judge) -> None:
    code = """
    topic = aws.sns.Topic("alerts", opts=own)
    topic.arn.apply(lambda arn: pulumi.CustomResource("aws:sns/topic:Topik", "t", {}))
    """
    result = judge(code)
    assert ("GH-SNS-001", "alerts", "violation") in outcomes(result, {"GH-SNS-001"})
    assert {item.rule for item in result.findings if item.outcome == "undecided"} == {
        "GH-UNDECIDED"
    }


REGION = """
import os
import pulumi_aws as aws

assert os.environ["AWS_REGION"] == os.environ["AWS_DEFAULT_REGION"] == "{program}"
assert "AWS_PROFILE" not in os.environ
assert aws.get_region().region == "{provider}"
"""


@pytest.mark.parametrize(
    ("stack", "variables", "program", "provider"),
    [
        ("config: {aws:region: us-west-2}", {}, "us-west-2", "us-west-2"),
        ("config: {}", {"AWS_DEFAULT_REGION": "sa-east-1"}, "sa-east-1", "sa-east-1"),
        (
            "config: {aws:region: us-west-2}",
            {"AWS_REGION": "sa-east-1"},
            *("sa-east-1", "us-west-2"),
        ),
    ],
)
def test_region_reaches_the_program(
    folder: Path, stack: str, variables: dict[str, str], program: str, provider: str
) -> None:
    (folder / "Pulumi.dev.yaml").write_text(stack)
    (folder / "__main__.py").write_text(REGION.format(program=program, provider=provider))
    command = [sys.executable, "-m", "gatehouse_policies", "check", "--levels", "dev"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    result = subprocess.run(
        command,
        cwd=folder,
        env={**plain, **variables, "AWS_PROFILE": "own"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


ALLOWED = [
    ('{"AWS": f"arn:aws:iam::{account}:root"}', set()),
    ('{"AWS": aws.iam.get_role(name="admin").arn}', {"undecided"}),
    ('{"AWS": aws.iam.get_roles().arns[0]}', {"undecided"}),
    ('{"AWS": aws.iam.get_role_output(name="admin").arn}', {"undecided"}),
    ('{"AWS": aws.ec2.get_ami(most_recent=True).owner_id}', {"undecided"}),
    ('{"AWS": aws.organizations.get_organization().master_account_id}', {"undecided"}),
    ('{"AWS": "arn:aws:iam::111122223333:root"}', {"violation"}),
]


# An unknown statement does not hide another.
STATEMENTS: str = _CASES["statements"]


def test_account_of_several_providers_is_unknown(judge: Judge) -> None:
    code = """
    aws.Provider("other", region="eu-west-1", allowed_account_ids=["111122223333"])
    account = aws.get_caller_identity().account_id
    aws.kms.Key("key", policy=key_policy(f"arn:aws:iam::{account}:root"), opts=own)
    key = aws.kms.Key("of-default")
    aws.ebs.Volume("data", availability_zone="eu-west-1a", kms_key_id=key.arn, opts=own)
    """
    found = outcomes(judge(code), {"GH-KMS-002", "GH-PUL-006"})
    assert ("GH-KMS-002", "key", "undecided") in found
    assert ("GH-PUL-006", "data", "violation") not in found


SHAPES: str = _CASES["shapes"]


OF = """
def of(principal):
    return document(allow("kms:*", "*", Principal=principal))

account = aws.get_caller_identity().account_id
"""


def test_definite_violations_are_found_beside_fake_values(judge: Judge) -> None:
    every_resource = DOCUMENTS.replace('"resources": [', '"resources": ["*", ').replace(
        '"dynamodb:GetItem", arn', '"dynamodb:GetItem", ["*", arn]'
    )
    wide = every_resource.replace('"dynamodb:GetItem"', '"*"')
    keys = (
        f"policy = pulumi.Output.from_input({principal}).apply(of)\n"
        f'aws.kms.Key("{n}", policy=policy, opts=own)\n'
        for n, (principal, _) in enumerate(ALLOWED)
    )
    result = judge(wide + OF + "".join(keys) + STATEMENTS + SHAPES)
    assert outcomes(result, {"GH-IAM-001"}) == {
        ("GH-IAM-001", name, "violation") for name in ("of-arn", "of-outputs")
    }
    # The account of a lookup does not decide.
    assert outcomes(result, {"GH-KMS-002"}) == {
        ("GH-KMS-002", "role", "undecided"),
        ("GH-KMS-002", "public", "violation"),
        ("GH-KMS-002", "foreign", "violation"),
        *(("GH-KMS-002", str(n), each) for n, (_, all_) in enumerate(ALLOWED) for each in all_),
    }
    # Outputs have the form that AWS gives.
    assert [item.message for item in result.findings if "apply" in item.message] == []
    # A secret output is not harmless.
    assert ("GH-LAM-003", "f", "violation") in outcomes(result, {"GH-LAM-003"})
