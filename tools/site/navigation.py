"""The menu of the documentation site, from the tables of docs/README.md."""

import os
import re
from collections import deque
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
FIRST, NAVIGATION = "README.md", "docs/README.md"
CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)\s#]+)(#[^)\s]*)?\)")
_ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)


def pages() -> dict[str, str]:
    """The path of each page, and the page that first links to it, breadth-first."""
    parents, queue = {FIRST: ""}, deque([FIRST])
    while queue:
        page = queue.popleft()
        for link, _ in LINK.findall(CODE.sub("", (ROOT / page).read_text())):
            target = target_of(page, link)
            if target.endswith(".md") and target not in parents:
                parents[target] = page
                queue.append(target)
    return parents


def sections() -> dict[str, list[str]]:
    """The caption of each section of the navigation, and its pages. A page is in one section."""
    tasks, _, rest = (ROOT / NAVIGATION).read_text().partition("\n## Reference\n")
    rows = _ROW.findall(tasks)[2:]
    rows.append(("Reference", rest.partition("\n## ")[0]))
    found: dict[str, list[str]] = {}
    for caption, text in rows:
        known = {FIRST, *(page for listed in found.values() for page in listed)}
        targets = (target_of(NAVIGATION, link) for link, _ in LINK.findall(text))
        found[caption] = [
            page for page in dict.fromkeys(targets) if page.endswith(".md") and page not in known
        ]
    return found


def target_of(page: str, link: str) -> str:
    """The path of a link in the repository, that of its README.md for a folder."""
    target = os.path.normpath(PurePosixPath(page).parent / link)
    readme = f"{target}/README.md"
    return readme if (ROOT / readme).is_file() else target


def toctree(caption: str, listed: list[str]) -> str:
    if not listed:
        return ""
    options = f":caption: {caption[0].upper()}{caption[1:]}\n" if caption else ""
    names = "".join(f"/{page.removesuffix('.md')}\n" for page in listed)
    return f"\n```{{toctree}}\n:hidden:\n{options}\n{names}```\n"
