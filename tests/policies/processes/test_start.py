"""What a check starts, loads and reads: its CPU time, in numbers that are the same in every run."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

LOADED_MAX = 8_000_000
OPENED_MAX = 4
# Records the events of the Python process and of its copies in a file.
RECORDER = """
import os, sys
file = os.open(os.environ["EVENTS"], os.O_WRONLY | os.O_APPEND)
def record(event, args):
    if event in ("os.fork", "os.exec", "os.posix_spawn", "subprocess.Popen"):
        os.write(file, f"{os.getpid()} start {event}\\n".encode())
    elif event in ("exec", "open"):
        name = getattr(args[0], "co_filename", args[0])
        os.write(file, f"{os.getpid()} {event} {name}\\n".encode())
sys.addaudithook(record)
"""
PROGRAM = """
import pulumi_aws as aws
for number in range(10):
    aws.sns.Topic(f"topic-{number}")
"""


def events(folder: Path, code: str) -> list[tuple[str, str, str]]:
    """The process, the kind and the file of each event of a check of a program."""
    recorder, program, file = folder / "recorder", folder / "program", folder / "events"
    for each in (recorder, program):
        each.mkdir()
    file.touch()
    (recorder / "sitecustomize.py").write_text(RECORDER)
    (program / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (program / "Pulumi.prod.yaml").write_text("config:\n  aws:region: eu-west-1\n")
    (program / "__main__.py").write_text(code)
    command = [sys.executable, "-m", "gatehouse_policies", "check", "--env", "prod"]
    variables = {**os.environ, "PYTHONPATH": str(recorder), "EVENTS": str(file)}
    result = subprocess.run(command, cwd=program, env=variables, capture_output=True, text=True)
    assert "rules" in result.stdout, result.stderr
    rows = (line.split(" ", 2) for line in file.read_text().splitlines())
    return [(process, kind, name) for process, kind, name in rows]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    return events(tmp_path_factory.mktemp("empty"), "")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str, str]]:
    return events(tmp_path_factory.mktemp("several"), PROGRAM)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux copies a process with libraries")
def test_check_starts_the_process_of_the_program_only(empty: list[tuple[str, str, str]]) -> None:
    assert [name for _, kind, name in empty if kind == "start"] == ["os.fork"]


def test_empty_check_loads_few_modules(empty: list[tuple[str, str, str]]) -> None:
    sizes = Counter[str]()
    for file in (Path(name) for _, kind, name in empty if kind == "exec"):
        if file.is_file():
            library = str(file).partition("site-packages/")[2].partition("/")[0]
            sizes[library or file.parent.name] += file.stat().st_size
    assert sizes.total() < LOADED_MAX, sizes.most_common(12)


def test_no_library_is_loaded_by_two_processes(several: list[tuple[str, str, str]]) -> None:
    loaded = {(process, name) for process, kind, name in several if kind == "exec"}
    files = Counter(name for _, name in loaded if "/site-packages/" in name or "/gatehouse" in name)
    assert [name for name, processes in files.items() if processes > 1] == []


def test_no_file_is_read_for_each_resource(several: list[tuple[str, str, str]]) -> None:
    opened = Counter(
        (process, name) for process, kind, name in several if kind == "open" and "/" in name
    )
    assert [row for row in opened.most_common() if row[1] > OPENED_MAX] == []
