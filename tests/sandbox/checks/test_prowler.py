"""Findings are sorted out by written reasons; a serious one without a reason fails the audit."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from sandbox.checks.prowler import SCANNED, Reason, accepted, audit, judge
from sandbox.errors import SandboxError
from tests.components.settings.stack_settings import STACKS

BUCKET = "arn:aws:s3:::gatehouse-prod-data-1"
REASON = Reason("s3_bucket_object_lock", "arn:aws:s3:::gatehouse-*-data-*", "decision", "Data must be deletable.")
ENOUGH = 20
KINDS = {"emulator", "account", "decision"}


def row(check: str, severity: str, resource: str = BUCKET, status: str = "FAIL") -> dict[str, Any]:
    """One finding as Prowler writes it (OCSF)."""
    return {
        "status_code": status,
        "severity": severity,
        "status_detail": "It is not.",
        "metadata": {"event_code": check},
        "resources": [{"uid": resource}],
    }


@pytest.mark.requirement("CG-14")
@pytest.mark.parametrize(("severity", "code"), [("Critical", 1), ("High", 1), ("Medium", 0), ("Low", 0)])
def test_a_serious_finding_without_a_reason_fails_the_audit(severity: str, code: int) -> None:
    found = judge([row("kms_open", severity)], [REASON])
    assert (found.exit_code, len(found.open), found.unused) == (code, 1, (REASON,))


def test_a_finding_with_a_reason_is_kept_and_does_not_fail_the_audit() -> None:
    found = judge([row(REASON.check, "High"), row("kms_fine", "High", status="PASS")], [REASON])
    assert (found.exit_code, found.passed, found.open, found.unused) == (0, 1, (), ())
    assert [reason for _, reason in found.accepted] == [REASON]


def test_a_reason_covers_no_other_resource_and_no_other_check() -> None:
    rows = [row(REASON.check, "High", "arn:aws:s3:::gatehouse-prod-trail-1"), row("s3_bucket_public", "High")]
    found = judge(rows, [REASON])
    assert (found.exit_code, len(found.open)) == (1, 2)


def test_the_worst_comes_first() -> None:
    found = judge([row("b", "Low"), row("a", "High"), row("c", "Critical")], [])
    assert [finding.severity for finding in found.open] == ["critical", "high", "low"]


def test_a_reason_of_one_stack_does_not_cover_another(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    file.write_text('[[finding]]\nchecks = ["rds_multi_az"]\nstacks = ["dev"]\nkind = "decision"\nwhy = "dev is cheap."\n')
    assert judge([row("rds_multi_az", "Medium")], accepted("dev", file)).open == ()
    assert len(judge([row("rds_multi_az", "Medium")], accepted("prod", file)).open) == 1
    assert len(accepted(file=file)) == 1, "the page shows all of them"


def test_the_reasons_name_stacks_that_exist() -> None:
    assert {stack for reason in accepted() for stack in reason.stacks} <= set(STACKS)


def test_no_audit_that_was_written_down_left_a_finding_without_a_reason() -> None:
    counts = tomllib.loads(SCANNED.read_text(encoding="utf-8"))
    assert tuple(counts) == STACKS
    assert [stack for stack, row in counts.items() if row["open"] or not row["passed"]] == []


def test_every_reason_is_one() -> None:
    rows = accepted()
    assert len({(reason.check, reason.resource) for reason in rows}) == len(rows)
    assert [reason for reason in rows if reason.kind not in KINDS or len(reason.why) < ENOUGH] == []


def test_a_tool_that_cannot_be_installed_is_said_so(tmp_path: Path) -> None:
    """The folder for the environment is there already, as a file that nobody can make a folder of."""
    blocked = tmp_path / "home"
    blocked.mkdir()
    (blocked / "prowler").write_text("")
    with pytest.raises(SandboxError, match=r"Prowler could not be installed\. .* Log: .*prowler\.log"):
        audit("dev", blocked)
