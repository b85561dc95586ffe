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
from gatehouse_policies.errors import CheckError
from gatehouse_policies.policy_check import CheckResult

HEAD = """
import ipaddress
import json
import pulumi
import pulumi_aws as aws

provider = aws.Provider("main", region="eu-west-1", allowed_account_ids=["482912345678"])
own = pulumi.ResourceOptions(provider=provider)
invoked = pulumi.InvokeOptions(provider=provider)


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def allow(action, resource, **elements):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **elements}


def tls(action, resource):
    condition = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": resource}
    return {**deny, "Condition": condition}


def key_policy(principal):
    return document(allow("kms:*", "*", Principal={"AWS": principal}))
"""

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


TABLE = """
table = aws.dynamodb.Table(
    "orders", attributes=[{"name": "id", "type": "S"}], hash_key="id", opts=own
)
trust = document(
    {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
)
role = aws.iam.Role("role", assume_role_policy=trust, opts=own)
"""
OF_TABLE = (
    TABLE
    + """
policy = table.arn.apply(lambda arn: document(allow("dynamodb:GetItem", arn)))
aws.iam.RolePolicy("policy", role=role.id, policy=policy, opts=own)
"""
)
DOCUMENT_OUTPUT = (
    TABLE
    + """
statement = {"actions": ["dynamodb:GetItem"], "resources": [table.arn]}
policy = aws.iam.get_policy_document_output(statements=[statement], opts=invoked)
aws.iam.RolePolicy("policy", role=role.id, policy=policy.json, opts=own)
"""
)
ORIGIN_ACCESS_CONTROL = """
bucket = aws.s3.Bucket("site", opts=own)
control = aws.cloudfront.OriginAccessControl(
    "site",
    origin_access_control_origin_type="s3",
    signing_behavior="always",
    signing_protocol="sigv4",
    opts=own,
)
distribution = aws.cloudfront.Distribution(
    "site",
    enabled=True,
    origins=[
        {
            "domain_name": bucket.bucket_regional_domain_name,
            "origin_id": "s3",
            "origin_access_control_id": control.id,
        }
    ],
    default_cache_behavior={
        "target_origin_id": "s3",
        "viewer_protocol_policy": "redirect-to-https",
        "allowed_methods": ["GET", "HEAD"],
        "cached_methods": ["GET", "HEAD"],
    },
    restrictions={"geo_restriction": {"restriction_type": "none"}},
    viewer_certificate={"cloudfront_default_certificate": True},
    opts=own,
)


def of_site(arns):
    bucket, distribution = arns
    delivery = {
        "Principal": {"Service": "cloudfront.amazonaws.com"},
        "Condition": {"StringEquals": {"AWS:SourceArn": distribution}},
    }
    read = allow("s3:GetObject", bucket + "/*", **delivery)
    return document(read, tls("s3:*", [bucket, bucket + "/*"]))


policy = pulumi.Output.all(bucket.arn, distribution.arn).apply(of_site)
aws.s3.BucketPolicy("site", bucket=bucket.id, policy=policy, opts=own)
"""


@pytest.mark.requirement("PP-02")
@pytest.mark.parametrize(
    ("code", "rules"),
    [
        (OF_TABLE, ("GH-IAM-001", "GH-IAM-002", "GH-KMS-007")),
        (DOCUMENT_OUTPUT, ("GH-IAM-001", "GH-IAM-002", "GH-KMS-007")),
        (ORIGIN_ACCESS_CONTROL, ("GH-S3-003", "GH-S3-012", "GH-S3-016", "GH-IAM-010")),
    ],
    ids=["ARN of a table", "document of outputs", "origin access control"],
)
def test_second_run_decides_documents_of_computed_arns(
    judge: Judge, code: str, rules: tuple[str, ...]
) -> None:
    result = judge(code)
    assert outcomes(result, rules) == set()
    assert "undecided" not in {item.outcome for item in result.findings}


@pytest.mark.parametrize("code", [OF_TABLE, DOCUMENT_OUTPUT], ids=["ARN", "document of outputs"])
def test_second_run_finds_violations_in_documents_of_computed_arns(judge: Judge, code: str) -> None:
    every_resource = code.replace('"resources": [', '"resources": ["*", ').replace(
        '"dynamodb:GetItem", arn', '"dynamodb:GetItem", ["*", arn]'
    )
    wide = judge(every_resource.replace('"dynamodb:GetItem"', '"*"'))
    assert ("GH-IAM-001", "policy", "violation") in outcomes(wide, {"GH-IAM-001"})


def test_undecided_result_has_its_own_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = """
    other = pulumi.StackReference("org/other/dev")
    aws.iam.RolePolicy("of-stack", role="r", policy=other.get_output("policy"), opts=own)
    """
    (folder / "__main__.py").write_text(HEAD + dedent(code))
    disabled = folder / "policies.toml"
    reports = folder / ".gatehouse" / "check"
    arguments = ["check", "--program", str(folder), "--config", str(disabled), "--env", "dev"]
    disabled.write_text("")
    assert main([*arguments, "--levels", "prod"]) == 1
    report = json.loads((reports / "dev.prod.sarif").read_text())["runs"][0]
    violated = {row["ruleId"] for row in report["results"] if row["kind"] == "fail"}
    disabled.write_text("[levels]\n" + "".join(f'{rule} = "advisory"\n' for rule in violated))
    assert main([*arguments, "--levels", "prod"]) == 0
    assert main([*arguments, "--levels", "prod", "--fail-on-undecided"]) == 3
    report = json.loads((reports / "dev.prod.sarif").read_text())["runs"][0]
    open_results = [row for row in report["results"] if row["kind"] == "open"]
    assert "GH-IAM-001 could not be decided" in " ".join(
        row["message"]["text"] for row in open_results
    )
    assert report["properties"] == {"undecided": len(open_results)}
    assert report["invocations"][0]["exitCode"] == 3
    assert f"{len(open_results)} undecided" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("topic.arn.apply(lambda arn: 1 / 0)", "alerts"),
        ("topic.arn.apply(lambda arn: arn.split('/')[1])", "alerts"),
        ("pulumi.Output.all(topic.arn, topic.id).apply(json.loads)", "alerts"),
        ("topic.arn.apply(fail)", "alerts"),
        ("topic.arn.apply(exit)", "alerts"),
    ],
)
def test_function_that_fails_with_a_fake_value_has_an_unknown_result(
    judge: Judge, expression: str, name: str
) -> None:
    code = f"""
    async def fail(arn):
        return 1 / 0

    topic = aws.sns.Topic("alerts", opts=own)
    aws.sns.Topic("other", display_name={expression}, opts=own)
    """
    result = judge(code)
    [failed] = [item for item in result.findings if item.outcome == "undecided"]
    assert (failed.urn.rpartition("::")[2], failed.rule) == (name, "GH-UNDECIDED")
    assert ("GH-SNS-001", "other", "violation") in outcomes(result, {"GH-SNS-001"})


def test_function_that_fails_with_a_known_value_is_an_error(judge: Judge) -> None:
    with pytest.raises(CheckError, match=r"__main__.py:\d+: ZeroDivisionError"):
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
        ("config: {}", {"AWS_REGION": "sa-east-1"}, "sa-east-1", "sa-east-1"),
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
