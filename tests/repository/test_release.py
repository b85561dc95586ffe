"""The version of the distributions, and `make release`."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import gatehouse
import pytest
from gatehouse_client import transport
from gatehouse_policies.reports import sarif

from tests import processes
from tests.policies.reports.builders import RUN
from tools import distributions

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text()
MEMBERS = tomllib.loads(PROJECT)["tool"]["uv"]["workspace"]["members"]
#: The configuration of towncrier, as text.
TOWNCRIER = PROJECT[PROJECT.index("[tool.towncrier]") : PROJECT.index("[tool.uv]")]
Release = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("member", MEMBERS)
def test_distributions_have_the_version_of_the_repository(member: str, tmp_path: Path) -> None:
    project = re.sub(r'(?m)^version = ".+"$', 'version = "9.8.7"', PROJECT)
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / member).mkdir(parents=True)
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / member / file, tmp_path / member)
    command = [sys.executable, "-m", "hatchling", "metadata", "version"]
    assert processes.run(command, cwd=tmp_path / member, check=True).stdout == "9.8.7\n"


def test_programs_report_the_version_of_the_repository() -> None:
    report = sarif.document([], RUN)["runs"][0]
    assert {
        gatehouse.__version__,
        transport.VERSION,
        report["tool"]["driver"]["semanticVersion"],
        distributions.version(),
    } == {tomllib.loads(PROJECT)["project"]["version"]}


def git(folder: Path, *arguments: str) -> str:
    return processes.run(["git", *arguments], cwd=folder, check=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one release, one change after it, and no dependencies."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/new_release.py", tmp_path / "tools")
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "changes").mkdir()
    shutil.copy(ROOT / "changes/README.md", tmp_path / "changes")
    (tmp_path / "changes/+drain.fixed.md").write_text("Cores: streams end.\n")
    project = '[project]\nname = "gatehouse-home"\nversion = "0.3.0"\nrequires-python = ">=3.11"\n'
    (tmp_path / "pyproject.toml").write_text(f"{project}\n{TOWNCRIER}")
    lock = (
        'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "gatehouse-home"\n'
        'version = "0.3.0"\nsource = { virtual = "." }\n'
    )
    (tmp_path / "uv.lock").write_text(lock)
    text = "# Changelog\n\n<!-- releases -->\n\n## 0.3.0 (2026-01-01)\n\n- The first.\n"
    (tmp_path / "CHANGELOG.md").write_text(text)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "test")
    git(tmp_path, "config", "user.email", "test@example.com")
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def release(folder: Path, action: str, version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.new_release", action, version]
    path = f"{os.environ['PATH']}{os.pathsep}{ROOT / '.gatehouse/tools/bin'}"
    return processes.run(command, cwd=folder, env={**os.environ, "PATH": path})


def test_release_writes_changelog_version_commit_and_tag(repository: Path) -> None:
    result = release(repository, "create", "0.10.0")
    assert result.returncode == 0, result.stderr
    assert "git push --atomic origin HEAD v0.10.0 clients/go/v0.10.0" in result.stdout
    changelog = (repository / "CHANGELOG.md").read_text()
    added, _, earlier = changelog.partition("## 0.3.0 (2026-01-01)")
    assert re.search(
        r"^## 0\.10\.0 \(\d{4}-\d\d-\d\d\)\n\n### Fixed\n\n- Cores: streams end\.$", added, re.M
    )
    assert earlier == "\n\n- The first.\n"
    assert [path.name for path in (repository / "changes").iterdir()] == ["README.md"]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    locked = tomllib.loads((repository / "uv.lock").read_text())["package"]
    assert [project["version"], *(package["version"] for package in locked)] == ["0.10.0"] * 2
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "rev-parse", "v0.10.0^{commit}") == git(repository, "rev-parse", "HEAD")
    for tag in ("v0.10.0", "clients/go/v0.10.0"):
        assert git(repository, "cat-file", "-t", tag) == "tag\n"
    again = release(repository, "check", "0.10.0")
    assert again.returncode == 1
    assert len(again.stderr.splitlines()) == 2


def unchanged(folder: Path) -> None:
    """The repository of the fixture."""


def change(folder: Path) -> None:
    (folder / "new.txt").touch()


def tag(folder: Path) -> None:
    git(folder, "tag", "v0.4.0")


def without_fragments(folder: Path) -> None:
    (folder / "changes/+drain.fixed.md").unlink()
    commit(folder)


@pytest.mark.parametrize(
    ("prepare", "version", "message"),
    [
        (change, "0.4.0", "new.txt"),
        (tag, "0.4.0", "0.4.0 is not higher"),
        (tag, "0.3.9", "0.4.0"),
        (unchanged, "0.3.0", "0.3.0 is not higher"),
        (without_fragments, "0.4.0", "changes/"),
        (unchanged, "0.4", "VERSION=0.4 is not"),
        (unchanged, "v0.4.0", "is not three numbers"),
        (unchanged, "", "make release VERSION="),
    ],
)
def test_release_that_is_not_possible_changes_nothing(
    repository: Path, prepare: Callable[[Path], object], version: str, message: str
) -> None:
    prepare(repository)
    before = git(repository, "rev-parse", "HEAD"), git(repository, "status", "--porcelain")
    for action in ("check", "create"):
        result = release(repository, action, version)
        assert result.returncode == 1
        assert message in result.stderr
    assert before == (
        git(repository, "rev-parse", "HEAD"),
        git(repository, "status", "--porcelain"),
    )


def test_pending_changes_can_be_collected() -> None:
    """Raises an error if a name in changes/ has no known type."""
    command = [
        str(Path(sys.executable).with_name("towncrier")),
        "build",
        "--draft",
        "--version",
        "9.9.9",
    ]
    assert processes.run(command, cwd=ROOT, check=True).stdout.startswith("## 9.9.9 (")
