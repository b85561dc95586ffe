"""docs/requirements.md: the page and the test that show each bullet of a requirement."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tools.docs import markdown

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
    rows = []
    for bullet in bullets():
        file, _, name = bullet.test.partition("::")
        title = Path(bullet.page.partition("#")[0]).stem
        links = f"[{title}]({bullet.page})", f"[`{name}`](../tests/{file})"
        rows.append((bullet.id, bullet.text, *links))
    return markdown.page(
        "requirements", table=markdown.table(("ID", "bullet", "page", "test"), rows)
    )
