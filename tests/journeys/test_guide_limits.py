"""Denials on pages do not depend on the time between commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core import gcra
from gatehouse.core.keys import RateLimit
from gatehouse.core.notation import rate_limit
from gatehouse.services.console.authentication import WINDOW_S

from tests.journeys.guide_reader import Step, parse

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *(ROOT / "docs" / "guides").glob("*.md"))
]
DENIED = re.compile(r"\b429\b")
PAUSE_S = 30
UNKNOWN = "nonsense"  # the unknown credential of the pages


def denials(page: str) -> Iterator[tuple[RateLimit | None, int]]:
    """The limit that denies a command (None: a lockout), and the number of commands until then."""
    limits: dict[str, RateLimit | None] = {UNKNOWN: None}
    first: dict[str, int] = {}
    variables: dict[str, str] = {}
    for index, step in enumerate(step for step in parse(page) if isinstance(step, Step)):
        command = re.sub(r"\$(\w+)", lambda match: variables.get(match[1], match[0]), step.command)
        created = re.search(r"^gtk_test_\w+\.\.\.", step.expected, flags=re.MULTILINE)
        if created and (options := re.findall(r"--limit (\S+)", command)):
            fields: dict[str, Any] = rate_limit(options[0]) or {}
            limits[created[0]] = RateLimit(**{"burst": fields["quota"], **fields})
        variables.update(re.findall(r"(\w+)=(\S+)", command))
        for credential in limits.keys() & {
            match[0] for match in re.finditer(rf"gtk_test_\w+\.\.\.|{UNKNOWN}", command)
        }:
            first.setdefault(credential, index)
            if DENIED.search(step.expected):
                yield limits[credential], index - first[credential]


def is_denied(limit: RateLimit | None, elapsed_s: int) -> bool:
    """True if the request after the burst is denied `elapsed_s` after the first one."""
    if limit is None:
        return elapsed_s < WINDOW_S
    used_up = limit.burst * gcra.interval_us(limit)
    return not gcra.fits(limit, max(used_up - elapsed_s * 1e6, 0.0), 1)


@pytest.mark.requirement("TR-16")
def test_denials_do_not_depend_on_pauses() -> None:
    """A pause never causes a denial, because it only adds units."""
    steps = [step for page in PAGES for step in parse(page) if isinstance(step, Step)]
    found = [denial for page in PAGES for denial in denials(page)]
    assert len(found) == sum(bool(DENIED.search(step.expected)) for step in steps) >= 3
    assert [denial for denial in found if not is_denied(denial[0], denial[1] * PAUSE_S)] == []
