"""Targets of the Makefile."""

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from release.__main__ import main
from tests import processes

ROOT = Path(__file__).resolve().parents[2]
TARGETS = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
ENV_TARGETS = (
    "bootstrap",
    "image",
    "deploy",
    "verify",
    "rollback",
    "preview",
    "drift",
    "destroy",
    "logs",
)


@pytest.mark.requirement("CG-24")
def test_help_lists_every_target() -> None:
    output = processes.run(["make"], cwd=ROOT, check=True).stdout
    listed = re.findall(r"^  ([a-z-]+) +\S", output, flags=re.MULTILINE)
    assert {"init", "up", "down", "test", "check", *ENV_TARGETS} <= set(TARGETS)
    assert sorted(listed) == sorted(set(TARGETS))


@pytest.mark.requirement("CG-24")
def test_help_is_coloured_on_a_terminal_only() -> None:
    environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    terminal, child_end = pty.openpty()
    with subprocess.Popen(["make"], cwd=ROOT, stdout=child_end, env=environ) as child:
        os.close(child_end)
        output = b""
        with contextlib.suppress(OSError):  # Linux reports EIO at the end of a terminal.
            while chunk := os.read(terminal, 65536):
                output += chunk
        os.close(terminal)
    assert child.returncode == 0
    assert b"\x1b[36mup" in output
    assert "\x1b" not in processes.run(["make"], cwd=ROOT, check=True, env=environ).stdout


@pytest.mark.requirement("CG-24")
def test_unknown_environment_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    result = processes.run(["make", "verify", "ENV=nowhere"], cwd=ROOT)
    assert result.returncode != 0
    messages = {"make verify": result.stderr}
    for target in ENV_TARGETS:
        recipe = processes.run(["make", "-n", target, "ENV=nowhere"], cwd=ROOT, check=True).stdout
        assert f'-m release {target} --env "nowhere"' in recipe
        assert main([target, "--env", "nowhere"]) != 0, target
        messages[target] = capsys.readouterr().err
    for target, message in messages.items():
        assert "nowhere" in message, target
        assert "ENV=dev, ENV=prod, ENV=staging" in message, target
