"""Builds the documentation site with Sphinx from the Markdown of the repository.

The pages are README.md and all that it links to, directly or through other pages. They keep their
paths, so their links work in the repository and on the site. docs/README.md is the navigation: a
section for each task, and the reference (navigation.py).
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from gatehouse.services.console.routes import document as console
from gatehouse.services.gateway.routes import document as gateway
from gatehouse.services.sharing.routes import document as sharing
from gatehouse_policies.catalogue import PACKS

from tools import nodejs
from tools.site import catalogue, reference, requirements
from tools.site.navigation import CODE, FIRST, LINK, pages, sections, target_of, toctree

ROOT = Path(__file__).resolve().parents[2]
#: Mermaid with its version and hash.
LOCKED = ROOT / "scripts" / "requirements" / "site"
SERVICES: Mapping[str, Callable[[], dict[str, Any]]] = {
    "gateway": gateway,
    "console": console,
    "sharing": sharing,
}
_API, _CONTROLS, _REQUIREMENTS = "docs/api", "docs/controls", "docs/requirements.md"
_LINKED = re.compile(r"\[([^\]\n]*)\]\((?!https?:|#)([^)\s#]+)\)")
_DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```", re.DOTALL | re.MULTILINE)
#: A control in the first column of a table.
_CONTROL = re.compile(r"^\|`(GH-[A-Z\d]+-\d+)`\|", re.MULTILINE)


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
    parents = pages()
    navigation = sections()
    navigation["Reference"] += [
        _REQUIREMENTS,
        *(f"{_CONTROLS}/{pack}.md" for pack in PACKS),
        *(f"{_API}/{name}.md" for name in SERVICES),
    ]
    listed = {page for section in navigation.values() for page in section}
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
        text += toctree("", sorted(children.get(page, ())))
        if page == FIRST:
            text += "".join(toctree(*section) for section in navigation.items())
        _write(source / _staged(page), text)
    text = _with_links(_REQUIREMENTS, requirements.page(), {*parents}, source)
    _write(source / _REQUIREMENTS, text)
    for name, text in catalogue.pages():
        _write(source / _CONTROLS / f"{name}.md", text)
    for name, document in SERVICES.items():
        _write(source / _API / f"{name}.md", reference.page(name, document()))
        _write(source / _API / f"{name}.json", json.dumps(document(), indent=2))


def _staged(page: str) -> str:
    return "index.md" if page == FIRST else page


def _with_links(page: str, text: str, pages: set[str], source: Path) -> str:
    """Links to files that are no pages become downloads. A folder without README.md has no link."""

    def link(match: re.Match[str]) -> str:
        target, anchor = target_of(page, match[1]), match[2] or ""
        if target not in pages and (ROOT / target).is_file():
            (source / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / target, source / target)
        return f"]({os.path.relpath(_staged(target), PurePosixPath(page).parent)}{anchor})"

    def prose(text: str) -> str:
        return LINK.sub(link, _LINKED.sub(unlinked, text))

    def unlinked(match: re.Match[str]) -> str:
        return match[1] if (ROOT / target_of(page, match[2])).is_dir() else match[0]

    code = [*CODE.findall(text), ""]
    parts = zip(map(prose, CODE.split(text)), code, strict=True)
    return "".join(part for pair in parts for part in pair)


def _with_diagrams(text: str) -> str:
    """Diagrams as elements that Mermaid draws."""
    return _DIAGRAM.sub(
        lambda match: f'```{{raw}} html\n<pre class="mermaid">{html.escape(match[1])}</pre>\n```',
        text,
    )


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
