"""The interpreter from which scripts/setup.sh creates .venv."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests import processes

ROOT = Path(__file__).resolve().parents[2]

#: Runs the code of `-c` as if the interpreter had another version.
INTERPRETER = """#!/bin/sh
[ "$1" = --version ] && echo "Python {version}.0" && exit
code='import sys; sys.version_info = ({tuple}, 0); sys.version = "{version}"
sys.executable = "{path}"; exec(sys.argv[1])'
exec {python} -c "$code" "$2"
"""
#: Records the interpreter, and creates .venv.
UV = """#!/bin/sh
[ "$1" = --version ] && exit
while [ "$1" != --python ]; do shift; done
echo "$2" >> synced
mkdir -p .venv/bin && touch .venv/bin/gatehouse && chmod 755 .venv/bin/gatehouse
cp "$2" .venv/bin/python
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    for name in ("setup.sh", "steps.sh"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts")
    for name in (
        "uv.lock",
        *("pyproject.toml", "clients/python/pyproject.toml", "policies/pyproject.toml"),
        *("clients/pulumi/pyproject.toml", "pulumi_local/pyproject.toml", "runtime/pyproject.toml"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    processes.executable(tmp_path / "bin" / "uv", UV)
    return tmp_path


def interpreter(folder: Path, version: str, name: str = "") -> Path:
    path = folder / (name or f"python{version}")
    text = INTERPRETER.format(
        version=version, tuple=version.replace(".", ", "), path=path, python=sys.executable
    )
    return processes.executable(path, text)


def setup(repository: Path, **variables: str) -> tuple[int, str, list[str]]:
    """Exit code, standard error, and the interpreters from which .venv was created so far."""
    env = {"PATH": f"{repository / 'bin'}:/usr/bin:/bin", "HOME": os.devnull, **variables}
    command = [repository / "scripts" / "setup.sh"]
    result = processes.run(command, env=env)
    synced = repository / "synced"
    names = [Path(line).name for line in synced.read_text().splitlines()] if synced.exists() else []
    return result.returncode, result.stderr.strip(), names


def test_requested_interpreter_is_used_although_another_is_on_path(repository: Path) -> None:
    interpreter(repository / "bin", "3.12", "python3")
    requested = str(interpreter(repository / "other", "3.14"))
    assert setup(repository, PYTHON=requested)[2] == ["python3.14"]
    assert setup(repository, PYTHON=requested)[2] == ["python3.14"]  # .venv exists
    assert setup(repository)[2] == ["python3.14"]  # .venv keeps its interpreter
    assert setup(repository, PYTHON="python3")[2] == ["python3.14", "python3"]


@pytest.mark.parametrize("version", ["3.11", "3.14"])
def test_supported_versions_are_found_on_path(repository: Path, version: str) -> None:
    interpreter(repository / "bin", "3.10", "python3")
    interpreter(repository / "bin", version)
    for other in {"3.11", "3.12", "3.13", "3.14"} - {version}:
        interpreter(repository / "bin", "3.15", f"python{other}")
    assert setup(repository)[::2] == (0, [f"python{version}"])


def test_clean_deletes_generated_files_only(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    folders = (".venv", ".gatehouse", "dist", "tests/__pycache__", "runtime/web/node_modules")
    generated, own = [tmp_path / name / "x" for name in folders], tmp_path / "tests/test_x.py"
    for file in (*generated, own):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    processes.run(["make", "clean"], cwd=tmp_path, check=True)
    assert [file for file in (*generated, own) if file.parent.exists()] == [own]
