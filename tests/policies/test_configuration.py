"""The configuration file changes levels and parameters."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import LISTS, Configuration, find, new_controls, read
from gatehouse_policies.engine.rule import ENVIRONMENTS
from pulumi_local.errors import CommandError

from tests.cases import cases

_CASES = cases(__file__)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policies.toml"


def configuration(file: Path, text: str) -> Configuration:
    file.write_text(text)
    return read(file)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("pack", catalogue.PACKS)
def test_strict_controls_are_the_only_ones_without_their_level(
    file: Path, pack: str, environment: str
) -> None:
    levels = catalogue.level_config(pack, environment)
    strict = {rule.id for rule in catalogue.of_pack(pack) if rule.strict}
    assert strict
    assert configuration(file, "strict = true").of_pack(pack, environment) == levels
    disabled = {"enforcementLevel": "disabled"}
    assert configuration(file, "").of_pack(pack, environment) == {
        id: values | (disabled if id in strict else {}) for id, values in levels.items()
    }


@pytest.mark.parametrize("key", LISTS)
def test_list_replaces_the_parameter_of_its_rules(file: Path, key: str) -> None:
    values = {
        "regions": ["eu-west-1", "eusc-de-east-1"],
        "repositories": ["acme/shop", "acme/a.b"],
        "account_stacks": ["account/main", "acme/live"],
        "accounts": ["482912345678"],
    }.get(key, ["one", "two"])
    config = configuration(file, f"{key} = {json.dumps(values)}\n")
    for id, parameter in LISTS[key]:
        assert config.of_pack(catalogue.rule(id).pack, "dev")[id][parameter] == values
        assert parameter in catalogue.rule(id).lists


def test_levels_of_an_environment_override_the_common_levels(file: Path) -> None:
    text = (
        '[levels]\nGH-S3-010 = "advisory"\nGH-RDS-003 = {days_min = '
        '14}\n[levels.prod]\nGH-S3-010 = {enforcementLevel = "disabled", '
        'reason = "no logs"}\n'
    )
    config = configuration(file, text)
    levels = {
        name: config.of_pack(catalogue.rule("GH-S3-010").pack, name)["GH-S3-010"][
            "enforcementLevel"
        ]
        for name in ENVIRONMENTS
    }
    assert levels == {"dev": "advisory", "staging": "advisory", "prod": "disabled"}
    default = catalogue.rule("GH-RDS-003").level("prod")
    assert config.of_pack("resilience", "prod")["GH-RDS-003"] == {
        "enforcementLevel": default,
        "days_min": 14,
    }


def test_level_of_an_environment_has_its_own_reason(file: Path) -> None:
    text = (
        '[levels]\nGH-S3-010 = {enforcementLevel = "disabled", reason = "the logs\tmove"}\n'
        '[levels.prod]\nGH-S3-010 = "advisory"\n'
    )
    config = configuration(file, text.replace("\t", " "))
    assert (config.reasons["dev"], config.reasons["prod"]) == (
        {"GH-S3-010": "the logs move"},
        {"GH-S3-010": ""},
    )
    # The Pulumi CLI has no reasons.
    assert config.of_pack("security", "dev")["GH-S3-010"] == {"enforcementLevel": "disabled"}


def test_rules_of_other_packs_are_separate(file: Path) -> None:
    config = configuration(file, '[levels]\nACME-1 = "mandatory"\n')
    assert config.rules["dev"] == {"ACME-1": {"enforcementLevel": "mandatory"}}
    assert "ACME-1" not in config.of_pack("security", "dev")


INVALID: list[Any] = _CASES["invalid"]


@pytest.mark.parametrize(("text", "message"), INVALID)
def test_invalid_file_has_one_message(file: Path, text: str, message: str) -> None:
    with pytest.raises(CommandError) as caught:
        configuration(file, text)
    assert message in str(caught.value)
    assert file.name in str(caught.value)


def test_encoding_of_the_file(file: Path) -> None:
    # Some editors write a byte order mark.
    file.write_bytes(b"\xef\xbb\xbfregions = ['eu-west-1']\n")
    assert read(file).rules["dev"]["GH-PUL-003"] == {"regions": ["eu-west-1"]}
    file.write_bytes(b'regions = ["\xe9"]\n')
    with pytest.raises(
        CommandError, match=r"is not UTF-8 text. Save the file with the encoding UTF-8"
    ):
        read(file)


def test_missing_file_is_an_error(file: Path) -> None:
    with pytest.raises(
        CommandError, match=r"cannot be read: No such file or directory. Specify a TOML file"
    ):
        read(file)


def test_file_of_a_program_is_in_its_repository(tmp_path: Path) -> None:
    outside, program = tmp_path / "policies.toml", tmp_path / "repository" / "shop" / "infra"
    program.mkdir(parents=True)
    outside.touch()
    assert find(program) is None
    (tmp_path / "repository" / ".git").mkdir()
    assert find(program) is None
    (tmp_path / "repository" / "policies.toml").touch()
    assert find(program) == tmp_path / "repository" / "policies.toml"
    (program / "policies.toml").touch()
    assert find(program) == program / "policies.toml"


def test_paths_are_relative_to_the_file(file: Path) -> None:
    config = configuration(file, 'baseline = "known/prod.json"\n')
    assert (config.baseline, config.exemptions) == (file.parent / "known" / "prod.json", None)
    assert configuration(file, "[[exemption]]\n").exemptions == file


def test_new_controls_are_advisory_until_a_date() -> None:
    first = replace(catalogue.rule("GH-S3-010"), introduced=None)
    old = replace(catalogue.rule("GH-S3-001"), introduced=date(2026, 12, 1))
    new = replace(catalogue.rule("GH-S3-003"), introduced=date(2026, 12, 2))
    table = {"after": date(2026, 12, 1), "advisory_until": date(2027, 1, 31)}

    def levels(today: date) -> dict[str, dict[str, Any]]:
        return new_controls(table, "new_controls", [first, old, new], today)

    assert levels(date(2027, 1, 31)) == {
        "GH-S3-003": {
            "enforcementLevel": "advisory",
            "reason": "added on 2026-12-02",
            "until": date(2027, 1, 31),
        }
    }
    assert levels(date(2027, 2, 1)) == {}


@pytest.mark.parametrize("days", [-1, 0, 90])
@pytest.mark.parametrize("table", ["levels", "levels.prod"])
def test_critical_control_is_advisory_until_a_date(file: Path, table: str, days: int) -> None:
    until = datetime.now(UTC).date() + timedelta(days)
    level = f'{{enforcementLevel = "advisory", reason = "the move", until = {until}}}'
    config = configuration(file, f"[{table}]\nGH-IAM-001 = {level}\n")
    applies = days >= 0
    expected = {"enforcementLevel": "advisory"} if applies else {}
    assert config.rules["prod"]["GH-IAM-001"] == expected
    reasons = {"GH-IAM-001": f"the move, until {until}"} if applies else {}
    assert config.reasons["prod"] == reasons


def test_control_without_its_list_evaluates_nothing(file: Path) -> None:
    needed = {"GH-PUL-003": "regions", "GH-TAG-001": "tags", "GH-S3-013": "strict"}
    assert needed.items() <= configuration(file, "").not_configured("prod").items()
    text = 'regions = ["eu-west-1"]\n[levels.prod]\nGH-TAG-001 = {tags = ["team"]}\n'
    config = configuration(file, text)
    assert "GH-PUL-003" not in config.not_configured("prod")
    assert "GH-TAG-001" not in config.not_configured("prod")
    assert "GH-TAG-001" in config.not_configured("dev")
    level = '[levels]\nGH-S3-013 = "advisory"\n'
    assert "GH-S3-013" not in configuration(file, level).not_configured("dev")


def test_levels_for_the_engine_are_written(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('regions = ["us-east-1"]\n')
    assert main(["levels", "--config", str(file), "prod", str(tmp_path / "levels")]) == 0
    written = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "levels").iterdir()}
    assert {name: set(config) for name, config in written.items()} == {
        name: set(catalogue.level_config(name, "prod")) for name in catalogue.PACKS
    }
    assert written["security"]["GH-PUL-003"] == {
        "enforcementLevel": "mandatory",
        "regions": ["us-east-1"],
    }
    assert "levels/security.json" in capsys.readouterr().out


def test_invalid_levels_command_is_explained(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("x = 1")
    assert main(["levels", "--config", str(file), "prod", str(file.parent)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit, match="2"):
        main(["levels", "qa", str(file.parent)])
