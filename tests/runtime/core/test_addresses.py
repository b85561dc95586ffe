"""Addresses of clients behind proxies."""

import ipaddress
from unittest.mock import patch

import pytest
from gatehouse.core import addresses
from gatehouse.core.addresses import _CHARS_MAX, HOPS_MAX, ClientAddresses, parse_address


@pytest.mark.bound("core.addresses:_CHARS_MAX")
def test_text_of_an_address_has_a_bounded_size() -> None:
    client = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")]).client
    with patch.object(addresses, "parse_address", side_effect=parse_address) as parse:
        assert client("10.0.0.1", ["a" * 60_000]) == "10.0.0.1"
    assert [len(each.args[0]) for each in parse.mock_calls] == [8, _CHARS_MAX]


def test_client_has_no_zone() -> None:
    client = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")]).client
    assert client("10.0.0.1", ['2001:db8::5%a";host="b']) == "2001:db8::5"


@pytest.mark.bound("core.addresses:HOPS_MAX")
def test_last_entries_of_forwarded_addresses_are_read() -> None:
    client_of = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")]).client
    for proxies, client in ((HOPS_MAX - 1, "192.0.2.7"), (HOPS_MAX, "10.0.0.2")):
        hops = ", ".join(["192.0.2.7", *["10.0.0.2"] * proxies])
        assert client_of("10.0.0.1", [f"10.0.0.3, , {hops}"]) == client
        assert client_of("10.0.0.1", hops.split(", ")) == client
