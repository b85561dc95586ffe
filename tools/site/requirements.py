"""The page of the site with the requirements: the page and the test of each bullet."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.docs.markdown import table

_HEAD = """# Requirements

Each bullet with its page and the test that shows it. CG: key gateway. ECS: container application.
SS: secret sharing. TR: key management. PP: policy packs.
"""
FILE = Path(__file__).resolve().parents[2] / "tests/requirements.toml"


@dataclass(frozen=True)
class Bullet:
    """page: path below docs/, with an anchor. test: `path::name`, path below tests/."""

    id: str
    text: str
    page: str
    test: str


@cache
def bullets() -> tuple[Bullet, ...]:
    return tuple(
        Bullet(id, text, *((row["page"], shown) if isinstance(shown, str) else shown))
        for id, row in tomllib.loads(FILE.read_text()).items()
        for text, shown in row.items()
        if text != "page"
    )


def page() -> str:
    """Its links are those of a page of docs/."""
    rows = []
    for bullet in bullets():
        file, _, name = bullet.test.partition("::")
        title = Path(bullet.page.partition("#")[0]).stem
        links = f"[{title}]({bullet.page})", f"[`{name}`](../tests/{file})"
        rows.append((bullet.id, bullet.text, *links))
    return f"{_HEAD}\n{table(('ID', 'bullet', 'page', 'test'), rows)}\n"
