"""Subnets and routes."""

import pytest

from tests.components.program import run


@pytest.mark.parametrize(("stack", "nats"), [("dev", 1), ("staging", 1), ("prod", 3)])
def test_data_tier_has_no_internet_route(stack: str, nats: int) -> None:
    program = run(stack)
    assert len(program.of_type("ec2.NatGateway")) == nats
    assert not any(route.name.startswith("data") for route in program.of_type("ec2.Route"))
    assert {a.inputs["mapPublicIpOnLaunch"] for a in program.of_type("ec2.Subnet")} == {False}
