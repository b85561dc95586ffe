"""Draws what `python -m sandbox check` says of examples/leaky: `.venv/bin/python -m tools.docs`."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from policies.reports.table import WIDTH, table
from sandbox.check import Checked, check

ROOT = Path(__file__).resolve().parents[2]
LEAKY = ROOT / "examples" / "leaky"
PICTURE = ROOT / "docs" / "pictures" / "leaky.svg"
COMMAND = "python -m sandbox check --program examples/leaky --levels prod"


def judged() -> Checked:
    """The report of the leaky example at the levels of prod."""
    return check(LEAKY, "dev", levels="prod")


def marked() -> set[str]:
    """The controls that the comments of the example name."""
    return set(re.findall(r"GH-[A-Z0-9]+-\d+", (LEAKY / "__main__.py").read_text()))


def svg(checked: Checked) -> str:
    """The report as a terminal shows it, without the time that it took."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(table(checked.findings, replace(checked.run, seconds=0.0)))
    text = console.export_svg(title=COMMAND, theme=MONOKAI, unique_id="leaky")
    # rich loads its font from a public server; a picture in our docs asks nobody.
    return re.sub(r"\s*@font-face \{.*?\}", "", text, flags=re.DOTALL)


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(judged()), encoding="utf-8")
