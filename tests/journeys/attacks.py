"""The attacks of `make attack` on a sandbox whose Core records what it receives."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from tools.attack.attacks import ATTACKS, Outcome, Target, attack


def attack_sandbox(home: Path) -> list[Outcome]:
    """Attack the sandbox with this state folder, with a Core that records requests."""
    stack = json.loads((home / "up.json").read_text())
    operator = {"Authorization": f"Bearer {stack['admin_token']}"}
    limits = [{"name": "requests", "quota": 1_000_000, "window_s": 60}]
    with recording_core() as (url, received), httpx.Client(timeout=60, trust_env=False) as client:

        def key(scope: str) -> str:
            values = {"name": "attack", "limits": limits, "scopes": [scope]}
            reply = client.post(f"{stack['console']}/v1/keys", json=values, headers=operator)
            return str(reply.raise_for_status().json()["token"])

        target = Target(stack["gateway"], key("cores:read"), "attacked", received)
        client.put(
            f"{target.url}/v1/cores/{target.core}",
            json={"url": url, "ttl_s": 300},
            headers={"Authorization": f"Bearer {key('cores:register')}"},
        ).raise_for_status()
        if not target.send(target.request()).endswith(b"ok"):
            return [Outcome("Core", 1, ["the Core cannot be reached through the gateway"])]
        return [attack(run, target) for run in ATTACKS]


@contextmanager
def recording_core() -> Iterator[tuple[str, list[bytes]]]:
    """The URL of an HTTP server on this machine, and the heads of the requests that it receives."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            received.append(f"{self.requestline}\n{self.headers}".encode("utf-8", "replace"))
            self.close_connection = True  # the body is not read
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
