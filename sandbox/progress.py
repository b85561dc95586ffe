"""The progress output of `up` and `prowler`: one line per step or result, in color on a terminal."""

import sys
import time

from rich.console import Console
from rich.markup import escape

from sandbox.engine.types import Resource

_PIPE_COLUMNS = 160  # width of a pipe, enough for a URN


class Progress:
    """Prints to standard output without buffering, so that a parent process can relay the lines."""

    def __init__(self) -> None:
        self._console = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
        self._started_at = time.monotonic()
        self.resources = 0
        """The number of created resources."""

    def title(self, text: str) -> None:
        self._print(f"[bold]{escape(text)}[/bold]")

    def step(self, text: str) -> None:
        """Print the start of a step."""
        self._print(f"[cyan]>[/cyan] {escape(text)}")

    def done(self, text: str) -> None:
        self._print(f"  [green]ok[/green]  {escape(text)}")

    def fail(self, text: str) -> None:
        self._print(f"  [red]failed[/red]  {escape(text)}")

    def warn(self, text: str) -> None:
        self._print(f"  [yellow]note[/yellow]  {escape(text)}")

    def resource(self, resource: Resource) -> None:
        """Print a created resource. Component resources are not printed."""
        registration = resource.registration
        if registration.custom:
            self.resources += 1
            label = f"{escape(registration.type)}  [bold]{escape(registration.name)}[/bold]"
            self._print(f"  [green]+[/green] {self.resources:>3}  {label}")

    def plain(self, text: str = "") -> None:
        """Print text to copy, without markup or line wrapping."""
        self._print(escape(text))

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_at

    def _print(self, markup: str) -> None:
        self._console.print(markup, soft_wrap=True, highlight=False)
        self._console.file.flush()
