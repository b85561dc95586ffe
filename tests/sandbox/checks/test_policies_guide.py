"""docs/guides/policies.md, followed to the letter: its pack, its test, its levels, its exemption and its commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from policies.catalogue import RULES
from policies.engine import exemptions
from sandbox.__main__ import _parser, main

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guides" / "policies.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(guard/[^`]+)`:\n\n```\w+\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE))
PROGRAM = "import pulumi_aws as aws\n\naws.sns.Topic('orders')\n"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Another repository, with the guide's pack and a program that its rule is about."""
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (tmp_path / "gatehouse").symlink_to(ROOT)
    (tmp_path / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (tmp_path / "__main__.py").write_text(PROGRAM)
    return tmp_path


def check(shop: Path, *more: str) -> tuple[int, list[dict[str, str]]]:
    out = shop / "report.json"
    options = ["--program", str(shop), "--env", "dev", "--levels", "prod", "--pack", str(shop / "guard")]
    code = main(["--home", str(shop / "home"), "check", *options, "--format", "json", "--output", str(out), *more])
    return code, [found for found in json.loads(out.read_text()) if found["pack"] == "guard"]


@pytest.mark.requirement("PP-02")
def test_the_guides_rule_speaks_beside_ours_and_is_silent_when_its_remedy_is_typed(shop: Path) -> None:
    code, [found] = check(shop)
    assert (code, found["rule"], found["level"], found["source"]) == (1, "ACME-SNS-001", "mandatory", "__main__.py:3")
    assert (found["message"], found["remedy"]) == (
        "the topic is not encrypted",
        "set kmsMasterKeyId to the alias or ARN of a key",
    )
    (shop / "__main__.py").write_text(PROGRAM.replace("'orders'", "'orders', kms_master_key_id='alias/orders'"))
    assert check(shop)[1] == []


def test_the_guides_report_is_the_one_that_the_check_prints(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--program", str(shop), "--levels", "prod", "--pack", str(shop / "guard")]
    main(["--home", str(shop / "home"), "check", *options])
    printed = capsys.readouterr().out
    [shown] = re.findall(r"--pack guard\n(.*?)```", GUIDE, flags=re.DOTALL)
    for line in shown.splitlines():
        assert line in printed


def test_the_guides_own_test_passes_and_fails_when_its_rule_is_wrong(shop: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(shop / "guard")]
    right = subprocess.run(command, cwd=shop, capture_output=True, text=True, check=False)
    assert right.returncode == 0, right.stdout
    rules = shop / "guard" / "rules.py"
    rules.write_text(rules.read_text().replace('if not topic.props.has("kmsMasterKeyId")', "if False"))
    assert subprocess.run(command, cwd=shop, capture_output=True, check=False).returncode == 1


def test_the_guides_exemption_is_valid_on_the_day_after_it_was_granted(tmp_path: Path) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    file = tmp_path / "exemptions.toml"
    file.write_text(text)
    [entry] = tomllib.loads(text)["exemption"]
    loaded = exemptions.load(file, entry["created"] + timedelta(days=1), {rule.id: rule.exemptible for rule in RULES})
    assert (len(loaded.active), loaded.errors) == (1, ())


def test_the_guides_levels_are_taken(shop: Path, tmp_path: Path) -> None:
    [levels] = re.findall(r'```json\n(\{\n  "GH-.*?)```', GUIDE, flags=re.DOTALL)
    known = {rule.id: rule for rule in RULES}
    for name, settings in json.loads(levels).items():
        assert set(settings) - {"enforcementLevel"} <= set(known[name].settings)


def test_every_check_command_of_the_guide_is_one_that_the_command_line_takes() -> None:
    commands = re.findall(r"python -m sandbox (check [^#\n]*)", GUIDE)
    assert len(commands) >= 5
    for command in commands:
        _parser().parse_args(command.split())


def test_every_file_that_the_guide_names_is_there() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", GUIDE):
        assert link.startswith("https://") or (ROOT / "docs" / "guides" / link).resolve().exists(), link
