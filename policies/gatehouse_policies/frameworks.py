"""The mappings of controls to frameworks, which are data."""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from gatehouse_policies.engine.rule import Control


@dataclass(frozen=True)
class Framework:
    """A framework and its published mapping.

    source, date: the text with the mapping, and the date of this text.
    requirements: the requirements that a control of Security Hub covers; a control without a
        number of a requirement covers the requirement of its own name.
    """

    id: str
    title: str
    version: str
    source: str
    date: date
    requirements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.title} {self.version}"

    def of(self, control: Control) -> list[str]:
        """The requirements that a control covers."""
        if self.id == "cis":
            return [id.removeprefix("CIS ") for id in control.upstream_ids() if id[:4] == "CIS "]
        found = (self.requirements.get(id, ()) for id in control.upstream.split())
        return sorted({requirement for each in found for requirement in each}, key=self.order)

    @staticmethod
    def order(requirement: str) -> tuple[Any, ...]:
        """Key that sorts AC-3 before AC-21, and 3.9 before 3.10."""
        words = "".join(c if c.isalnum() else " " for c in requirement).split()
        return tuple((word.isdigit(), int(word) if word.isdigit() else word) for word in words)


def _framework(id: str, row: dict[str, Any]) -> Framework:
    requirements = {name: (name,) for name in row.pop("controls", "").split()}
    for numbers, names in row.pop("requirements", {}).items():
        requirements |= dict.fromkeys(names.split(), tuple(numbers.split()))
    return Framework(id, **row, requirements=requirements)


@functools.cache
def frameworks() -> Mapping[str, Framework]:
    text = Path(__file__).with_name("frameworks.toml").read_text(encoding="utf-8")
    return {id: _framework(id, row) for id, row in tomllib.loads(text).items()}


def of_control(control: Control) -> dict[str, list[str]]:
    """The requirements that a control covers, by framework, without frameworks that have none."""
    found = {id: framework.of(control) for id, framework in frameworks().items()}
    return {id: requirements for id, requirements in found.items() if requirements}
