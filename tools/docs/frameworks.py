"""docs/frameworks.md: the controls of other catalogues that the packs cover."""

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from gatehouse_policies.catalogue import RULES
from gatehouse_policies.frameworks import Framework, frameworks

from tools.docs import markdown
from tools.docs.markdown import table

_FILE = Path(__file__).with_name("coverage.toml")
_NOT_YET = "not covered yet"


def coverage() -> Iterator[tuple[Framework, dict[str, list[str]], dict[str, str]]]:
    """Each framework, the controls of the packs by requirement, in the order of the framework, and
    the reason why each other requirement has none.
    """
    for id, row in tomllib.loads(_FILE.read_text("utf-8")).items():
        names = _names(row)
        framework = frameworks().get(id) or Framework(
            id, *(row[key] for key in ("title", "version", "source", "date"))
        )
        framework = replace(
            framework, requirements=framework.requirements or {name: (name,) for name in names}
        )
        names = names or [*framework.requirements]
        covered: dict[str, list[str]] = {}
        for rule in RULES:
            for name in framework.of(rule):
                covered.setdefault(name, []).append(rule.id)
        reasons = {
            name: reason for reason, group in row["reasons"].items() for name in group.split()
        }
        others = {name: reasons.get(name, _NOT_YET) for name in names if name not in covered}
        for name in reasons:
            if name not in others:
                raise ValueError(f"{_FILE.name}: {id}: {name} has a control, or does not exist")
        yield framework, {name: covered[name] for name in names if name in covered}, others


def _names(row: dict[str, Any]) -> list[str]:
    prefixes = ("CKV_AWS", "CKV2_AWS")
    numbered = (f"{prefix}_{n}" for prefix in prefixes for n in row.get(prefix, "").split())
    return [*row.get("controls", "").split(), *numbered]


def page() -> str:
    return markdown.page("frameworks", frameworks="\n\n".join(map(_section, coverage())))


def _section(part: tuple[Framework, dict[str, list[str]], dict[str, str]]) -> str:
    framework, covered, others = part
    missing = table(
        ("why not", "controls"),
        (
            (each, " ".join(key for key in others if others[key] == each))
            for each in sorted({*others.values()})
        ),
    )
    return (
        f"## {framework.name}\n\n"
        f"[Source]({framework.source}), read on {framework.date}. {len(covered)} of "
        f"{len(covered) + len(others)} are covered.\n\n{missing}"
    )
