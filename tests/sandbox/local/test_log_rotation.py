"""Log files of the local environment are bounded while processes write them."""

import re
import subprocess
from pathlib import Path

from sandbox.local import log_rotation

ROOT = Path(__file__).resolve().parents[3]
SIZE_MAX_BYTES = 1000


def test_large_file_is_copied_and_emptied_while_it_is_open(tmp_path: Path) -> None:
    log, small = tmp_path / "gateway.log", tmp_path / "console.log"
    small.write_text("x" * SIZE_MAX_BYTES)
    with log.open("ab", buffering=0) as process:
        for number in (1, 2, 3):
            process.write(b"%d" % number * (SIZE_MAX_BYTES + 1))
            log_rotation.rotate(tmp_path, SIZE_MAX_BYTES)
        process.write(b"last")
    assert log.read_text() == "last"
    assert {file.name for file in tmp_path.iterdir()} == {
        "gateway.log",
        "gateway.log.1",
        "console.log",
    }
    assert log.with_name("gateway.log.1").read_text() == "3" * (SIZE_MAX_BYTES + 1)


def test_followed_logs_continue_after_a_rotation(tmp_path: Path) -> None:
    folder = tmp_path / ".gatehouse/logs"
    folder.mkdir(parents=True)
    log = folder / "gateway.log"
    log.write_text("first line\nsecond line\n")
    (command,) = re.findall(r"exec (tail .*)", (ROOT / "Makefile").read_text())
    follow = ["bash", "-c", f"exec {command}"]
    with subprocess.Popen(follow, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout or ())
        assert [next(lines), next(lines)] == ["first line\n", "second line\n"]
        log_rotation.rotate(folder, 1)
        with log.open("a") as file:
            file.write("after\n")
        assert next(lines) == "after\n"
        process.terminate()
