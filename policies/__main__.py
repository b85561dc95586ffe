"""Commands: `python -m policies levels | list | remediate PACK ENV`."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from policies import configuration
from policies.catalogue import PACKS, RULES, remediation_config, write_levels
from policies.configuration import ConfigurationError
from policies.engine.rule import ENVIRONMENTS

_USAGE = """usage: python -m policies COMMAND

  levels              write the level files of both packs, for --policy-pack-config
  levels --config FILE dev DIR
                      write DIR/security.json and DIR/resilience.json with the values of a configuration file
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
    if len(arguments) == 5 and arguments[:2] == ["levels", "--config"]:
        return _write_configured_levels(Path(arguments[2]), arguments[3], Path(arguments[4]))
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


def _write_configured_levels(file: Path, environment: str, folder: Path) -> int:
    try:
        if environment not in ENVIRONMENTS:
            raise ConfigurationError(f"the environment must be one of {', '.join(ENVIRONMENTS)}, not {environment!r}")
        config = configuration.read(file)
    except ConfigurationError as error:
        print(f"policies: {error}", file=sys.stderr)
        return 2
    folder.mkdir(parents=True, exist_ok=True)
    for pack in PACKS:
        target = folder / f"{pack}.json"
        target.write_text(json.dumps(config.of_pack(pack, environment), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
