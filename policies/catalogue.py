"""All rules and packs, with look-ups by id and pack."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import policies.rules
from policies.engine import levels
from policies.engine.meta_policies import META_POLICIES, MetaPolicy
from policies.engine.rule import Level, Rule

PACKS = {"security": "gatehouse-security", "resilience": "gatehouse-resilience"}
"""Name of each pack by its folder."""

_MODULES: list[ModuleType] = [import_module(f"policies.rules.{module.name}") for module in iter_modules(policies.rules.__path__)]
RULES: tuple[Rule, ...] = tuple(
    sorted((value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule)), key=lambda rule: rule.id)
)
"""The rules of all modules in `policies/rules`, sorted by id. A new module needs no registration."""

_POLICIES: tuple[Rule | MetaPolicy, ...] = (*META_POLICIES, *RULES)
_BY_ID = {policy.id: policy for policy in _POLICIES}


def rule(id: str) -> Rule:
    """The rule with this id. Raises KeyError for an unknown id."""
    policy = _BY_ID[id]
    if not isinstance(policy, Rule):
        raise KeyError(id)
    return policy


def find(id: str) -> Rule | MetaPolicy | None:
    """The rule or meta policy with this id, or None."""
    return _BY_ID.get(id)


def of_pack(pack: str) -> tuple[Rule, ...]:
    """The rules of "security" or "resilience", sorted by id."""
    return tuple(rule for rule in RULES if rule.pack == pack)


def enabled(environment: str) -> tuple[Rule, ...]:
    """The rules that are enabled in an environment."""
    return tuple(rule for rule in RULES if rule.levels[environment] is not Level.DISABLED)


def write_levels() -> list[Path]:
    """Writes `policies/<pack>/levels/<environment>.json`. Returns the files that changed."""
    folder = Path(__file__).parent
    return [file for pack in PACKS for file in levels.write(folder / pack / "levels", of_pack(pack))]


def level_config(pack: str, environment: str) -> dict[str, Any]:
    """Levels and parameters of a pack for `--policy-pack-config`. Raises KeyError for an unknown environment."""
    return levels.level_config(of_pack(pack), environment)
