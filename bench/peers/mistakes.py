"""Reads mistakes.toml: each mistake as an incorrect and a corrected program in Terraform and in Pulumi."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

VARIANTS = {"incorrect": "#-", "corrected": "#+"}
_FILE = Path(__file__).with_name("mistakes.toml")


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake. `cdk_nag` is the matching rule of cdk-nag's published list, or ""."""

    title: str
    terraform: str
    pulumi: str
    cdk_nag: str

    @property
    def key(self) -> str:
        """The title as a folder name."""
        return "".join(letter if letter.isalnum() else "-" for letter in self.title.lower()).strip("-")


def read() -> tuple[Mistake, ...]:
    """All mistakes in the order of the file."""
    return tuple(Mistake(**row) for row in tomllib.loads(_FILE.read_text(encoding="utf-8"))["mistake"])


def variant(template: str, name: str) -> str:
    """The program without the lines of the other variant and without the markers."""
    others = {mark for other, mark in VARIANTS.items() if other != name}
    lines = [line for line in template.strip().splitlines() if not line.endswith(tuple(others))]
    return "\n".join(line.removesuffix(VARIANTS[name]).rstrip() for line in lines) + "\n"
