"""Which traffic the rules of a network ACL allow."""

from typing import Any

import pytest
from gatehouse_policies.analysis.network_reachability import acl_allows
from gatehouse_policies.analysis.properties import Properties

ANYWHERE, ANYWHERE_V6, COMPANY = "0.0.0.0/0", "::/0", "203.0.113.0/24"


def rule(number: int, action: str, cidr: str = ANYWHERE, **fields: Any) -> dict[str, Any]:
    block = "ipv6CidrBlock" if ":" in cidr else "cidrBlock"
    return {"ruleNo": number, "action": action, "protocol": "-1", block: cidr, **fields}


SSH: dict[str, Any] = {"protocol": "tcp", "fromPort": 22, "toPort": 22}


@pytest.mark.parametrize(
    ("rules", "cidr", "is_allowed"),
    [
        ([], ANYWHERE, False),
        ([rule(100, "allow")], ANYWHERE, True),
        ([rule(100, "allow")], ANYWHERE_V6, False),
        ([rule(100, "allow", ANYWHERE_V6)], ANYWHERE_V6, True),
        ([rule(100, "allow", COMPANY)], ANYWHERE, False),
        ([rule(100, "allow", "0.0.0.0/1")], ANYWHERE, True),
        ([rule(100, "deny", "0.0.0.0/1"), rule(200, "allow")], ANYWHERE, True),
        ([rule(200, "allow"), rule(100, "deny")], ANYWHERE, False),
        ([rule(100, "allow"), rule(200, "deny")], ANYWHERE, True),
        ([rule(100, "allow", **SSH)], ANYWHERE, True),
        ([rule(100, "allow", protocol="6", fromPort=0, toPort=21)], ANYWHERE, False),
        ([rule(100, "allow", protocol="udp", fromPort=22, toPort=22)], ANYWHERE, False),
        ([rule(100, "deny", protocol="udp"), rule(200, "allow", **SSH)], ANYWHERE, True),
    ],
)
def test_first_matching_rule_of_an_acl_applies(
    rules: list[dict[str, Any]], cidr: str, *, is_allowed: bool
) -> None:
    assert acl_allows([Properties(rule) for rule in rules], cidr, 22) is is_allowed
