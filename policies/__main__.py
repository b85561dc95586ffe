"""`python -m policies levels` writes the level files of both packs, `list` shows every rule, and `remediate PACK ENV` prints
levels at which rules change inputs by themselves, for --policy-pack-config.
"""

import json
import sys

from rich.console import Console
from rich.table import Table

from policies.catalogue import PACKS, RULES, remediating
from policies.engine import levels

_USAGE = "usage: python -m policies levels | list | remediate security|resilience dev"


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
    if len(arguments) == 3 and arguments[0] == "remediate" and arguments[1] in PACKS:
        try:
            print(json.dumps(remediating(arguments[1], arguments[2]), indent=2, sort_keys=True))
        except ValueError as refused:
            print(f"policies: {refused}", file=sys.stderr)
            return 2
        return 0
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
