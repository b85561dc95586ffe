"""`check` with unknown and known outputs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.errors import CheckError
from gatehouse_policies.reports.findings import Finding, Run

PACK = """
from pulumi_policy import *
def open_topic(args, report):
    if args.resource_type == "aws:sns/topic:Topic" and "kmsMasterKeyId" not in args.props:
        report("the topic is not encrypted. Fix: set kmsMasterKeyId")
def blocks(args, report):
    kind = ":BucketPublicAccessBlock"
    blocks = [row for row in args.resources if row.resource_type.endswith(kind)]
    covered = {dep.urn for block in blocks for dep in block.property_dependencies.get("bucket", [])}
    for row in args.resources:
        if row.resource_type == "aws:s3/bucket:Bucket" and row.urn not in covered:
            report("the bucket has no public access block. Fix: add one", row.urn)
def arn(args, report):
    if args.resource_type == "aws:s3/bucketPolicy:BucketPolicy":
        report("the policy is " + args.props["policy"])
PolicyPack("tests", [
    ResourceValidationPolicy("T-TOPIC", "Topics are encrypted", open_topic),
    StackValidationPolicy("T-BLOCK", "Buckets have a public access block", blocks),
    ResourceValidationPolicy("T-ARN", "Reads a document", arn),
], initial_config={"all": EnforcementLevel.MANDATORY, "T-ARN": EnforcementLevel.ADVISORY})
"""
PROGRAM = """
import pulumi_aws as aws

bucket = aws.s3.Bucket("data")
block = aws.s3.BucketPublicAccessBlock("data", bucket=bucket.id, block_public_acls=True)
topic = aws.sns.Topic("alerts", kms_master_key_id="alias/own")
"""


def write_program(parent: Path, code: str) -> Path:
    folder = parent / "program"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (folder / "__main__.py").write_text(code)
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return write_program(tmp_path, PROGRAM)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (folder / "__main__.py").write_text(PACK)
    return folder


def test_violation_has_line_and_passes(program: Path, pack: Path) -> None:
    (program / "__main__.py").write_text(PROGRAM.replace(', kms_master_key_id="alias/own"', ""))
    result = policy_check.check(program, "dev", folders=[pack])
    assert result.exit_code == 1
    [finding] = result.findings
    assert (finding.rule, finding.level, finding.source, finding.passes) == (
        "T-TOPIC",
        "mandatory",
        "__main__.py:6",
        ("known",),
    )
    assert finding.urn == "urn:pulumi:dev::shop::aws:sns/topic:Topic::alerts"


def test_shipped_packs_check_another_program(
    program: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    options = ["--program", str(program), "--env", "dev"]
    assert main(["--home", str(tmp_path), "check", *options]) == 1
    # Only one of the four settings of the public access block is true.
    assert "GH-S3-001" in capsys.readouterr().out


INLINE = """
import pulumi_aws as aws

sink = aws.s3.Bucket("sink", tags={"gatehouse:purpose": "log-sink"})
key = aws.kms.Key("files", enable_key_rotation=True)
encryption = {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}
aws.s3.Bucket(
    "data",
    versioning={"enabled": True},
    logging={"target_bucket": sink.id},
    server_side_encryption_configuration={
        "rule": {"apply_server_side_encryption_by_default": encryption, "bucket_key_enabled": True}
    },
    lifecycle_rules=[
        {
            "enabled": True,
            "noncurrent_version_expiration": {"days": 30},
            "abort_incomplete_multipart_upload_days": 7,
        }
    ],
)
"""


SEVERITIES = """
import pulumi_aws as aws

new = aws.s3.Bucket("new")
opened = aws.s3.Bucket("opened")
aws.s3.BucketPublicAccessBlock("opened", bucket=opened.id, block_public_acls=False)
"""


LOGS = """
import json
import pulumi
import pulumi_aws as aws

own = aws.Provider("own", region="eu-west-1", allowed_account_ids=["482912345678"])
options = pulumi.ResourceOptions(provider=own)

def bucket(name, principal, *actions):
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions)}
    document = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]}
    created = aws.s3.Bucket(name, opts=options)
    aws.s3.BucketPolicy(name, bucket=created.id, policy=json.dumps(document), opts=options)

load_balancing = aws.elb.get_service_account().arn
bucket("logs", "156460612806", "s3:PutObject")
bucket("logs-of-function", load_balancing, "s3:PutObject")
bucket("trail", aws.cloudtrail.get_service_account().arn, "s3:PutObject", "s3:GetBucketAcl")
billing = aws.get_billing_service_account().arn
bucket("billing", billing, "s3:PutObject", "s3:GetBucketAcl", "s3:GetBucketPolicy")
bucket("read", load_balancing, "s3:PutObject", "s3:GetObject")
bucket("user", "arn:aws:iam::156460612806:user/x", "s3:PutObject")
bucket("stranger", "156460612807", "s3:PutObject")
"""


OUTPUTS = """
import pulumi
import pulumi_aws as aws
import pulumi_random as random

secret = aws.secretsmanager.Secret("db")
named = aws.secretsmanager.Secret("api", name="Correct-Horse-7")
parameter = aws.ssm.Parameter("p", type="SecureString", value=pulumi.Output.secret("x"))
key = aws.kms.Key("signing")
drawn = random.RandomString("drawn", length=20)
pulumi.export("db_password_secret", secret.name)
pulumi.export("db_password", secret.id)
pulumi.export("api_password", named.name)
pulumi.export("shop-passwords", parameter.name)
pulumi.export("signing-private-key", key.key_id)
pulumi.export("nested", {"password": [named.name]})
pulumi.export("admin_password", "Correct-Horse-8")
pulumi.export("root_password", drawn.result)
"""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    folder = write_program(
        tmp_path_factory.mktemp("one"), "".join((INLINE, SEVERITIES, LOGS, OUTPUTS))
    )
    return list(policy_check.check(folder, "dev", levels="prod").findings)


def name_of(finding: Finding) -> str:
    return finding.urn.rpartition("::")[2]


def test_settings_on_a_bucket_itself_are_read(findings: list[Finding]) -> None:
    of_bucket = {item.rule for item in findings if name_of(item) == "data"}
    settings = {f"GH-S3-{number}" for number in ("005", "007", "008", "009", "010")}
    assert "GH-PUL-004" in of_bucket
    assert not of_bucket & settings


def test_message_can_have_another_severity_than_its_rule(findings: list[Finding]) -> None:
    severities = {name_of(item): item.severity for item in findings if item.rule == "GH-S3-001"}
    assert (severities["new"], severities["opened"]) == ("low", "critical")


def test_accounts_of_aws_may_deliver_logs(findings: list[Finding]) -> None:
    reported = {name_of(item) for item in findings if item.rule == "GH-S3-012"}
    assert reported == {"read", "user", "stranger"}


def test_name_or_id_of_a_resource_is_no_secret(findings: list[Finding]) -> None:
    reported = [item.message for item in findings if item.rule == "GH-PUL-005" and item.blocks]
    assert len(reported) == 2
    for name in ("admin_password", "root_password"):
        assert name in str(reported)


EXEMPTION = """
[[exemption]]
control = "GH-S3-010"
urn = "urn:pulumi:dev::shop::*::data"
owner = "platform"
reason = "the trial has no bucket for its logs yet"
ticket = "SEC-1"
created = {created}
expires = {expires}
"""


def test_exempted_violation_does_not_block(program: Path, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    file = tmp_path / "own.toml"
    file.write_text(EXEMPTION.format(created=today, expires=today + timedelta(days=30)))
    variables = policy_check.exemptions(file, ignore=False)
    findings = policy_check.check(program, "dev", levels="prod", variables=variables).findings
    assert {item.outcome for item in findings if item.rule == "GH-S3-010"} == {"exempted"}
    # With this variable, a pack applies no exemptions (test_audit_ignores_exemptions).
    assert policy_check.exemptions(file, ignore=True) == {"GATEHOUSE_IGNORE_EXEMPTIONS": "1"}


def test_reports_follow_no_symbolic_link_of_a_repository(tmp_path: Path) -> None:
    result = policy_check.CheckResult([], Run("dev", 0, 0.0))
    target, home = tmp_path / "target", tmp_path / ".gatehouse"
    (home / "check").mkdir(parents=True)
    for link in (home / ".gitignore", home / "check" / "dev.md"):
        link.symlink_to(target)
    policy_check.write(result, policy_check.reports_folder(tmp_path))
    assert not target.exists()
    assert "Policy check" in (home / "check" / "dev.md").read_text()
    for link in (home / "check", home):
        link.rename(target)
        link.symlink_to(target)
        with pytest.raises(CheckError, match="is a symbolic link"):
            policy_check.write(result, home)
        link.unlink()
        target.rename(link)


def test_missing_exemptions_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CheckError) as error:
        policy_check.exemptions(tmp_path / "no.toml", ignore=False)
    assert error.value.message.endswith(
        "no.toml does not exist. Specify a file with [[exemption]] entries: --exemptions FILE"
    )


def test_report_lists_fake_function_results(program: Path, pack: Path) -> None:
    (program / "__main__.py").write_text(
        PROGRAM + "vpc = aws.ec2.get_vpc(default=True)\naws.ec2.Subnet('s', vpc_id=vpc.id)\n"
    )
    result = policy_check.check(program, "dev", folders=[pack])
    assert (result.findings, result.exit_code, result.run.invented) == ([], 0, ("getVpc",))
    assert 0 < result.run.pack_seconds["tests"] < result.run.seconds
    assert "; fake results of provider functions: getVpc" in result.text("md")
    assert "getVpc" in result.text("txt")
