"""The README says what the sandbox does: what is modelled only, and how large the first stack is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from sandbox.clouds import InventedCloud
from sandbox.engine import run
from sandbox.rows import ROWS
from sandbox.types import Deployment
from tests.components.program import STACKS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODELLED = {token.rpartition(":")[0] for token, row in ROWS.items() if row.modelled}


@cache
def deployed(stack: str) -> Deployment:
    return run(ROOT, stack, InventedCloud(), preview=False)


def told() -> dict[str, set[str]]:
    """The types that the README calls modelled, by stack."""
    found: dict[str, set[str]] = {stack: set() for stack in STACKS}
    section = README.partition("## What the sandbox does not show")[2]
    for point in re.findall(r"^  - In (.*?)(?=^ {0,2}- )", section, flags=re.MULTILINE | re.DOTALL):
        where = re.split(r"[:,] (?=`|where|which)", point)[0]
        for stack in re.findall(r"\b(dev|staging|prod)\b", where):
            found[stack] |= set(re.findall(r"`(aws:\w+/\w+)`", point))
    return found


@pytest.mark.parametrize("stack", STACKS)
def test_the_types_that_are_modelled_only_stand_in_the_readme_by_stack(stack: str) -> None:
    types = {resource.registration.type.rpartition(":")[0] for resource in deployed(stack).resources}
    assert told()[stack] == types & MODELLED


def test_the_first_five_minutes_show_the_numbers_of_the_dev_stack() -> None:
    resources = deployed("dev").resources
    made = sum(resource.registration.custom for resource in resources)
    assert set(re.findall(r"policies over (\d+) resources", README)) == {str(len(resources))}
    assert re.findall(r"ok  (\d+) resources at", README) == [str(made)]
    last = next(resource.registration for resource in reversed(resources) if resource.registration.custom)
    assert f"  + {made}  {last.type}  {last.name}\n" in README
