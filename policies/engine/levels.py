"""Level files for `--policy-pack-config`, one per pack and environment, generated from the rule declarations."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from policies.engine.meta_policies import META_POLICIES
from policies.engine.rule import ENVIRONMENTS, Rule


def level_config(rules: Iterable[Rule], environment: str) -> dict[str, Any]:
    """Levels and parameters of a pack: {"GH-S3-009": {"enforcementLevel": "mandatory", "days_max": 7}}.

    Raises KeyError for an unknown environment.
    """
    config: dict[str, Any] = {}
    for rule in rules:
        lists = {name: list(values) for name, values in rule.lists.items()}
        config[rule.id] = {"enforcementLevel": rule.levels[environment].value, **rule.defaults(environment), **lists}
    for policy in META_POLICIES:
        config[policy.id] = {"enforcementLevel": policy.levels[environment].value}
    return config


def remediation_config(rules: Iterable[Rule], environment: str) -> dict[str, Any]:
    """As `level_config`, with the level "remediate" for every rule that has a remediation.

    Raises ValueError outside dev, where the program itself must set the values.
    """
    if environment != "dev":
        raise ValueError(f"remediation is available in dev only, not in {environment}; set the values in the program")
    rules = tuple(rules)
    fixed = {rule.id for rule in rules if rule.remediation}
    config = level_config(rules, environment)
    return {id: {**values, "enforcementLevel": "remediate"} if id in fixed else values for id, values in config.items()}


def write(folder: Path, rules: Iterable[Rule]) -> list[Path]:
    """Writes `<folder>/<environment>.json` for all environments. Returns the files that changed."""
    rules = tuple(rules)
    changed = []
    folder.mkdir(parents=True, exist_ok=True)
    for environment in ENVIRONMENTS:
        file = folder / f"{environment}.json"
        text = json.dumps(level_config(rules, environment), indent=2, sort_keys=True) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed
