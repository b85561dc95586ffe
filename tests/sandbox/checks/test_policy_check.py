"""`check` runs real packs over a program, with outputs unknown and known, and says what is wrong and what to type."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sandbox.__main__ import main
from sandbox.checks import policy_check
from sandbox.errors import SandboxError

PACK = """
from pulumi_policy import *
def open_topic(args, report):
    if args.resource_type == "aws:sns/topic:Topic" and "kmsMasterKeyId" not in args.props:
        report("the topic is not encrypted. Fix: set kmsMasterKeyId")
def fenced(args, report):
    fences = [one for one in args.resources if one.resource_type.endswith(":BucketPublicAccessBlock")]
    guarded = {dep.urn for one in fences for dep in one.property_dependencies.get("bucket", [])}
    for one in args.resources:
        if one.resource_type == "aws:s3/bucket:Bucket" and one.urn not in guarded:
            report("the bucket has no public access block. Fix: add one", one.urn)
def arn(args, report):
    if args.resource_type == "aws:s3/bucketPolicy:BucketPolicy":
        report("the policy is " + args.props["policy"])
PolicyPack("tests", [
    ResourceValidationPolicy("T-TOPIC", "Topics are encrypted", open_topic),
    StackValidationPolicy("T-FENCE", "Buckets are fenced", fenced),
    ResourceValidationPolicy("T-ARN", "Reads a document", arn),
])
"""
PROGRAM = """
import pulumi_aws as aws

bucket = aws.s3.Bucket("data")
fence = aws.s3.BucketPublicAccessBlock("data", bucket=bucket.id, block_public_acls=True)
topic = aws.sns.Topic("bell", kms_master_key_id="alias/own")
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that breaks no rule of the pack."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (folder / "__main__.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "pack"
    (folder / "levels").mkdir(parents=True)
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (folder / "__main__.py").write_text(PACK)
    (folder / "levels" / "dev.json").write_text(json.dumps({"all": "mandatory", "T-ARN": "advisory"}))
    return folder


def test_a_program_that_breaks_no_rule_is_clean(program: Path, pack: Path) -> None:
    checked = policy_check.check(program, "dev", folders=[pack])
    assert (checked.findings, checked.exit_code) == ([], 0)


def test_a_broken_rule_is_named_once_with_its_line_and_both_passes(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text(source.read_text().replace(', kms_master_key_id="alias/own"', ""))
    checked = policy_check.check(program, "dev", folders=[pack])
    assert checked.exit_code == 1
    [found] = checked.findings
    assert (found.rule, found.level, found.source, found.passes) == (
        "T-TOPIC",
        "mandatory",
        "__main__.py:6",
        ("unknown", "known"),
    )
    assert found.urn == "urn:pulumi:dev::shop::aws:sns/topic:Topic::bell"


def test_a_removed_public_access_block_is_found_although_ids_are_unknown(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text("\n".join(line for line in source.read_text().splitlines() if "fence" not in line))
    checked = policy_check.check(program, "dev", passes=("unknown",), folders=[pack])
    assert [(found.rule, found.urn.rpartition("::")[2], found.passes) for found in checked.findings] == [
        ("T-FENCE", "data", ("unknown",))
    ]


def test_what_only_the_known_pass_can_read_is_found_there(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text(source.read_text() + 'aws.s3.BucketPolicy("data", bucket=bucket.id, policy=bucket.arn)\n')
    passes = {
        found.passes for found in policy_check.check(program, "dev", folders=[pack]).findings if "arn:aws:s3" in found.message
    }
    assert passes == {("known",)}


def test_an_advisory_finding_does_not_fail_the_check(program: Path, pack: Path) -> None:
    (pack / "levels" / "dev.json").write_text(json.dumps({"all": "advisory"}))
    source = program / "__main__.py"
    source.write_text(source.read_text().replace(', kms_master_key_id="alias/own"', ""))
    checked = policy_check.check(program, "dev", folders=[pack])
    assert (len(checked.findings), checked.exit_code) == (1, 0)


def test_every_form_of_the_report_is_written(program: Path, pack: Path, tmp_path: Path) -> None:
    checked = policy_check.check(program, "dev", folders=[pack])
    files = policy_check.write(checked, tmp_path)
    assert [file.relative_to(tmp_path).as_posix() for file in files] == [
        "check/dev.txt",
        "check/dev.sarif",
        "check/dev.xml",
        "check/dev.md",
    ]
    assert json.loads(files[1].read_text())["version"] == "2.1.0"
    assert json.loads(checked.text("json")) == []


def test_a_program_error_is_one_message_with_its_line(program: Path, pack: Path) -> None:
    (program / "__main__.py").write_text("import pulumi\n\nraise ValueError('no size')\n")
    with pytest.raises(SandboxError) as refused:
        policy_check.check(program, "dev", folders=[pack])
    assert refused.value.message == "__main__.py:3: ValueError: no size"


def test_an_unknown_stack_could_not_run(program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--home", str(tmp_path), "check", "--program", str(program), "--env", "nope"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no stack 'nope'")


def test_the_own_packs_judge_a_foreign_program(program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "report.json"
    options = ["--program", str(program), "--env", "dev", "--format", "json", "--output", str(out)]
    assert main(["--home", str(tmp_path), "check", *options]) == 1
    rules = {found["rule"] for found in json.loads(out.read_text()) if found["urn"].endswith("::data")}
    assert "GH-S3-001" in rules  # only one of the four flags is set
    assert capsys.readouterr().out == ""


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


@pytest.mark.requirement("PP-04")
def test_an_audit_shows_what_an_exemption_lifts(program: Path, tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    file = tmp_path / "own.toml"
    file.write_text(EXEMPTION.format(created=today, expires=today + timedelta(days=30)))
    outcomes = []
    for ignore in (False, True):
        variables = policy_check.exemptions(file, ignore)
        found = policy_check.check(program, "dev", levels="prod", passes=("known",), variables=variables).findings
        outcomes.append({one.outcome for one in found if one.rule == "GH-S3-010"})
    assert outcomes == [{"exempted"}, {"violation"}]


def test_exemptions_that_are_not_there_are_not_taken_for_none(tmp_path: Path) -> None:
    with pytest.raises(SandboxError) as refused:
        policy_check.exemptions(tmp_path / "no.toml", ignore=False)
    assert refused.value.message.endswith("no.toml. Give a file of [[exemption]] entries: --exemptions FILE")


def test_a_program_inside_a_repository_is_named_from_its_top(program: Path, pack: Path) -> None:
    (program.parent / ".git").mkdir()
    source = program / "__main__.py"
    source.write_text(source.read_text().replace(', kms_master_key_id="alias/own"', ""))
    log = json.loads(policy_check.check(program, "dev", passes=("known",), folders=[pack]).text("sarif"))
    [result] = log["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "program/__main__.py"


@pytest.mark.requirement("PP-02")
def test_a_program_that_looks_things_up_is_judged_and_the_report_says_what_was_made_up(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text(source.read_text() + "vpc = aws.ec2.get_vpc(default=True)\naws.ec2.Subnet('s', vpc_id=vpc.id)\n")
    checked = policy_check.check(program, "dev", folders=[pack])
    assert (checked.findings, checked.run.invented) == ([], ("getVpc",))
    assert "made-up results of provider functions: getVpc" in checked.text("markdown")
    assert "getVpc" in checked.text("table")


@pytest.mark.requirement("PP-02")
def test_what_another_stack_exports_is_unknown_in_both_passes(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text(
        "import pulumi\n"
        + source.read_text().replace('"alias/own"', 'pulumi.StackReference("org/keys/dev").require_output("key")')
        + "aws.s3.BucketPolicy('p', bucket=bucket.id, policy=pulumi.StackReference('org/x/dev').get_output('policy'))\n"
    )
    checked = policy_check.check(program, "dev", folders=[pack])
    (found,) = (found for found in checked.findings if found.rule == "T-TOPIC")
    assert (found.level, found.passes) == ("advisory", ("unknown", "known"))
    assert "kmsMasterKeyId" in found.message


def test_a_resource_that_is_only_read_is_not_asked_for_its_inputs(program: Path, pack: Path) -> None:
    source = program / "__main__.py"
    source.write_text(source.read_text() + "aws.sns.Topic.get('shared', 'arn:aws:sns:eu-west-1:123456789012:shared')\n")
    assert policy_check.check(program, "dev", folders=[pack]).findings == []
