"""The sandbox makes the calls of the real engine."""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pulumi_local.engine.checkpoint import Checkpoint
from pulumi_local.engine.update import destroy, update

from tests import processes, requires
from tests.pulumi_local.engine.option_programs import GROUPS, programs
from tests.pulumi_local.engine.test_update import Memory
from tests.release.fake_aws import ROOT, serving
from tests.release.real_engine import DeployedAccount, engine_environment

RECORDED = Path(__file__).with_name("option_calls.json")
_PROVIDER = """#!/bin/sh
PYTHONPATH={root} exec {python} -m tests.pulumi_local.engine.option_provider "$@"
"""
Calls = dict[str, list[list[str]]]


def by_group(phases: Iterable[Iterable[str]]) -> Calls:
    rows = [list(phase) for phase in phases]
    groups: defaultdict[str, list[list[str]]] = defaultdict(lambda: [[] for _ in rows])
    for number, phase in enumerate(rows):
        for call in phase:
            words = call.split()
            groups[words[-1].partition("_")[0]][number].append(f"{words[0]} {words[-1]}")
    return {group: [sorted(calls) for calls in phases] for group, phases in groups.items()}


def write_project(folder: Path) -> None:
    python = {"name": "python", "options": {"virtualenv": str(ROOT / ".venv")}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "tiny", "runtime": python}))
    (folder / "Pulumi.dev.yaml").write_text("")


def test_calls_are_those_of_the_engine(tmp_path: Path) -> None:
    write_project(tmp_path)
    provider, checkpoint, phases = Memory(), Checkpoint(), []
    for code in programs():
        (tmp_path / "__main__.py").write_text(code)
        provider.calls = []
        update(tmp_path, "dev", provider, checkpoint, report=lambda step: None)
        phases.append(provider.calls)
    provider.calls = []
    destroy(provider, checkpoint, lambda step: None)
    calls = by_group([*phases[1:], provider.calls])
    recorded: Calls = json.loads(RECORDED.read_text())
    assert len(recorded) > GROUPS - 5  # the others have no calls
    assert {group: calls.get(group) for group in recorded} == recorded


@requires.PULUMI
def test_recorded_calls_are_those_of_the_engine(tmp_path: Path) -> None:
    requires.current_pulumi()
    write_project(tmp_path)
    plugin = tmp_path / "bin" / "pulumi-resource-aws"
    processes.executable(plugin, _PROVIDER.format(root=ROOT, python=sys.executable))
    account, phases = DeployedAccount(), []
    with serving(account) as url:
        environment = {
            **engine_environment(tmp_path, url),
            "PULUMI_BACKEND_URL": tmp_path.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "",
        }

        def pulumi(*words: str) -> None:
            command = ["pulumi", *words, "--non-interactive"]
            subprocess.run(command, cwd=tmp_path, env=environment, check=True)

        pulumi("stack", "init", "dev")
        for command, code in (*(("up", code) for code in programs()), ("destroy", "")):
            (tmp_path / "__main__.py").write_text(code)
            account.operations.clear()
            pulumi(command, "--yes", "--skip-preview", "--stack", "dev")
            phases.append([_call(row) for row in account.operations])
    calls = by_group(phases[1:])
    if os.environ.get("RECORD"):
        RECORDED.write_text(json.dumps(calls, separators=(",", ":")) + "\n")
    assert calls == json.loads(RECORDED.read_text())


def _call(row: dict[str, Any]) -> str:
    return f"{row['operation']} {row['urn'].rpartition('::')[2]}"
