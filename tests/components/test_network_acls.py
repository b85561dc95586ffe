"""Network ACLs."""

from components.network.network_acls import inbound_rules, outbound_rules
from components.settings.loader import parse
from components.settings.network import NetworkSettings
from tests.components.settings.stack_settings import raw_settings


def network(stack: str, core_networks: list[str]) -> NetworkSettings:
    return parse(raw_settings(stack, {"network.core_networks": core_networks}), stack).network


def test_acl_allows_core_networks_from_app_tier_only() -> None:
    settings = network("dev", ["10.99.0.0/16"])
    tiers = {
        tier
        for tier in ("edge", "app", "data")
        for e in outbound_rules(tier, settings)
        if e.cidr == "10.99.0.0/16"
    }
    assert tiers == {"app"}


def test_acl_is_within_rule_quota() -> None:
    settings = network("prod", [f"10.{number}.0.0/16" for number in range(100, 110)])
    assert all(
        len(list(rules(tier, settings))) <= 20
        for tier in ("edge", "app", "data")
        for rules in (inbound_rules, outbound_rules)
    )
