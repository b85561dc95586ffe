"""The configuration file changes levels and parameters."""

import json
from pathlib import Path

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main
from gatehouse_policies.configuration import LISTS, Configuration, read
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import ENVIRONMENTS
from gatehouse_policies.errors import CheckError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policies.toml"


def configuration(file: Path, text: str) -> Configuration:
    file.write_text(text)
    return read(file)


def test_empty_file_changes_nothing(file: Path) -> None:
    for pack in catalogue.PACKS:
        for environment in ENVIRONMENTS:
            assert configuration(file, "").of_pack(pack, environment) == catalogue.level_config(
                pack, environment
            )


@pytest.mark.parametrize("key", LISTS)
def test_list_replaces_the_parameter_of_its_rules(file: Path, key: str) -> None:
    values = {
        "regions": ["eu-west-1", "eusc-de-east-1"],
        "repositories": ["acme/shop", "acme/a.b"],
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


INVALID = [
    ("a = [", "is not valid TOML"),
    ('regions = ["eu-west-1"]\nregions = []', "The key is set twice; delete one of the lines."),
    (
        "[levels]\n[stack_config]\n[levels]\n",
        "The table is declared twice; move its keys into one table",
    ),
    (
        'regions = ["eu-west-1]\n',
        "line 1, column 23). A string probably has no closing quotation mark",
    ),
    ("regions:\n  - eu-west-1\n", "Write keys as key = value."),
    ("[stack_config]\nlive = prod", "line 2, column 8). Write strings in quotation marks."),
    ("regions = []", "regions is empty, so no Region is allowed. Add a Region, or delete the key"),
    (
        'regions = ["eu-wst-1"]',
        "regions: 'eu-wst-1' is not the code of a Region. Write a code such as",
    ),
    ('required_tags = ["team", "owner "]', "required_tags: 'owner ' begins or ends with a space"),
    (
        'repositories = ["shop"]',
        "repositories: 'shop' is not a repository. Write the owner and the name",
    ),
    (
        '[levels.production]\nGH-S3-010 = "advisory"',
        "'production' is not an environment. Write one of [levels.dev]",
    ),
    (
        "[levels]\nGH-S3-010 = {}",
        'levels.GH-S3-010 is empty. Write a level such as "advisory", or a parameter',
    ),
    (
        '[levels]\ngh-s3-010 = "advisory"',
        "levels.gh-s3-010: there is no rule gh-s3-010. Write GH-S3-010",
    ),
    (
        "[levels]\nGH-RDS-003 = {days_min = nan}",
        "levels.GH-RDS-003.days_min must be a number that is not negative",
    ),
    ('region = ["a"]', "unknown key 'region'. Keys: regions, required_tags"),
    ('regions = "eu-west-1"', 'regions must be a list of strings, such as ["a", "b"]'),
    ("levels = 1", "levels must be a table. Write [levels]"),
    ("[levels]\nprod = 1", "levels.prod must be a table. Write [levels.prod]"),
    (
        '[levels]\nGH-S3-999 = "advisory"',
        "levels.GH-S3-999: there is no rule GH-S3-999. Copy the ID from a report",
    ),
    (
        '[levels.prod]\nGH-S3-010 = "off"',
        "levels.prod.GH-S3-010: the level must be one of advisory, mandatory, disabled",
    ),
    ("[levels]\nGH-S3-010 = 1", 'levels.GH-S3-010 must be a level such as "advisory"'),
    (
        "[levels]\nGH-RDS-003 = {days_min = -1}",
        "levels.GH-RDS-003.days_min must be a number that is not negative",
    ),
    (
        "[levels]\nGH-RDS-003 = {days = 1}",
        "GH-RDS-003 has no parameter 'days'. Parameters: enforcementLevel, days_min",
    ),
    *(
        (
            f'[levels]\n{id} = {{enforcementLevel = "disabled", reason = "the trial"}}',
            f"levels.{id}: {id} cannot be disabled",
        )
        for id in (*(control.id for control in META_POLICIES), "GH-S3-001", "GH-KMS-002")
    ),
    ('[levels]\nGH-S3-010 = "disabled"', "levels.GH-S3-010: a disabled control needs a reason"),
    (
        '[levels.prod]\nACME-1 = {enforcementLevel = "disabled", reason = " "}',
        "levels.prod.ACME-1.reason must be a text that is not empty",
    ),
    (
        '[levels]\nGH-RDS-003 = {days_min = 14, reason = "backups"}',
        "levels.GH-RDS-003: reason is the reason for a level. Add enforcementLevel, or delete it",
    ),
    ("[levels]\nGH-PUL-003 = {regions = 1}", "levels.GH-PUL-003.regions must be a list of strings"),
]


@pytest.mark.parametrize(("text", "message"), INVALID)
def test_invalid_file_has_one_message(file: Path, text: str, message: str) -> None:
    with pytest.raises(CheckError) as caught:
        configuration(file, text)
    assert message in str(caught.value)
    assert file.name in str(caught.value)


def test_encoding_of_the_file(file: Path) -> None:
    # Some editors write a byte order mark.
    file.write_bytes(b"\xef\xbb\xbfregions = ['eu-west-1']\n")
    assert read(file).rules["dev"]["GH-PUL-003"] == {"regions": ["eu-west-1"]}
    file.write_bytes(b'regions = ["\xe9"]\n')
    with pytest.raises(
        CheckError, match=r"is not UTF-8 text. Save the file with the encoding UTF-8"
    ):
        read(file)


def test_missing_file_is_an_error(file: Path) -> None:
    with pytest.raises(
        CheckError, match=r"cannot be read: No such file or directory. Specify a TOML file"
    ):
        read(file)


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
