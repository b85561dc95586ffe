"""Targets of the Makefile: `make help`, colors and the check of ENV."""

import contextlib
import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TARGETS = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
ENV_TARGETS = ("bootstrap", "image", "deploy", "verify", "rollback", "preview", "destroy", "logs")


@pytest.mark.requirement("CG-24")
def test_help_lists_every_target() -> None:
    output = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30).stdout
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
    piped = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, timeout=30, env=environ).stdout
    assert b"\x1b" not in piped


@pytest.mark.requirement("CG-24")
def test_unknown_environment_is_rejected() -> None:
    for target in ENV_TARGETS:
        result = subprocess.run(
            ["make", target, "ENV=nowhere"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert result.returncode != 0, target
        assert "nowhere" in result.stderr, target
        assert "ENV=dev, ENV=prod, ENV=staging" in result.stderr, target
