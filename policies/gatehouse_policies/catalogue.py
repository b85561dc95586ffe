"""Lists all rules and packs, finds rules by ID or pack, and their levels."""

from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from gatehouse_policies import rules
from gatehouse_policies.engine.meta_policies import META_POLICIES
from gatehouse_policies.engine.rule import Control, Level, Rule

PACKS = {"security": "gatehouse-security", "resilience": "gatehouse-resilience"}
"""Name of each pack, keyed by folder."""
PACKS_FOLDER = Path(__file__).with_name("packs")

RULES: tuple[Rule, ...] = tuple(
    sorted(
        (
            value
            for module in walk_packages(rules.__path__, f"{rules.__name__}.")
            for value in vars(import_module(module.name)).values()
            if isinstance(value, Rule)
        ),
        key=lambda rule: rule.id,
    )
)
"""The rules of all modules in `rules`, sorted by ID. A new module needs no registration."""

_BY_ID: dict[str, Control] = {policy.id: policy for policy in (*META_POLICIES, *RULES)}


def rule(id: str) -> Rule:
    policy = _BY_ID[id]
    if not isinstance(policy, Rule):
        raise KeyError(id)
    return policy


def find(id: str) -> Control | None:
    return _BY_ID.get(id)


def of_pack(pack: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.pack == pack)


def enabled(environment: str) -> tuple[Rule, ...]:
    return tuple(rule for rule in RULES if rule.level(environment) is not Level.DISABLED)


def level_config(pack: str, environment: str) -> dict[str, Any]:
    """The levels and parameters of a pack, such as {"GH-S3-009": {"enforcementLevel": "mandatory",
    "days_max": 7}}.

    The result has the format of `--policy-pack-config`. Raises KeyError for an unknown environment.
    """
    config: dict[str, Any] = {}
    for rule in of_pack(pack):
        lists = {name: list(values) for name, values in rule.lists.items()}
        config[rule.id] = {
            "enforcementLevel": rule.level(environment).value,
            **rule.defaults(environment),
            **lists,
        }
    return config | {
        policy.id: {"enforcementLevel": policy.level(environment).value} for policy in META_POLICIES
    }
