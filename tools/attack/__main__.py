"""`make attack`: runs attacks against a deployment or a sandbox.

Exit codes: 0 every attack was rejected, 1 an attack succeeded, 2 the attacks could not run.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from tools.attack.attacks import ATTACKS, Outcome, Target, attack

_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks, print the table and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.attack", description="Attack a sandbox or a deployment."
    )
    parser.add_argument("--url", required=True, help="URL of the gateway.")
    parser.add_argument("--yes", action="store_true", help="Do not ask for confirmation.")
    options = parser.parse_args(arguments)
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


def show(outcomes: Sequence[Outcome], target: str) -> int:
    """Print the results. Returns the exit code: 1 if an attack succeeded."""
    print(f"Attacks against {target}")
    for row in outcomes:
        result = f"{len(row.failures)} succeeded" if row.failures else "rejected"
        print(f"  {row.name:20} {row.cases:3} cases: {result}")
        for failure in row.failures:
            print(f"    {failure}")
    return 1 if any(row.failures for row in outcomes) else 0


def _fail(message: str) -> int:
    print(f"attack: {message}", file=sys.stderr)
    return _ERROR


def _confirmed(url: str) -> bool:
    return sys.stdin.isatty() and (
        input(f"Send malformed requests to {url}? Type yes: ").strip() == "yes"
    )


if __name__ == "__main__":
    sys.exit(main())
