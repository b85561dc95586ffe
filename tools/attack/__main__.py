"""`make attack`: runs attacks against a deployment, or starts a sandbox and attacks it.

Exit codes: 0 every attack was rejected, 1 an attack succeeded, 2 the attacks could not run.
"""

import argparse
import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from gatehouse.features.requests.schemas import RetrievalLink
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.attack.attacks import JSON, Attack, Operation, Outcome, Target, attack_all
from tools.attack.connection import Service, recording_core, request
from tools.attack.corpora import ORDINARY_FORM, costly_forms
from tools.attack.sandbox_attacks import SANDBOX_ATTACKS

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".gatehouse" / "attack"
CORE_NAME = "attacked"
#: Longer than the timeouts of the load balancer and the services for receiving a request.
DEADLINE_S = 75.0
LEASE_S = 300
_FAILURES_SHOWN = 20
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
        return _attack_sandbox()
    if urlsplit(options.url).scheme not in ("http", "https") or not urlsplit(options.url).hostname:
        return _fail("URL must be the URL of a gateway, such as https://gateway.example.com")
    if not options.yes and not _confirmed(options.url):
        return _fail(
            "not confirmed. Attack only deployments that you own or may attack. To confirm, set "
            "YES=1."
        )
    gateway = Service(options.url.rstrip("/"), timeout_s=min(20.0, DEADLINE_S))
    target = Target(gateway, token=os.environ.get("KEY", ""), deadline_s=DEADLINE_S)
    try:
        return show(asyncio.run(attack_all(target)), options.url)
    except OSError as error:
        return _fail(f"{options.url} cannot be reached: {error}")


async def attack_sandbox(home: Path, others: Sequence[Attack] = SANDBOX_ATTACKS) -> list[Outcome]:
    """Run the attacks and these others against the sandbox with this state folder, with a Core that
    records requests.
    """
    stack = json.loads((home / "up.json").read_text())
    operator = f"Authorization: Bearer {stack['admin_token']}"
    console, sharing = Service(stack["console"]), Service(stack["sharing"])
    async with recording_core() as core, httpx.AsyncClient(timeout=30, trust_env=False) as client:

        async def created(path: str, **values: Any) -> Any:
            reply = await client.post(
                stack["console"] + path, json=values, headers=dict([operator.split(": ")])
            )
            return reply.raise_for_status().json()

        async def key(scope: str) -> str:
            limits = [{"name": "requests", "quota": 1_000_000, "window_s": 60}]
            new = await created("/v1/keys", name="attack", limits=limits, scopes=[scope])
            return str(new["token"])

        async def keep_registered() -> None:
            while True:
                await asyncio.sleep(LEASE_S / 3)
                await register()

        async def register() -> None:
            registered = await client.put(
                f"{stack['gateway']}/v1/cores/{CORE_NAME}",
                json={"url": core.url, "ttl_s": LEASE_S},
                headers={"Authorization": f"Bearer {agent}"},
            )
            registered.raise_for_status()

        retrieval = {**RetrievalLink.example, "path": secrets.token_hex(14)}
        requested = await created("/v1/secret-requests", purpose="attack", retrieval_link=retrieval)
        link = requested["submission_link"].rpartition("/")[2].encode()
        agent = await key("cores:register")
        await register()
        target = Target(
            Service(stack["gateway"]),
            services=(console, sharing),
            operations=(
                Operation(console, b"/v1/keys", (JSON, operator)),
                Operation(console, b"/v1/secrets", (JSON, operator), 5_000_000),
                Operation(sharing, b"/v1/links/open", bytes_max=8_000),
                Operation(
                    sharing,
                    b"/v1/requests/submit",
                    ("Content-Type: multipart/form-data; boundary=b",),
                    1_790_000,
                    ORDINARY_FORM,
                    costly_forms(link),
                ),
            ),
            token=await key("cores:read"),
            core=core,
            core_name=CORE_NAME,
            scan=(str(Path(sys.executable).with_name("gatehouse")), "scan"),
            slow_clients=60,
            deadline_s=DEADLINE_S,
            at_once=8,
        )
        hello = request(b"GET", target.core_path + b"/x", *target.credential)
        if not (await target.gateway.send(hello)).endswith(b"ok"):
            failure = "the Core cannot be reached through the gateway"
            return [Outcome("the recording Core", 1, [failure])]
        renewing = asyncio.create_task(keep_registered())
        try:
            return await attack_all(target, others)
        finally:
            renewing.cancel()


def show(outcomes: Sequence[Outcome], target: str) -> int:
    """Print the table and the failures. Returns the exit code: 1 if an attack succeeded."""
    console = Console(width=130)
    table = Table("attacks", "cases", "result", title=f"Attacks against {target}")
    for row in outcomes:
        result = f"[red]{len(row.failures)} failed[/]" if row.failures else "[green]held[/]"
        table.add_row(row.name, str(row.cases), result)
    console.print(table)
    for row in outcomes:
        for failure in row.failures[:_FAILURES_SHOWN]:
            console.print(f"{row.name}: {escape(failure)}")
        if (more := len(row.failures) - _FAILURES_SHOWN) > 0:
            console.print(f"{row.name}: {more} more")
    return 1 if any(row.failures for row in outcomes) else 0


def _attack_sandbox() -> int:
    command = [sys.executable, "-m", "sandbox", "--home", str(HOME)]
    started = subprocess.run(
        [*command, "up", "--detach"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL
    )
    if started.returncode != 0:
        return _fail("the sandbox did not start; see the messages above")
    try:
        return show(asyncio.run(attack_sandbox(HOME)), "the sandbox")
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def _fail(message: str) -> int:
    print(f"attack: {message}", file=sys.stderr)
    return _ERROR


def _confirmed(url: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return (
        input(f"Send malformed requests and slow connections to {url}? Type yes: ").strip() == "yes"
    )


if __name__ == "__main__":
    sys.exit(main())
