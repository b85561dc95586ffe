"""Exemptions file."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.engine.exemptions import Exemptions, load

from tests.cases import cases

_CASES = cases(__file__)

TODAY = date(2026, 6, 1)
KNOWN = {rule.id: rule.exemptible for rule in catalogue.RULES}


def read(folder: Path, **changes: str | None) -> Exemptions:
    valid: dict[str, str | None] = {
        "control": '"GH-S3-010"',
        "urn": '"urn:pulumi:dev::gatehouse::*::logs"',
        "owner": '"platform"',
        "reason": '"the log bucket of the trial has no second bucket"',
        "ticket": '"SEC-1"',
        "created": "2026-05-20",
        "expires": "2026-07-01",
    }
    lines = [f"{key} = {value}" for key, value in {**valid, **changes}.items() if value is not None]
    file = folder / "exemptions.toml"
    file.write_text("\n".join(["[[exemption]]", *lines]))
    return load(file, TODAY, KNOWN)


def test_valid_entry_matches_control_and_urn(tmp_path: Path) -> None:
    exemptions = read(tmp_path)

    urn = "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs"
    assert exemptions.errors == ()
    assert exemptions.find("GH-S3-010", urn) is exemptions.active[0]
    assert exemptions.find("GH-S3-001", urn) is None
    assert exemptions.find("GH-S3-010", urn.replace("dev", "prod")) is None


@pytest.mark.parametrize("pattern", ["urn:pulumi:*::*aws*", "*::*:*"])
def test_last_part_matches_the_name_only(pattern: str, tmp_path: Path) -> None:
    [entry] = read(tmp_path, urn=f'"{pattern}"').active
    assert not entry.covers("GH-S3-010", "urn:pulumi:dev::gatehouse::aws:s3/bucket:Bucket::logs")


@pytest.mark.parametrize(
    "changes",
    [{"first_created": "2026-01-02"}, {"first_created": "2026-01-01", "renewed_by": '"security"'}],
)
def test_renewed_entry_is_valid(changes: dict[str, str | None], tmp_path: Path) -> None:
    exemptions = read(tmp_path, **changes)
    assert (len(exemptions.active), exemptions.errors) == (1, ())


@pytest.mark.parametrize("name", ['"platform"', '" Platform "'])
def test_owner_cannot_renew_its_own_entry(name: str, tmp_path: Path) -> None:
    exemptions = read(tmp_path, first_created="2026-01-01", renewed_by=name)
    assert "the maximum is 180" in exemptions.errors[0][1]


INVALID: list[Any] = [
    *_CASES["invalid"],
    ({"owner": None}, "has no owner. Fix: add it"),
    ({"owner": None, "ticket": None}, "has no owner, ticket. Fix: add them"),
]


@pytest.mark.parametrize(("changes", "error"), INVALID)
def test_invalid_entry_is_an_error(
    changes: dict[str, str | None], error: str, tmp_path: Path
) -> None:
    exemptions = read(tmp_path, **changes)

    assert exemptions.active == ()
    assert [text.partition(") ")[2] for _, text in exemptions.errors] == [error]


@pytest.mark.parametrize("text", ["[[exemption]", "exemption = 7", "[other]"])
def test_malformed_file_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "exemptions.toml"
    file.write_text(text)

    assert [
        error.startswith("exemptions.toml") for _, error in load(file, TODAY, KNOWN).errors
    ] == [True]


def test_missing_file_has_no_exemptions(tmp_path: Path) -> None:
    assert load(tmp_path / "none.toml", TODAY, KNOWN) == Exemptions()


def test_entry_applies_to_its_stack_only(tmp_path: Path) -> None:
    entry = read(tmp_path).active[0]

    assert entry.applies_to_stack("urn:pulumi:dev::gatehouse::pulumi:pulumi:Stack::gatehouse-dev")
    assert not entry.applies_to_stack(
        "urn:pulumi:prod::gatehouse::pulumi:pulumi:Stack::gatehouse-prod"
    )
