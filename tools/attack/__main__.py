"""`make attack`: starts a sandbox and runs the security attacks against it, or runs harmless
attacks against a deployment.

Exit codes: 0 every attack was rejected, 1 an attack succeeded, 2 the attacks could not run.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tools.attack import protocol_attacks, stack_attacks
from tools.attack.connection import Service, recording_core
from tools.attack.outcome import Outcome, show
from tools.attack.protocol_attacks import Target
from tools.attack.stack_attacks import Stack

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".gatehouse" / "attack"
CORE_NAME = "attacked"
#: Longer than the timeout of the gateway for receiving a request, including the extension for the
#: body.
DEADLINE_S = 25.0
_ERROR = 2
_REASON = "changes data and reads logs: runs against the sandbox only"
_NOT_ON_DEPLOYMENTS = ("SSRF", "canaries", "roles matrix", "races")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks, print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack", description="Attack a sandbox or a deployment."
    )
    parser.add_argument(
        "--url", default="", help="URL of the gateway of a deployment (default: start a sandbox)."
    )
    parser.add_argument("--yes", action="store_true", help="Do not ask for confirmation.")
    parser.add_argument(
        "--deadline",
        type=float,
        default=75.0,
        help="Seconds until a slow client must be disconnected.",
    )
    options = parser.parse_args(arguments)
    if not options.url:
        return _attack_sandbox()
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        print(
            "attack: URL must be the URL of a gateway, such as https://gateway.example.com",
            file=sys.stderr,
        )
        return _ERROR
    if not options.yes and not _confirmed(options.url):
        print(
            (
                "attack: not confirmed. Attack only deployments that you own or may attack. To "
                "confirm, set YES=1."
            ),
            file=sys.stderr,
        )
        return _ERROR
    gateway = Service(options.url.rstrip("/"), timeout_s=min(20.0, options.deadline))
    target = Target(gateway, token=os.environ.get("KEY", ""), deadline_s=options.deadline)
    try:
        outcomes = asyncio.run(attack_deployment(target))
    except OSError as error:
        print(f"attack: {options.url} cannot be reached: {error}", file=sys.stderr)
        return _ERROR
    return show(outcomes, options.url)


async def attack_deployment(target: Target) -> list[Outcome]:
    """Run the attacks that change nothing. Other attacks are reported as not run. Raises OSError if
    the URL is unreachable.
    """
    _, writer = await target.gateway.connect()
    writer.close()
    outcomes = list(await protocol_attacks.run(target))
    return [*outcomes, *(Outcome(name, not_run=_REASON) for name in _NOT_ON_DEPLOYMENTS)]


async def attack_stack(stack: Stack) -> list[Outcome]:
    """Run all attacks against a sandbox."""
    async with recording_core() as core, stack.client() as client:
        _, agent = await stack.key(client, scopes=["cores:register"])
        _, token = await stack.key(client, scopes=["cores:read"])
        headers = {"Authorization": f"Bearer {agent}"}
        registered = await client.put(
            f"{stack.gateway}/v1/cores/{CORE_NAME}", json={"url": core.url}, headers=headers
        )
        registered.raise_for_status()
        services = (Service(stack.console), Service(stack.sharing))
        target = Target(
            Service(stack.gateway),
            exact=True,
            services=services,
            token=token,
            core=core,
            core_name=CORE_NAME,
            slow_clients=60,
            deadline_s=DEADLINE_S,
            at_once=8,
        )
        reached = await target.gateway.request(
            b"GET", f"/cores/{CORE_NAME}/x".encode(), *target.credential
        )
        if not reached.endswith(b"ok"):
            return [
                Outcome(
                    "the recording Core",
                    failures=["the Core cannot be reached through the gateway"],
                )
            ]
        outcomes = await protocol_attacks.run(target)
    return [*outcomes, *await stack_attacks.run(stack)]


def _attack_sandbox() -> int:
    command = [sys.executable, "-m", "sandbox", "--home", str(HOME)]
    if (
        subprocess.run(
            [*command, "up", "--detach"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
        ).returncode
        != 0
    ):
        print("attack: the sandbox did not start; see the messages above", file=sys.stderr)
        return _ERROR
    try:
        return show(asyncio.run(attack_stack(stack_attacks.read(HOME))), "the sandbox")
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def _confirmed(url: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return (
        input(f"Send malformed requests and slow connections to {url}? Type yes: ").strip() == "yes"
    )


if __name__ == "__main__":
    sys.exit(main())
