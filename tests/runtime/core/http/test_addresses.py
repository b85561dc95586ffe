"""Addresses of clients behind proxies."""

import ipaddress

import pytest
from gatehouse.core.http.addresses import HOPS_MAX, ClientAddresses

#: The subnets of a load balancer, and the networks of a CDN in front of it.
SUBNETS = ("10.20.0.0/27", "10.20.0.64/27", "2001:db8:1::/64")
OUTER = ("203.0.113.0/28", "2001:db8:2::/64")
FORGED = "192.0.2.66"


def addresses(trusted: tuple[str, ...], outer: tuple[str, ...] = ()) -> ClientAddresses:
    return ClientAddresses(*([*map(ipaddress.ip_network, each)] for each in (trusted, outer)))


def neighbours(network: str) -> tuple[list[str], list[str]]:
    """Addresses in a network, and next to it."""
    block = ipaddress.ip_network(network)
    first, last = block[0], block[-1]
    inside = [str(each) for each in (first, first + 1, block[5], last - 1, last)]
    return inside, [str(each) for each in (first - 2, first - 1, last + 1, last + 2)]


@pytest.mark.parametrize("network", SUBNETS)
def test_client_in_a_trusted_block_cannot_choose_its_address(network: str) -> None:
    client_of = addresses(SUBNETS, OUTER).client
    inside, outside = neighbours(network)
    for peer in inside:
        for client in (*inside, *outside):
            for forged in ([], [FORGED], [FORGED, *inside], inside, [OUTER[0][:-3]]):
                assert client_of(peer, [", ".join([*forged, client])]) == client
                assert client_of(peer, [*forged, client]) == client
    for peer in outside:  # not a proxy
        assert client_of(peer, [FORGED]) == peer


@pytest.mark.parametrize("network", OUTER)
def test_address_before_an_outer_proxy_is_the_client(network: str) -> None:
    inside, outside = neighbours(network)
    for proxy in inside:
        assert addresses(SUBNETS, OUTER).client("10.20.0.7", [FORGED, "10.20.0.9", proxy]) == (
            "10.20.0.9"
        )
        assert addresses(SUBNETS).client("10.20.0.7", [FORGED, proxy]) == proxy
    for client in outside:
        assert addresses(SUBNETS, OUTER).client("10.20.0.7", [FORGED, client]) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert addresses((), OUTER).client("203.0.113.1", [FORGED]) == "203.0.113.1"
    assert addresses(SUBNETS).client("10.20.0.7", []) == "10.20.0.7"


def test_client_has_no_zone() -> None:
    client = addresses(("10.0.0.0/8",)).client
    assert client("10.0.0.1", ['2001:db8::5%a";host="b']) == "2001:db8::5"


def test_last_entries_of_forwarded_addresses_are_read() -> None:
    client_of = addresses(("10.0.0.0/8",), ("10.0.0.0/8",)).client
    for proxies, client in ((HOPS_MAX - 1, "192.0.2.7"), (HOPS_MAX, "10.0.0.2")):
        hops = ", ".join(["192.0.2.7", *["10.0.0.2"] * proxies])
        assert client_of("10.0.0.1", [f"10.0.0.3, , {hops}"]) == client
        assert client_of("10.0.0.1", hops.split(", ")) == client
