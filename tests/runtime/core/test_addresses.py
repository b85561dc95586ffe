"""Addresses of clients behind proxies."""

import ipaddress

import pytest
from gatehouse.core.addresses import _CHARS_MAX, HOPS_MAX, ClientAddresses


@pytest.mark.bound("core.addresses:_CHARS_MAX")
def test_address_has_a_bounded_size() -> None:
    addresses = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")])
    address = addresses.client("10.0.0.1", ["::1%" + "a" * 60_000])
    assert address == "::1%" + "a" * (_CHARS_MAX - 4)


@pytest.mark.bound("core.addresses:HOPS_MAX")
def test_last_entries_of_forwarded_addresses_are_read() -> None:
    addresses = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")])
    for proxies, client in ((HOPS_MAX - 1, "192.0.2.7"), (HOPS_MAX, "10.0.0.2")):
        hops = ", ".join(["192.0.2.7", *["10.0.0.2"] * proxies])
        assert addresses.client("10.0.0.1", [f"10.0.0.3, , {hops}"]) == client
        assert addresses.client("10.0.0.1", hops.split(", ")) == client
