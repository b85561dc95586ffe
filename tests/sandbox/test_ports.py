"""A port is claimed by one sandbox at a time."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sandbox.ports import Ports, is_free


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[Ports]:
    ports = Ports(tmp_path / "ports")
    yield ports
    ports.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that claims the ports on its standard input and prints the results."""
    code = f"""
import sys
from pathlib import Path
from sandbox.ports import Ports
ports = Ports(Path({str(tmp_path / "ports")!r}))
for line in sys.stdin:
    print(ports.claim(int(line)), flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def claim(other: "subprocess.Popen[str]", port: int) -> int:
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdin.write(f"{port}\n")
    other.stdin.flush()
    return int(other.stdout.readline())


def test_port_in_use_is_not_claimed(ports: Ports) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert ports.claim(port) not in {0, port}


def test_port_of_a_server_on_all_addresses_is_not_free() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert not is_free(port)


def test_no_port_is_returned_twice() -> None:
    """Also not to another process before a server listens on it."""
    code = "from sandbox import ports; ports._PORTS = range(20_000, 20_060); "
    code += "print(*(ports.free_port() for _ in range(15)), flush=True); input()"
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
            )
            for _ in range(2)
        ]
        returned = [each.stdout.readline().split() for each in others if each.stdout]
    assert [len(ports) for ports in returned] == [15, 15]
    assert len({*returned[0], *returned[1]}) == 30


def test_port_claimed_by_another_process_is_free_once_it_is_killed(
    ports: Ports, other: "subprocess.Popen[str]"
) -> None:
    port = claim(other, 0)
    assert ports.claim(port) != port
    other.kill()
    other.wait()
    assert ports.claim(port) == port
