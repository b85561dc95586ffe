"""Commands: `python -m policies levels | list | remediate PACK ENV`."""

import json
import sys

from rich.console import Console
from rich.table import Table

from policies.catalogue import PACKS, RULES, remediation_config, write_levels

_USAGE = """usage: python -m policies COMMAND

  levels              write the level files of both packs, for --policy-pack-config
  list                list all rules with their levels
  remediate PACK dev  print the levels of a pack (security or resilience) that enable remediation"""


def main(arguments: list[str]) -> int:
    """Runs one command. Returns the exit status."""
    if arguments == ["levels"]:
        changed = write_levels()
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
            print(json.dumps(remediation_config(arguments[1], arguments[2]), indent=2, sort_keys=True))
        except ValueError as error:
            print(f"policies: {error}", file=sys.stderr)
            return 2
        return 0
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
