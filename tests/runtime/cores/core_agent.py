"""A Core agent process that serves a directory, registered at a console."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gatehouse.cores.models import CoreName
from gatehouse.cores.service import core_secret

from sandbox import child_processes, ports
from tests.runtime.console_client import Console

LEASE_ID = "lease"


async def register(console: Console, name: str, url: str) -> str:
    """Inserts a registration as a gateway does. Returns the secret of the Core."""
    key_id = (await console.create(name="agent"))["key"]["id"]
    console.database.sql(
        "INSERT INTO core (name, url, environment, registered_by, lease_id, pepper_generation, expires_at)"  # noqa: S608
        f" VALUES ('{name}', '{url}', 'test', '{key_id}', '{LEASE_ID}', 1, now() + interval '1 hour')"
        " ON CONFLICT (name, instance_id) DO UPDATE SET url = excluded.url, expires_at = excluded.expires_at, draining = false"
    )
    (record,) = await console.dependencies.cores.instances(CoreName(name))
    secret = core_secret(console.dependencies.pepper, record)
    assert secret is not None
    return secret


@asynccontextmanager
async def running_agent(console: Console, name: str, root: Path, log: Path) -> AsyncIterator[None]:
    """Serves `root` with `gatehouse core` and registers it at the console under `name`."""
    port = ports.free_port()
    secret = await register(console, name, f"http://127.0.0.1:{port}")
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    class Gateway(BaseHTTPRequestHandler):
        """Grants the lease with the secret that the console derives."""

        def do_PUT(self) -> None:
            body = json.dumps({"lease_id": LEASE_ID, "core_secret": secret, "heartbeat_s": 1}).encode()
            self.rfile.read(int(self.headers["content-length"]))
            self._respond(200, body)
            requests.put("PUT")

        def do_DELETE(self) -> None:
            self._respond(204, b"")

        def _respond(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    gateway = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{gateway.server_port}"
    arguments = ("core", "--dir", str(root), "--gateway", url, "--name", name, "--port", str(port), "--ttl", "5")
    command = [sys.executable, "-c", "from gatehouse.cli import main; main()", *arguments]
    child = child_processes.start("core", command, log=log, env={**os.environ, "GATEHOUSE_CORE_TOKEN": "t0ken"})
    try:
        for _ in range(2):  # the agent accepts the secret of the registration before it renews the lease
            await asyncio.to_thread(requests.get, timeout=60)
        yield
    finally:
        child.stop()
        gateway.shutdown()
        gateway.server_close()
