"""Conditions of tests. A reason has the command that changes it."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.version import Version

IN_CI = os.environ.get("CI") == "true"
LINUX_REASON = "requires Linux"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason=LINUX_REASON)
PULUMI_REASON = (
    "the Pulumi CLI is not on PATH. Run: scripts/pulumi.sh, and add the folders "
    "that it prints to PATH"
)
PULUMI = pytest.mark.skipif(shutil.which("pulumi") is None, reason=PULUMI_REASON)


def current_pulumi() -> None:
    """Skips if the Pulumi CLI is older than the SDK, because its engine may make other calls."""
    text = subprocess.run(["pulumi", "version"], check=True, capture_output=True, text=True).stdout
    cli, sdk = Version(text.strip()), Version(metadata.version("pulumi"))
    if cli < sdk:
        pytest.skip(f"the Pulumi CLI {cli} is older than the SDK {sdk}. Run: scripts/pulumi.sh")


_WEB_UI = (
    Path(__file__).resolve().parents[1] / "runtime/gatehouse/services/console/static/index.html"
)
WEB_UI = pytest.mark.skipif(
    not _WEB_UI.is_file(), reason="the web UI is not built. Run: scripts/build_web.sh"
)

#: In CI only, because sudo reports users who may not use it.
_AS_ROOT = ["sudo", "-n"] if IN_CI and os.geteuid() != 0 else []
#: Debian packages whose names are not those of their programs.
_PACKAGES = {
    "aws": "awscli",
    "nginx": "nginx-light",
    "go": "golang-go",
    "java": "default-jre-headless",
    "mvn": "maven",
    "promtool": "prometheus",
    "ps": "procps",
}


def missing(name: str) -> str:
    command = (
        f"apt-get install {_PACKAGES.get(name, name)}"
        if shutil.which("apt-get")
        else f"brew install {name}"
    )
    return "" if shutil.which(name) else f"{name} is not on PATH. Run: {command}"


def program(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(missing(name)), reason=missing(name))


ROOT_USER = pytest.mark.skipif(
    not _AS_ROOT and os.geteuid() != 0,
    reason="requires root. Run as root, or with sudo without a prompt: CI=true make test",
)


def as_root(*command: str | os.PathLike[str]) -> None:
    subprocess.run([*_AS_ROOT, *command], check=True, stdin=subprocess.DEVNULL)


def give_away(path: os.PathLike[str]) -> None:
    as_root("chown", "65534:65534", path)
