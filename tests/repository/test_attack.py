"""The attacks find the defects of a broken server."""

import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tools.attack import __main__ as command
from tools.attack.attacks import ATTACKS, Attack, Target, attack, hostile_repositories

SHORT_S = 0.3


class BrokenServer(socketserver.ThreadingTCPServer):
    """Returns 200 to all that ends with an empty line, forwards it to a Core, and keeps
    connections open.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.received: list[bytes] = []
        super().__init__(("127.0.0.1", 0), BrokenHandler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def target(self, *scan: str) -> Target:
        return Target(self.url, "", "docs", self.received, scan, SHORT_S, SHORT_S)


class BrokenHandler(socketserver.StreamRequestHandler):
    server: BrokenServer

    def handle(self) -> None:
        head = b""
        with suppress(ConnectionError):
            while line := self.rfile.readline():
                head += line
                if line in (b"\r\n", b"\n"):
                    self.server.received.append(head)
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    head = b""


@pytest.fixture
def broken() -> Iterator[BrokenServer]:
    with BrokenServer() as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("run", ATTACKS, ids=lambda run: run.__name__)
def test_attack_finds_a_broken_server(broken: BrokenServer, run: Attack) -> None:
    outcome = attack(run, broken.target("git", "ls-files"))
    assert outcome.failures


def test_scan_of_a_hostile_repository_runs_nothing(broken: BrokenServer) -> None:
    target = Target(broken.url, timeout_s=SHORT_S, pause_s=SHORT_S)
    assert attack(hostile_repositories, target).failures == []


def test_broken_deployment_fails_with_exit_code_1(
    broken: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--url", broken.url, "--yes"]) == 1
    assert re.search(r"malformed protocol +\d+ cases: \d+ succeeded", capsys.readouterr().out)


def test_deployment_is_not_attacked_without_confirmation(
    broken: BrokenServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--url", broken.url]) == 2
    assert broken.received == []
    assert "not confirmed" in capsys.readouterr().err
