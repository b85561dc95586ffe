"""Programs in other languages: with the Pulumi CLI, and with a stand-in that writes its events."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.__main__ import main

from tests import processes, requires
from tests.cases import cases

_CASES = cases(__file__)
_PROVIDER = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.policies.processes.yaml_provider "$@"
"""


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
    first, own, _ = run["results"]
    assert own["properties"]["severity"] == "low"
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


def test_program_that_stops_after_a_violation_is_not_complete(program: Path, cli: Path) -> None:
    """Resource rules run while the program does, stack rules only at its end."""
    events = [*_CASES["events"][:3], *_CASES["failed"], _CASES["events"][-1]]
    (cli / "events").write_text("\n".join(map(json.dumps, events)))
    code, run = check(program)
    assert (code, [row["ruleId"] for row in run["results"]]) == (1, ["GH-S3-001"])
    [invocation] = run["invocations"]
    assert "the program stopped: no credentials" in json.dumps(invocation)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in YAML with a stack of the Pulumi CLI."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / ".git").mkdir()
    (folder / "Pulumi.yaml").write_text(_CASES["yaml"])
    plugin = tmp_path / "bin" / "pulumi-resource-aws"
    root = Path(__file__).resolve().parents[3]
    processes.executable(plugin, _PROVIDER.format(root=root, python=sys.executable))
    monkeypatch.setenv("PATH", f"{plugin.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PULUMI_BACKEND_URL", tmp_path.as_uri())
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    command = ["pulumi", "stack", "init", "dev", "--non-interactive"]
    subprocess.run(command, cwd=folder, check=True)
    return folder


@requires.PULUMI
def test_real_engine_evaluates_a_program_in_yaml(engine: Path) -> None:
    code, run = check(engine, "--env", "dev")
    assert code == 1
    found = {(row["ruleId"], row["level"]) for row in run["results"]}
    # A resource rule, a stack rule, and an advisory control.
    assert {("GH-KMS-001", "error"), ("GH-S3-001", "error"), ("GH-S3-007", "warning")} <= found
    assert "set enableKeyRotation=true" in json.dumps(run["results"])


@requires.PULUMI
def test_error_of_the_real_engine_is_shown(
    engine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = engine / "Pulumi.yaml"
    file.write_text(file.read_text().replace("aws:kms:Key", "aws:kms:Kee"))
    assert check(engine, "--env", "dev")[0] == 2
    assert 'unable to find resource type "aws:kms:Kee"' in capsys.readouterr().err
