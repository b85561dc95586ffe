"""The progress output of `up`: one line per step or result, in color on a terminal."""

import sys
import time
from collections import Counter

from pulumi_local.engine.steps import Step
from rich.console import Console
from rich.markup import escape

_SIGNS = {
    "create": "+",
    "update": "~",
    "replace": "+-",
    "delete": "-",
    "delete-replaced": "--",
    "retain": "x",
}
_PIPE_COLUMNS = 160  # width of a pipe, enough for a URN


class Progress:
    """Prints to standard output without buffering, so that a parent process can relay the lines."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
        self._started_at = time.monotonic()
        self._counts: Counter[str] = Counter()
        # URNs of resources that were replaced since the last summary.
        self._replaced: set[str] = set()

    def title(self, text: str) -> None:
        self._print(f"[bold]{escape(text)}[/bold]")

    def step(self, text: str) -> None:
        self._print(f"[cyan]>[/cyan] {escape(text)}")

    def done(self, text: str) -> None:
        self._print(f"  [green]ok[/green]  {escape(text)}")

    def fail(self, text: str) -> None:
        self._print(f"  [red]failed[/red]  {escape(text)}")

    def warn(self, text: str) -> None:
        self._print(f"  [yellow]note[/yellow]  {escape(text)}")

    def change(self, step: Step) -> None:
        operation: str = step.operation
        if operation == "replace":
            self._replaced.add(step.urn)
        elif operation == "delete" and step.urn in self._replaced:
            operation = (
                "delete-replaced"  # the second part of a replacement, which the summary counts once
            )
        self._counts[operation] += 1
        total = sum(self._counts.values())
        label = f"{escape(step.type)}  [bold]{escape(step.name)}[/bold]"
        properties = (
            ""
            if operation == "create" or not step.properties
            else f"  {escape(', '.join(step.properties))}"
        )
        self._print(f"  [green]{_SIGNS[operation]:>2}[/green] {total:>3}  {label}{properties}")
        if step.note:
            self.warn(step.note)

    def summary(self) -> str:
        """The number of steps since the last summary, such as "3 created, 1 replaced"."""
        words = {
            "create": "created",
            "update": "updated",
            "replace": "replaced",
            "delete": "deleted",
            "retain": "retained",
        }
        text = ", ".join(
            f"{self._counts[kind]} {word}" for kind, word in words.items() if self._counts[kind]
        )
        self._counts.clear()
        self._replaced.clear()
        return text or "no changes"

    def plain(self, text: str = "") -> None:
        """Print text to copy, without markup or line wrapping."""
        self._print(escape(text))

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_at

    def _print(self, markup: str) -> None:
        self._console.print(markup, soft_wrap=True, highlight=False)
        self._console.file.flush()
