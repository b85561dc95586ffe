"""The agent process listens first, and releases its lease."""

import json
import os
import queue
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.platform.startup import allow_files

from sandbox import child_processes, ports
from tests import http_servers

CLI = (sys.executable, "-c", "from gatehouse.commands.cli import main; main()")
ENVIRONMENT = {**os.environ, "GATEHOUSE_CORE_TOKEN": "t0ken"}
Seen = queue.SimpleQueue[tuple[str, str, Any, int]]


@pytest.fixture
def gateway() -> Iterator[tuple[str, Seen]]:
    """A gateway that grants every lease and checks the health of the Core when it registers."""
    received: Seen = queue.SimpleQueue()

    class Gateway(http_servers.Handler):
        def do_PUT(self) -> None:
            body = json.loads(self.body())
            health = httpx.get(f"{body['url']}/healthz", timeout=60).status_code
            received.put(("PUT", self.path, body, health))
            self.respond_json({"lease_id": "L", "core_secret": "s3cret", "heartbeat_s": 1})

        def do_DELETE(self) -> None:
            received.put(("DELETE", self.path, None, 0))
            self.respond(204, b"")

    with http_servers.serving(Gateway) as url:
        yield url, received


OWN = {"Authorization": "Bearer s3cret"}


def _command(root: Path, gateway: str, port: int, *options: str) -> list[str]:
    return [
        *(*CLI, "core", "--dir", str(root), "--gateway", gateway, "--name", "docs"),
        *("--instance", "one", "--port", str(port), "--ttl", "5", "--response-timeout", "10m"),
        *("--no-strip-prefix", "--cors-origin", "https://a.test", *options),
    ]


def test_agent_registers_serves_and_releases_its_lease(
    root: Path, gateway: tuple[str, Seen], tmp_path: Path
) -> None:
    address, received = gateway
    port = ports.free_port()
    child = child_processes.start(
        "core", _command(root, address, port), log=tmp_path / "log", env=ENVIRONMENT
    )
    try:
        registered = received.get(timeout=60)
        settings: dict[str, object] = {"health_path": "/healthz", "response_timeout_s": 600}
        settings |= {"strip_prefix": False, "cors_origins": ["https://a.test"]}
        instance = {"instance_id": "one", "settings": settings}
        lease = {"url": f"http://127.0.0.1:{port}", "ttl_s": 5, **instance}
        assert registered == ("PUT", "/v1/cores/docs", lease, 200)
        # The agent accepts the secret of the registration before it renews the lease.
        renewed = received.get(timeout=60)
        assert renewed[2]["lease_id"] == "L"
        files = f"http://127.0.0.1:{port}/files"
        assert httpx.get(f"{files}/%2541.txt", headers=OWN, timeout=60).text == "percent"
        assert httpx.get(files, timeout=60).status_code == 401
        second = child_processes.start(
            "second", _command(root, address, port), log=tmp_path / "second", env=ENVIRONMENT
        )
        assert second.process.wait(60) == 2
        assert f"cannot listen on 127.0.0.1:{port}" in (tmp_path / "second").read_text()
        child.process.send_signal(signal.SIGTERM)
        assert child.process.wait(60) == 0
    finally:
        child.stop()
    last = [received.get()[:2] for _ in range(received.qsize())][-2:]
    assert last == [
        ("DELETE", "/v1/cores/docs?lease_id=L&drain_s=30"),
        ("DELETE", "/v1/cores/docs?lease_id=L&drain_s=0"),
    ]
    assert "t0ken" not in (tmp_path / "log").read_text()
    assert "s3cret" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("limit", "clients", "statuses"),
    [("resource.getrlimit(files)[1]", 1025, {b"200"}), (64, 128, {b"200", b"503"})],
)
def test_connections_leave_file_descriptors_to_others(
    root: Path,
    gateway: tuple[str, Seen],
    tmp_path: Path,
    limit: str | int,
    clients: int,
    statuses: set[bytes],
) -> None:
    address, received = gateway
    files = "import resource\nfiles = resource.RLIMIT_NOFILE"
    few = f"{files}\nresource.setrlimit(files, (64, {limit}))\n{CLI[2]}"
    port = ports.free_port()
    command = [*CLI[:2], few, *_command(root, address, port)[len(CLI) :]]
    child = child_processes.start("core", command, log=tmp_path / "log", env=ENVIRONMENT)
    try:
        received.get(timeout=60)
        found = set()
        with ExitStack() as stack:
            allow_files()
            for _ in range(clients):
                client = socket.create_connection(("127.0.0.1", port), timeout=60)
                stack.enter_context(client).sendall(b"GET /healthz HTTP/1.1\r\nHost: c\r\n\r\n")
                found.add(client.recv(12)[9:])
        file = httpx.get(f"http://127.0.0.1:{port}/files/%2541.txt", headers=OWN, timeout=60)
    finally:
        child.stop()
    assert (found, file.text) == (statuses, "percent")


@pytest.mark.parametrize("drain_s", [30, 0])
def test_response_in_progress_is_completed_until_the_drain_timeout(
    root: Path, gateway: tuple[str, Seen], tmp_path: Path, drain_s: int
) -> None:
    address, received = gateway
    (root / "large").write_bytes(bytes(50_000_000))
    port = ports.free_port()
    command = _command(root, address, port, "--drain-timeout", str(drain_s))
    child = child_processes.start("core", command, log=tmp_path / "log", env=ENVIRONMENT)
    try:
        while received.get(timeout=60)[2].get("lease_id") != "L":
            pass
        files = f"http://127.0.0.1:{port}/files/large"
        with httpx.stream("GET", files, headers=OWN, timeout=60) as response:
            child.process.send_signal(signal.SIGTERM)
            while received.get(timeout=60)[0] != "DELETE":
                pass
            if drain_s:
                size = sum(map(len, response.iter_raw()))
                assert (response.status_code, size) == (200, 50_000_000)
            assert child.process.wait(60) == 0
            if not drain_s:
                with pytest.raises(httpx.RemoteProtocolError):
                    response.read()
    finally:
        child.stop()
    assert ("requests that are aborted: 1" in (tmp_path / "log").read_text()) == (not drain_s)


def test_agent_registers_a_service_that_runs_already(
    gateway: tuple[str, Seen], tmp_path: Path
) -> None:
    address, received = gateway
    options = ("--url", address, "--health-path", "/up", "--drain-timeout", "7", "--basic-auth")
    command = [*CLI, "core", "--gateway", address, "--name", "pypi", "--instance", "one", *options]
    child = child_processes.start("core", command, log=tmp_path / "log", env=ENVIRONMENT)
    try:
        registered, renewed = received.get(timeout=60), received.get(timeout=60)
        child.process.send_signal(signal.SIGTERM)
        assert child.process.wait(60) == 0
    finally:
        child.stop()
    lease = {"url": address, "ttl_s": 30}
    instance = {"instance_id": "one", "settings": {"health_path": "/up", "basic_auth": True}}
    assert registered[1:3] == ("/v1/cores/pypi", {**lease, **instance})
    assert renewed[2] == {**lease, "lease_id": "L"}
    last = [received.get()[:2] for _ in range(received.qsize())][-1]
    assert last == ("DELETE", "/v1/cores/pypi?lease_id=L&drain_s=7")
