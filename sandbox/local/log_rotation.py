"""Bounds the log files of the local environment."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: A log file and its predecessor `<name>.log.1` have about this size at most.
SIZE_MAX_BYTES = 16 * 2**20
_INTERVAL_S = 0.5


@contextmanager
def rotating(folder: Path) -> Iterator[None]:
    """Rotate the log files of a folder in a thread until the end of the block."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(_INTERVAL_S):
            rotate(folder)

    thread = threading.Thread(target=run, name="log rotation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def rotate(folder: Path, size_max_bytes: int = SIZE_MAX_BYTES) -> None:
    """Copy each log file that exceeds the size to `<name>.log.1`, and empty the file.

    The processes keep their files open, in append mode, so the files cannot be renamed. Lines that
    a process writes between the copy and the truncation are lost. If the disk is full, the file is
    emptied without a copy.
    """
    for file in folder.glob("*.log"):
        with suppress(OSError):
            if file.stat().st_size <= size_max_bytes:
                continue
            previous = file.with_name(f"{file.name}.1")
            try:
                shutil.copyfile(file, previous)
            except OSError:
                previous.unlink(missing_ok=True)
            with file.open("r+b") as opened:
                opened.truncate()
