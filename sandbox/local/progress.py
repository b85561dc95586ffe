"""What a person sees while `up` and `check` work: one line for each thing that is done, colour only on a terminal."""

import sys
import time

from rich.console import Console, RenderableType
from rich.markup import escape

from sandbox.engine.types import Resource

_PIPE_COLUMNS = 160  # a pipe has no width of its own; long enough for a URN's tail


class Progress:
    """Prints to standard output as things happen; nothing is buffered, so that a parent process can relay it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _console()
        self._began = time.monotonic()
        self._resources = 0

    def title(self, text: str) -> None:
        self._print(f"[bold]{escape(text)}[/bold]")

    def step(self, text: str) -> None:
        """A stage that begins."""
        self._print(f"[cyan]>[/cyan] {escape(text)}")

    def done(self, text: str) -> None:
        self._print(f"  [green]ok[/green]  {escape(text)}")

    def bad(self, text: str) -> None:
        self._print(f"  [red]no[/red]  {escape(text)}")

    def warn(self, text: str) -> None:
        self._print(f"  [yellow]note[/yellow]  {escape(text)}")

    def resource(self, resource: Resource) -> None:
        """One created resource. Components only group others: they get no line."""
        asked = resource.registration
        if asked.custom:
            self._resources += 1
            self._print(f"  [green]+[/green] {self._resources:>3}  {escape(asked.type)}  [bold]{escape(asked.name)}[/bold]")

    @property
    def resources(self) -> int:
        return self._resources

    def show(self, block: RenderableType) -> None:
        self._console.print(block, soft_wrap=isinstance(block, str))

    def plain(self, text: str = "") -> None:
        """Text to copy: no markup, never wrapped."""
        self._print(escape(text))

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _print(self, markup: str) -> None:
        self._console.print(markup, soft_wrap=True, highlight=False)
        self._console.file.flush()


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS)
