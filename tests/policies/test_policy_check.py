"""`check` with unknown and known outputs."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from gatehouse_policies import policy_check
from gatehouse_policies.__main__ import main
from gatehouse_policies.reports.findings import Finding, Run
from pulumi_local.errors import CommandError

from tests.cases import cases

_CASES = cases(__file__)

PACK: str = _CASES["pack"]
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


INLINE: str = _CASES["inline"]


SEVERITIES = """
import pulumi_aws as aws

new = aws.s3.Bucket("new")
opened = aws.s3.Bucket("opened")
aws.s3.BucketPublicAccessBlock("opened", bucket=opened.id, block_public_acls=False)
"""


LOGS: str = _CASES["logs"]


OUTPUTS: str = _CASES["outputs"]


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
        with pytest.raises(CommandError, match="is a symbolic link"):
            policy_check.write(result, home)
        link.unlink()
        target.rename(link)


def test_missing_exemptions_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as error:
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
