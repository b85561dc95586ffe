"""exemptions.toml: what is accepted, and one clear message for each way of getting it wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from policies import catalogue
from policies.engine.exemptions import Exemptions, load

TODAY = date(2026, 6, 1)
KNOWN = {rule.id: rule.exemptible for rule in catalogue.RULES}


def read(folder: Path, **changed: str | None) -> Exemptions:
    clean: dict[str, str | None] = {
        "control": '"GH-S3-010"',
        "urn": '"urn:pulumi:dev::gatehouse::*::logs"',
        "owner": '"platform"',
        "reason": '"the log bucket of the trial has no second bucket"',
        "ticket": '"SEC-1"',
        "created": "2026-05-20",
        "expires": "2026-07-01",
    }
    lines = [f"{key} = {value}" for key, value in {**clean, **changed}.items() if value is not None]
    file = folder / "exemptions.toml"
    file.write_text("\n".join(["[[exemption]]", *lines]), encoding="utf-8")
    return load(file, TODAY, KNOWN)


def test_a_good_entry_covers_its_control_on_its_resources_only(tmp_path: Path) -> None:
    exemptions = read(tmp_path)

    urn = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
    assert exemptions.faults == ()
    assert exemptions.find("GH-S3-010", urn) is exemptions.active[0]
    assert exemptions.find("GH-S3-001", urn) is None
    assert exemptions.find("GH-S3-010", urn.replace("dev", "prod")) is None


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"owner": None}, "lacks owner. Fix: add it"),
        ({"owner": None, "ticket": None}, "lacks owner, ticket. Fix: add them"),
        ({"control": '"GH-S3-999"'}, "names a control that does not exist. Fix: take the id from a report"),
        (
            {"control": '"GH-S3-001"'},
            "names a control that can never be exempted. Fix: meet the control and remove the entry",
        ),
        (
            {"reason": '"because"'},
            "gives a reason shorter than 20 characters. Fix: say why the control cannot be met",
        ),
        (
            {"urn": '"*"'},
            "covers every resource. Fix: name the resource in urn, such as urn:pulumi:dev::*::logs",
        ),
        (
            {"created": "2026-03-01"},
            "runs 122 days, 90 at most. Fix: bring expires nearer to created",
        ),
        (
            {"created": "2026-04-01", "expires": "2026-05-31"},
            "expired on 2026-05-31. Fix: meet the control and remove the entry, or have it granted anew",
        ),
        (
            {"created": "2026-06-02"},
            "is created in the future (2026-06-02). Fix: write the day on which it was granted",
        ),
        ({"expires": "2026-05-20"}, "expires before it is created. Fix: set expires after created"),
        ({"expires": '"soon"'}, "has no date in expires. Fix: write expires = 2026-01-31, without quotes"),
        (
            {"approver": '"me"'},
            "has the unknown key approver. Fix: use only control, urn, owner, reason, ticket, created, expires",
        ),
        ({"owner": "7"}, "has no text in owner. Fix: write owner as a non-empty string"),
    ],
)
def test_a_wrong_entry_exempts_nothing_and_says_what_is_wrong(changed: dict[str, str | None], says: str, tmp_path: Path) -> None:
    exemptions = read(tmp_path, **changed)

    assert exemptions.active == ()
    assert [text.partition(") ")[2] for _, text in exemptions.faults] == [says]


@pytest.mark.parametrize("text", ["[[exemption]", "exemption = 7", "[other]"])
def test_a_file_of_another_shape_is_a_fault(text: str, tmp_path: Path) -> None:
    file = tmp_path / "exemptions.toml"
    file.write_text(text, encoding="utf-8")

    assert [fault.startswith("exemptions.toml") for _, fault in load(file, TODAY, KNOWN).faults] == [True]


def test_no_file_means_no_exemptions(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml", TODAY, KNOWN) == Exemptions()


def test_an_entry_for_another_stack_is_none_of_this_stacks_business(tmp_path: Path) -> None:
    entry = read(tmp_path).active[0]

    assert entry.concerns("urn:pulumi:dev::gatehouse::pulumi:pulumi:Stack::gatehouse-dev")
    assert not entry.concerns("urn:pulumi:prod::gatehouse::pulumi:pulumi:Stack::gatehouse-prod")
