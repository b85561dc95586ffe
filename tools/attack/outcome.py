"""The result of a group of attacks, and the table of all results."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

FAILURES_SHOWN = 20

Item = TypeVar("Item")


@dataclass(slots=True)
class Outcome:
    """Number of attacks in a group, and a sentence for each successful attack. `not_run`: why the
    group did not run.
    """

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)
    not_run: str = ""

    def check(self, holds: bool, failure: str) -> None:
        """Count an attack. `failure`: what is wrong if the attack succeeds; contains no secret."""
        self.cases += 1
        if not holds:
            self.failures.append(failure)

    @property
    def result(self) -> str:
        """The text in the table."""
        if self.not_run:
            return "not run"
        return f"{len(self.failures)} failed" if self.failures else "held"

    @property
    def failed(self) -> bool:
        """True if an attack succeeded, or if a group ran without any attack."""
        return bool(self.failures) or (not self.not_run and self.cases == 0)


async def run_all(
    items: Iterable[Item], attack: Callable[[Item], Awaitable[None]], *, at_once: int
) -> None:
    """Run an attack with each item, at most `at_once` at a time."""
    limit = asyncio.Semaphore(at_once)

    async def limited(item: Item) -> None:
        async with limit:
            await attack(item)

    async with asyncio.TaskGroup() as group:
        for item in items:
            group.create_task(limited(item))


def show(outcomes: Sequence[Outcome], target: str) -> int:
    """Print the table and the failures. Returns the exit code: 1 if an attack succeeded."""
    console = Console(width=130)
    table = Table(
        "attacks",
        "cases",
        "result",
        "reason",
        title=f"Attacks against {target}",
        title_justify="left",
    )
    for outcome in outcomes:
        style = "red" if outcome.failed else "yellow" if outcome.not_run else "green"
        table.add_row(
            outcome.name,
            str(outcome.cases),
            f"[{style}]{outcome.result}[/]",
            escape(outcome.not_run),
        )
    console.print(table)
    for outcome in outcomes:
        for failure in outcome.failures[:FAILURES_SHOWN]:
            console.print(f"{outcome.name}: {escape(failure)}")
        if len(outcome.failures) > FAILURES_SHOWN:
            console.print(f"{outcome.name}: {len(outcome.failures) - FAILURES_SHOWN} more")
    return 1 if any(outcome.failed for outcome in outcomes) else 0
