"""Addresses of clients behind proxies."""

import ipaddress

import pytest
from gatehouse.core.addresses import _CHARS_MAX, ClientAddresses


@pytest.mark.bound("core.addresses:_CHARS_MAX")
def test_address_has_a_bounded_size() -> None:
    addresses = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")])
    address = addresses.client("10.0.0.1", ["::1%" + "a" * 60_000])
    assert address == "::1%" + "a" * (_CHARS_MAX - 4)
