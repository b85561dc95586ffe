"""Lists all rules and packs, finds rules by ID or pack, and writes the level files for `--policy-pack-config`."""

import json
from importlib import import_module
from itertools import product
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import policies.rules
from policies.engine.meta_policies import META_POLICIES
from policies.engine.rule import ENVIRONMENTS, Control, Level, Rule

PACKS = {"security": "gatehouse-security", "resilience": "gatehouse-resilience"}
"""Name of each pack, keyed by folder."""

_MODULES: list[ModuleType] = [import_module(f"policies.rules.{module.name}") for module in iter_modules(policies.rules.__path__)]
RULES: tuple[Rule, ...] = tuple(
    sorted((value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule)), key=lambda rule: rule.id)
)
"""The rules of all modules in `policies/rules`, sorted by ID. A new module needs no registration."""

_POLICIES: tuple[Control, ...] = (*META_POLICIES, *RULES)
_BY_ID = {policy.id: policy for policy in _POLICIES}


def rule(id: str) -> Rule:
    """The rule with this ID. Raises KeyError for an unknown ID."""
    policy = _BY_ID[id]
    if not isinstance(policy, Rule):
        raise KeyError(id)
    return policy


def find(id: str) -> Control | None:
    """The rule or meta policy with this ID, or None."""
    return _BY_ID.get(id)


def of_pack(pack: str) -> tuple[Rule, ...]:
    """The rules of "security" or "resilience", sorted by ID."""
    return tuple(rule for rule in RULES if rule.pack == pack)


def enabled(environment: str) -> tuple[Rule, ...]:
    """The rules that are enabled in an environment."""
    return tuple(rule for rule in RULES if rule.levels[environment] is not Level.DISABLED)


def level_config(pack: str, environment: str) -> dict[str, Any]:
    """The levels and parameters of a pack, such as {"GH-S3-009": {"enforcementLevel": "mandatory", "days_max": 7}}.

    The result has the format of `--policy-pack-config`. Raises KeyError for an unknown environment.
    """
    config: dict[str, Any] = {}
    for rule in of_pack(pack):
        lists = {name: list(values) for name, values in rule.lists.items()}
        config[rule.id] = {"enforcementLevel": rule.levels[environment].value, **rule.defaults(environment), **lists}
    return config | {policy.id: {"enforcementLevel": policy.levels[environment].value} for policy in META_POLICIES}


def remediation_config(pack: str, environment: str) -> dict[str, Any]:
    """As `level_config`, with the level "remediate" for every rule that has a remediation.

    Raises ValueError outside dev, where the program itself must set the values.
    """
    if environment != "dev":
        raise ValueError(f"remediation is available in dev only, not in {environment}; set the values in the program")
    fixed = {rule.id: {"enforcementLevel": "remediate"} for rule in of_pack(pack) if rule.remediation}
    return {id: values | fixed.get(id, {}) for id, values in level_config(pack, environment).items()}


def write_levels(folder: Path = Path(__file__).parent) -> list[Path]:
    """Writes `<folder>/<pack>/levels/<environment>.json`. Returns the files that changed."""
    changed = []
    for pack, environment in product(PACKS, ENVIRONMENTS):
        file = folder / pack / "levels" / f"{environment}.json"
        text = json.dumps(level_config(pack, environment), indent=2, sort_keys=True) + "\n"
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            changed.append(file)
    return changed
