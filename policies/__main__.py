"""`python -m policies levels` writes the level files of both packs; `python -m policies list` shows every rule."""

import sys

from rich.console import Console
from rich.table import Table

from policies import levels
from policies.catalogue import RULES

_USAGE = "usage: python -m policies levels | list"


def main(arguments: list[str]) -> int:
    """Runs one command; returns the exit code."""
    if arguments == ["levels"]:
        changed = levels.write()
        for file in changed:
            print(f"wrote {file}")
        print(f"{len(changed)} level files changed")
        return 0
    if arguments == ["list"]:
        table = Table("rule", "title", "pack", "severity", "dev", "staging", "prod", box=None)
        for rule in RULES:
            table.add_row(rule.id, rule.title, rule.pack, rule.severity, *(str(level) for level in rule.levels.values()))
        Console().print(table)
        return 0
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
