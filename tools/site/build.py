"""Builds the documentation site with Sphinx from the Markdown of the repository.

The pages are README.md and all that it links to, directly or through other pages. They keep their
paths, so their links work in the repository and on the site. docs/README.md is the navigation: a
section for each task, and the reference.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gatehouse.services.console.routes import document as console
from gatehouse.services.gateway.routes import document as gateway
from gatehouse.services.sharing.routes import document as sharing
from gatehouse_policies.catalogue import PACKS

from tools import nodejs
from tools.site import catalogue, reference

ROOT = Path(__file__).resolve().parents[2]
FIRST, NAVIGATION = "README.md", "docs/README.md"
#: Mermaid with its version and hash.
LOCKED = ROOT / "scripts" / "requirements" / "site"
SERVICES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "gateway": gateway,
    "console": console,
    "sharing": sharing,
}
_API, _CONTROLS = "docs/api", "docs/controls"
_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:|#)([^)\s#]+)(#[^)\s]*)?\)")
_LINKED = re.compile(r"\[([^\]\n]*)\]\((?!https?:|#)([^)\s#]+)\)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: A control in the first column of a table.
_CONTROL = re.compile(r"^\|`(GH-[A-Z\d]+-\d+)`\|", re.MULTILINE)
_ROW = re.compile(r"^\| (.+?) \| (.+) \|$", re.MULTILINE)


class SiteError(Exception):
    """The site cannot be built."""


def build(target: Path) -> None:
    """Replaces `target`/html. Raises SiteError, with the warnings of Sphinx: broken links."""
    source = target / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.rmtree(target / "html", ignore_errors=True)
    _stage(source)
    shutil.copy(Path(__file__).with_name("conf.py"), source)
    for folder in ("static", "templates"):
        shutil.copytree(Path(__file__).with_name(folder), source / f"_{folder}")
    nodejs.install(LOCKED, ROOT / ".gatehouse/tools/site", _keep_script)
    shutil.copy(ROOT / ".gatehouse/tools/site/mermaid.min.js", source / "_static")
    sphinx = (sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--jobs", "auto")
    done = subprocess.run(
        (*sphinx, str(source), str(target / "html")),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SiteError(done.stdout + done.stderr)


def _keep_script(folder: Path) -> None:
    shutil.copy(folder / "node_modules/mermaid/dist/mermaid.min.js", folder)


def _stage(source: Path) -> None:
    """Copies the pages, with links that Sphinx understands, and the files that they show."""
    parents = _pages()
    sections = _sections()
    listed = {page for pages in sections.values() for page in pages}
    children: dict[str, list[str]] = {}
    for page, parent in parents.items():
        if page not in listed | {FIRST}:
            folder = str(PurePosixPath(page).with_name("README.md"))
            children.setdefault(folder if folder in {*parents} - {page} else parent, []).append(
                page
            )
    for page in parents:
        text = _with_diagrams(_with_links(page, (ROOT / page).read_text(), {*parents}, source))
        text = _CONTROL.sub(lambda row: f"|[{row[1]}](#{row[1].lower()})|", text)
        text += _toctree("", sorted(children.get(page, ())))
        if page == FIRST:
            text += "".join(_toctree(caption, pages) for caption, pages in sections.items())
        _write(source / _staged(page), text)
    for name, text in catalogue.pages():
        _write(source / _CONTROLS / f"{name}.md", text)
    for name, document in SERVICES.items():
        _write(source / _API / f"{name}.md", reference.page(name, document()))
        _write(source / _API / f"{name}.json", json.dumps(document(), indent=2))


def _pages() -> dict[str, str]:
    """The path of each page, and the page that first links to it, breadth-first."""
    parents, queue = {FIRST: ""}, deque([FIRST])
    while queue:
        page = queue.popleft()
        for link, _ in _LINK.findall(_CODE.sub("", (ROOT / page).read_text())):
            target = _target(page, link)
            if target.endswith(".md") and target not in parents:
                parents[target] = page
                queue.append(target)
    return parents


def _sections() -> dict[str, list[str]]:
    """The caption of each section of the navigation, and its pages. A page is in one section."""
    tasks, _, rest = (ROOT / NAVIGATION).read_text().partition("\n## Reference\n")
    rows = _ROW.findall(tasks)[2:]
    rows.append(("Reference", rest.partition("\n## ")[0]))
    sections: dict[str, list[str]] = {}
    for caption, text in rows:
        known = {FIRST, *(page for pages in sections.values() for page in pages)}
        targets = (_target(NAVIGATION, link) for link, _ in _LINK.findall(text))
        sections[caption] = [
            page for page in dict.fromkeys(targets) if page.endswith(".md") and page not in known
        ]
    sections["Reference"] += [f"{_CONTROLS}/{pack}.md" for pack in PACKS]
    sections["Reference"] += [f"{_API}/{name}.md" for name in SERVICES]
    return sections


def _target(page: str, link: str) -> str:
    """The path of a link in the repository, that of its README.md for a folder."""
    target = os.path.normpath(PurePosixPath(page).parent / link)
    readme = f"{target}/README.md"
    return readme if (ROOT / readme).is_file() else target


def _staged(page: str) -> str:
    return "index.md" if page == FIRST else page


def _with_links(page: str, text: str, pages: set[str], source: Path) -> str:
    """Links to files that are no pages become downloads. A folder without README.md has no link."""

    def link(match: re.Match[str]) -> str:
        target, anchor = _target(page, match[1]), match[2] or ""
        if target not in pages and (ROOT / target).is_file():
            (source / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / target, source / target)
        return f"]({os.path.relpath(_staged(target), PurePosixPath(page).parent)}{anchor})"

    def prose(text: str) -> str:
        return _LINK.sub(link, _LINKED.sub(unlinked, text))

    def unlinked(match: re.Match[str]) -> str:
        return match[1] if (ROOT / _target(page, match[2])).is_dir() else match[0]

    code = [*_CODE.findall(text), ""]
    parts = zip(map(prose, _CODE.split(text)), code, strict=True)
    return "".join(part for pair in parts for part in pair)


def _with_diagrams(text: str) -> str:
    """Diagrams as elements that Mermaid draws."""
    return _DIAGRAM.sub(
        lambda match: f'```{{raw}} html\n<pre class="mermaid">{html.escape(match[1])}</pre>\n```',
        text,
    )


def _toctree(caption: str, pages: list[str]) -> str:
    if not pages:
        return ""
    options = f":caption: {caption[0].upper()}{caption[1:]}\n" if caption else ""
    listed = "".join(f"/{page.removesuffix('.md')}\n" for page in pages)
    return f"\n```{{toctree}}\n:hidden:\n{options}\n{listed}```\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
