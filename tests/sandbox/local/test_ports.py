"""A port is given to one sandbox only, and comes back when that one is gone."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.local.ports import Ports, free_port


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    ports = Ports(tmp_path / "ports")
    yield ports
    ports.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another sandbox: claims each port that is written to it and answers with the one it got."""
    code = f"""
import sys
from pathlib import Path
from sandbox.local.ports import Ports
ports = Ports(Path({str(tmp_path / "ports")!r}))
for line in sys.stdin:
    print(ports.claim(int(line)), flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def claim(other: "subprocess.Popen[str]", port: int) -> int:
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(f"{port}\n")
    other.stdin.flush()
    return int(other.stdout.readline())


def test_a_free_port_is_given_as_wished(ports: Ports) -> None:
    wished = free_port()
    assert ports.claim(wished) == wished


def test_a_port_that_something_listens_on_is_not_given(ports: Ports) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert ports.claim(port) not in {0, port}


def test_a_port_that_another_sandbox_claimed_but_does_not_use_yet_is_not_given(
    ports: Ports, other: "subprocess.Popen[str]"
) -> None:
    port = free_port()
    assert claim(other, port) == port
    assert ports.claim(port) != port


def test_the_ports_of_a_killed_sandbox_are_free_again(ports: Ports, other: "subprocess.Popen[str]") -> None:
    port = free_port()
    assert claim(other, port) == port
    other.kill()
    other.wait()
    assert ports.claim(port) == port
