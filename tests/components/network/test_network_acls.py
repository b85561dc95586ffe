"""Network ACLs."""

from components.network.network_acls import Rule, inbound_rules, outbound_rules
from components.settings.loader import parse
from components.settings.model import Settings
from tests.components.settings.stack_settings import raw_settings

CLOUDFRONT = {"services.console.hosting": "cloudfront"}


def settings_with(stack: str, core_networks: list[str], **changes: str) -> Settings:
    settings = {"network.core_networks": core_networks, **changes}
    return parse(raw_settings(stack, settings), stack)


def test_app_tier_accepts_cloudfront_only_if_it_hosts_the_console() -> None:
    for changes, expected in ((CLOUDFRONT, True), ({}, False)):
        settings = settings_with("prod", [], **changes)
        request = Rule("0.0.0.0/0", 443, 443) in inbound_rules("app", settings)
        response = Rule("0.0.0.0/0", 1024, 65535) in outbound_rules("app", settings)
        assert (request, response) == (expected, expected)


def test_acl_allows_core_networks_from_app_tier_only() -> None:
    settings = settings_with("dev", ["10.99.0.0/16"])
    tiers = {
        tier
        for tier in ("edge", "app", "data")
        for e in outbound_rules(tier, settings)
        if e.cidr == "10.99.0.0/16"
    }
    assert tiers == {"app"}


def test_acl_is_within_rule_quota() -> None:
    networks = [f"10.{number}.0.0/16" for number in range(100, 110)]
    settings = settings_with("prod", networks, **CLOUDFRONT)
    assert all(
        len(list(rules(tier, settings))) <= 20
        for tier in ("edge", "app", "data")
        for rules in (inbound_rules, outbound_rules)
    )
