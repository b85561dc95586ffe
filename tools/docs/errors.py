"""docs/errors.md: a section for each problem type, whose name is the end of the type."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import gatehouse.services.sharing.app  # noqa: F401  its errors are part of the tree
from gatehouse.core.errors import GatehouseError, SettingsError
from gatehouse.platform.web.problems import PROBLEM_TYPE
from gatehouse.services.console.routes import API  # noqa: F401  the same
from gatehouse.services.gateway.credentials import DENIALS

from tools.docs import markdown
from tools.docs.markdown import prose

#: What a client should do, by the name of the section.
_ADVICE = tomllib.loads(Path(__file__).with_name("errors.toml").read_text("utf-8"))


def page() -> str:
    sections: dict[int, list[str]] = {}
    for name, (status, titles) in sorted(_types().items()):
        text = " ".join(f"{prose(title)}." for title in titles)
        sections.setdefault(status, []).append(f"### {name}\n\n{text} {_ADVICE[name]}".rstrip())
    parts = ("\n\n".join((f"## {status}", *sections[status])) for status in sorted(sections))
    return markdown.page("errors", type=PROBLEM_TYPE, sections="\n\n".join(parts))


def _types() -> dict[str, tuple[int, list[str]]]:
    """Status and titles of each type. A decision on a key has the type of its code in lowercase,
    which can also be that of an error.
    """
    found: dict[str, tuple[int, list[str]]] = {}
    for error in _errors(GatehouseError):
        found[error.code.lower()] = (error.status, [error.title])
    for code, (error, title) in DENIALS.items():
        status, titles = found.setdefault(code.lower(), (error.status, []))
        if not titles or status != error.status:
            more = "" if status == error.status else f" with the status {error.status}"
            titles.append(f"`{code}`{more}: {title[0].lower()}{title[1:]}")
    return found


def _errors(error: type[GatehouseError]) -> Iterator[type[GatehouseError]]:
    if error is not SettingsError:  # raised only at startup
        yield error
    for subclass in error.__subclasses__():
        yield from _errors(subclass)
