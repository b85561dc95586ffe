"""`make attack`: runs attacks against a deployment, or starts a sandbox and attacks it.

Exit codes: 0 every attack was rejected, 1 an attack succeeded, 2 the attacks could not run.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from tools.attack.attacks import ATTACKS, Outcome, Target, attack

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".gatehouse" / "attack"
_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks, print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack", description="Attack a sandbox or a deployment."
    )
    parser.add_argument(
        "--url", default="", help="URL of the gateway of a deployment (default: start a sandbox)."
    )
    parser.add_argument("--yes", action="store_true", help="Do not ask for confirmation.")
    options = parser.parse_args(arguments)
    if not options.url:
        return _start_and_attack_sandbox()
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        return _fail("URL must be the URL of a gateway, such as https://gateway.example.com")
    if not options.yes and not _confirmed(options.url):
        return _fail(
            "not confirmed. Attack only deployments that you own or may attack. To confirm, set "
            "YES=1."
        )
    target = Target(options.url, token=os.environ.get("KEY", ""))
    try:
        return show([attack(run, target) for run in ATTACKS], options.url)
    except OSError as error:
        return _fail(f"{options.url} cannot be reached: {error}")


def attack_sandbox(home: Path) -> list[Outcome]:
    """Attack the sandbox with this state folder, with a Core that records requests."""
    stack = json.loads((home / "up.json").read_text())
    operator = {"Authorization": f"Bearer {stack['admin_token']}"}
    limits = [{"name": "requests", "quota": 1_000_000, "window_s": 60}]
    with recording_core() as (url, received), httpx.Client(timeout=30, trust_env=False) as client:

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


def show(outcomes: Sequence[Outcome], target: str) -> int:
    """Print the results. Returns the exit code: 1 if an attack succeeded."""
    print(f"Attacks against {target}")
    for row in outcomes:
        result = f"{len(row.failures)} succeeded" if row.failures else "rejected"
        print(f"  {row.name:20} {row.cases:3} cases: {result}")
        for failure in row.failures:
            print(f"    {failure}")
    return 1 if any(row.failures for row in outcomes) else 0


def _start_and_attack_sandbox() -> int:
    command = [sys.executable, "-m", "sandbox", "--home", str(HOME)]
    started = subprocess.run(
        [*command, "up", "--detach"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
    )
    if started.returncode != 0:
        return _fail("the sandbox did not start; see the messages above")
    try:
        return show(attack_sandbox(HOME), "the sandbox")
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def _fail(message: str) -> int:
    print(f"attack: {message}", file=sys.stderr)
    return _ERROR


def _confirmed(url: str) -> bool:
    return sys.stdin.isatty() and (
        input(f"Send malformed requests to {url}? Type yes: ").strip() == "yes"
    )


if __name__ == "__main__":
    sys.exit(main())
