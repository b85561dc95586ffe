"""A large file is uploaded and downloaded in constant memory of the services.

`GATEHOUSE_TRANSFER_MIB=400` transfers a file of 400 MiB. With `-rP`, pytest prints the memory.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import ports
from sandbox.child_processes import Child
from tests import requires
from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command, running_services
from tests.runtime.conftest import Database
from tests.runtime.features.sharing.services import BUCKET, TABLE

MIB = 1024 * 1024
FILE_BYTES = int(os.environ.get("GATEHOUSE_TRANSFER_MIB", "96")) * MIB
#: Buffers of a part of an upload and of a connection, for one request.
GROWTH_BYTES_MAX = 80 * MIB


class Memory:
    """Memory of the service processes at the start of the observation, and the peaks since then."""

    def __init__(self, parent: Child) -> None:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        self._processes = [Path("/proc", pid) for pid in children]
        for process in self._processes:
            (process / "clear_refs").write_text("5")  # resets the peak (proc(5))
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        """Return the growth of the process that grew most, in bytes. Prints the memory of each
        process.
        """
        peaks = self._read("VmHWM")
        for before, peak in zip(self._before, peaks, strict=True):
            print(f"resident set: {before // MIB} MiB before, {peak // MIB} MiB at most")
        return max(peak - before for peak, before in zip(peaks, self._before, strict=True))

    def _read(self, name: str) -> list[int]:
        found = []
        for process in self._processes:
            lines = dict(
                line.split(":", 1) for line in (process / "status").read_text().splitlines()
            )
            if name in lines:
                found.append(int(lines[name].split()[0]) * 1024)
        assert len(found) == len(self._processes) >= 2
        return found


@pytest.fixture
def running(database: Database, aws: str, tmp_path: Path) -> Iterator[tuple[Child, Command]]:
    """The console and the sharing service in separate processes, and a command that uses them."""
    console, sharing = ports.free_port(), ports.free_port()
    variables = {
        "GATEHOUSE_SECRET_LINKS_TABLE": TABLE,
        "GATEHOUSE_SECRETS_BUCKET": BUCKET,
        "GATEHOUSE_SECRETS_KEY": aws,
        "GATEHOUSE_SHARING_URL": f"http://127.0.0.1:{sharing}",
        "GATEHOUSE_SHARING_FILE_MAX_BYTES": str(FILE_BYTES),
        "GATEHOUSE_CONSOLE_PORT": str(console),
        "GATEHOUSE_SHARING_PORT": str(sharing),
    }
    with running_services(database, tmp_path, "console", "sharing", **variables) as parent:
        url = f"http://127.0.0.1:{console}"
        yield (
            parent,
            Command(tmp_path, {"GATEHOUSE_CONSOLE_URL": url, "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP}),
        )


@pytest.mark.bound("sharing.content_store:PART_BYTES", "sharing.content_store:_READ_BYTES")
@pytest.mark.requirement("SS-01")
@requires.LINUX  # only Linux reports the peak memory of a process
def test_large_file_needs_constant_memory(running: tuple[Child, Command], tmp_path: Path) -> None:
    parent, command = running
    source, folder = tmp_path / "large.bin", tmp_path / "received"
    folder.mkdir()
    with source.open("wb") as file:
        for _ in range(FILE_BYTES // MIB):
            file.write(os.urandom(MIB))
    memory = Memory(parent)
    created = command.run("secrets", "create", "--file", str(source))
    assert created.code == 0, created.err
    opened = command.run("secrets", "open", "--output", str(folder), stdin=created.out)
    assert opened.code == 0, opened.err
    digests = []
    for path in (source, folder / "large.bin"):
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").digest())
    assert digests[0] == digests[1]
    assert memory.growth() < GROWTH_BYTES_MAX
