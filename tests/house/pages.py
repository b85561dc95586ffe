"""Makes the reference pages in docs/ from what they describe: `python tests/house/pages.py`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.house import (
    page_costs,
    page_diagram,
    page_key_life,
    page_permissions,
    page_policies,
    page_runtime,
    page_scans,
    page_settings,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"
COMMAND = ".venv/bin/python tests/house/pages.py"
PAGES: dict[str, Callable[[], str]] = {
    "settings.md": page_settings.page,
    "settings-runtime.md": page_runtime.page,
    "policies.md": page_policies.page,
    "permissions.md": page_permissions.page,
    "costs.md": page_costs.page,
    "scans.md": page_scans.page,
    **{f"diagrams/{stack}.md": partial(page_diagram.page, stack) for stack in page_diagram.STACKS},
    "key-life.md": page_key_life.page,
}


def text(name: str) -> str:
    """The whole text of a page, with a word to whoever would edit it."""
    return f"<!-- Made by `{COMMAND}`; a test fails when this page is not current. -->\n\n{PAGES[name]()}"


if __name__ == "__main__":
    for page in PAGES:
        (DOCS / page).parent.mkdir(exist_ok=True)
        (DOCS / page).write_text(text(page))
