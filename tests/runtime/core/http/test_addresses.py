"""Addresses of clients behind proxies."""

import ipaddress

from gatehouse.core.http.addresses import HOPS_MAX, ClientAddresses


def test_client_has_no_zone() -> None:
    client = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")]).client
    assert client("10.0.0.1", ['2001:db8::5%a";host="b']) == "2001:db8::5"


def test_last_entries_of_forwarded_addresses_are_read() -> None:
    client_of = ClientAddresses([ipaddress.ip_network("10.0.0.0/8")]).client
    for proxies, client in ((HOPS_MAX - 1, "192.0.2.7"), (HOPS_MAX, "10.0.0.2")):
        hops = ", ".join(["192.0.2.7", *["10.0.0.2"] * proxies])
        assert client_of("10.0.0.1", [f"10.0.0.3, , {hops}"]) == client
        assert client_of("10.0.0.1", hops.split(", ")) == client
