"""Programs in other languages. A stand-in writes the events of the Pulumi CLI."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main

from tests.cases import cases

_CASES = cases(__file__)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / ".git").mkdir()
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: nodejs\n")
    (folder / "Pulumi.live.yaml").write_text("config:\n  shop:environment: staging\n")
    return folder


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in records its call, and finds its events."""
    folder = tmp_path / "bin"
    folder.mkdir()
    file = folder / "pulumi"
    file.write_text(f"#!{sys.executable}\n{_CASES['stand_in']}")
    file.chmod(0o755)
    (folder / "events").write_text("\n".join(map(json.dumps, _CASES["events"])))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("STAND_IN", str(folder))
    return folder


def check(program: Path, *options: str) -> tuple[int, dict[str, Any]]:
    home = program.parent / "home"
    code = main(["--home", str(home), "check", "--program", str(program), *options])
    files = list((home / "check").glob("*.sarif")) if code != 2 else []
    return code, json.loads(files[0].read_text())["runs"][0] if files else {}


def test_violations_of_the_engine_are_reported(program: Path, cli: Path) -> None:
    code, run = check(program, "--env", "live")
    assert code == 1
    found = [(row["ruleId"], row["level"], row["kind"]) for row in run["results"]]
    assert found == [
        ("GH-S3-001", "error", "fail"),
        ("ACME-1", "warning", "fail"),
        ("GH-UNDECIDED", "none", "open"),
    ]
    first = run["results"][0]
    assert first["message"]["text"] == "the bucket has no block. Fix: add one"
    [location] = first["locations"]
    assert location["logicalLocations"][0]["fullyQualifiedName"].endswith("Bucket::site")
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "Pulumi.yaml"
    call = json.loads((cli / "call").read_text())
    assert (call["folder"], call["streaming"]) == (str(program), "true")
    assert call["arguments"][:3] == ["preview", "--stack", "live"]
    assert [Path(pack).name for pack in call["packs"]] == ["security", "resilience"]
    assert call["levels"]["GH-S3-010"] == catalogue.rule("GH-S3-010").level("staging")


def test_options_select_controls_and_levels(program: Path, cli: Path) -> None:
    (program / "policies.toml").write_text('[levels]\nGH-S3-010 = "mandatory"\n')
    code, run = check(program, "--only", "GH-S3-*")
    assert [row["ruleId"] for row in run["results"]] == ["GH-S3-001", "GH-UNDECIDED"]
    levels = json.loads((cli / "call").read_text())["levels"]
    assert (code, levels["GH-S3-010"], levels["GH-SNS-001"]) == (1, "mandatory", "disabled")


def test_failed_preview_is_an_error(
    program: Path, cli: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cli / "events").write_text("\n".join(map(json.dumps, _CASES["failed"])))
    assert check(program)[0] == 2
    assert "pulumi preview failed with exit code 255: no credentials" in capsys.readouterr().err


def test_missing_cli_is_an_error_with_the_next_command(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(program))
    assert check(program, "--env", "live")[0] == 2
    text = " ".join(capsys.readouterr().err.split())
    assert "pulumi preview --stack live --policy-pack " in text
    assert "'nodejs'" in text


@pytest.mark.parametrize("options", [["--baseline", "a.json"], ["--diff", "HEAD"]])
def test_baseline_needs_what_controls_read(
    program: Path, cli: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(program, *options)[0] == 2
    assert "Remove --baseline, --diff" in " ".join(capsys.readouterr().err.split())
    assert not (cli / "call").exists()
