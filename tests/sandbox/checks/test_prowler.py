"""Prowler findings are matched with the accepted ones; other serious findings fail the scan."""

from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies.errors import CheckError

from sandbox.checks.prowler import AcceptedFinding, accepted, classify, scan
from tests.components.settings.stack_settings import STACKS

BUCKET = "arn:aws:s3:::gatehouse-prod-data-1"
ACCEPTED = AcceptedFinding(
    "s3_bucket_object_lock",
    "arn:aws:s3:::gatehouse-*-data-*",
    "decision",
    "Data must be deletable.",
)
REASON_CHARACTERS_MIN = 20
KINDS = {"emulator", "account", "decision"}


def row(check: str, severity: str, resource: str = BUCKET, status: str = "FAIL") -> dict[str, Any]:
    """A finding from Prowler (OCSF)."""
    return {
        "status_code": status,
        "severity": severity,
        "status_detail": "It is not.",
        "metadata": {"event_code": check},
        "resources": [{"uid": resource}],
    }


@pytest.mark.requirement("CG-14")
@pytest.mark.parametrize(
    ("severity", "code"), [("Critical", 1), ("High", 1), ("Medium", 0), ("Low", 0)]
)
def test_serious_finding_fails_the_scan(severity: str, code: int) -> None:
    result = classify([row("kms_open", severity)], [ACCEPTED])
    assert (result.exit_code, len(result.open), result.unused) == (code, 1, (ACCEPTED,))


def test_accepted_finding_does_not_fail_the_scan() -> None:
    result = classify(
        [row(ACCEPTED.check, "High"), row("kms_fine", "High", status="PASS")], [ACCEPTED]
    )
    assert (result.exit_code, result.passed, result.open, result.unused) == (0, 1, (), ())
    assert [entry for _, entry in result.accepted] == [ACCEPTED]


def test_accepted_finding_matches_check_and_resource() -> None:
    rows = [
        row(ACCEPTED.check, "High", "arn:aws:s3:::gatehouse-prod-trail-1"),
        row("s3_bucket_public", "High"),
    ]
    result = classify(rows, [ACCEPTED])
    assert (result.exit_code, len(result.open)) == (1, 2)


def test_findings_are_sorted_by_severity() -> None:
    result = classify([row("b", "Low"), row("a", "High"), row("c", "Critical")], [])
    assert [finding.severity for finding in result.open] == ["critical", "high", "low"]


def test_accepted_finding_of_one_stack(tmp_path: Path) -> None:
    file = tmp_path / "accepted.toml"
    file.write_text(
        '[[finding]]\nchecks = ["rds_multi_az"]\nstacks = ["dev"]\nkind = "decision"\nwhy = '
        '"dev is cheap."\n'
    )
    assert classify([row("rds_multi_az", "Medium")], accepted("dev", file)).open == ()
    assert len(classify([row("rds_multi_az", "Medium")], accepted("prod", file)).open) == 1
    assert len(accepted(file=file)) == 1


def test_accepted_findings_have_existing_stacks() -> None:
    assert {stack for entry in accepted() for stack in entry.stacks} <= set(STACKS)


def test_accepted_findings_are_unique_with_reasons() -> None:
    rows = accepted()
    assert len({(entry.check, entry.resource) for entry in rows}) == len(rows)
    assert [
        entry for entry in rows if entry.kind not in KINDS or len(entry.why) < REASON_CHARACTERS_MIN
    ] == []


def test_failed_installation_is_reported(tmp_path: Path) -> None:
    blocked = tmp_path / "home"
    blocked.mkdir()
    (blocked / "prowler").write_text("")
    with pytest.raises(
        CheckError, match=r"Prowler could not be installed\. .* Log: .*prowler\.log"
    ):
        scan("dev", blocked)
