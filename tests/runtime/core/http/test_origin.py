"""URLs and addresses of Cores that are allowed."""

import ipaddress
from typing import Any

import pytest
from gatehouse.core.http.origin import parse_base_url, rejection
from hypothesis import given
from hypothesis import strategies as st

from tests.cases import cases

_CASES = cases(__file__)

#: URLs that a Core cannot have.
REJECTED_URLS: list[Any] = _CASES["rejected_urls"]
#: IP addresses that are not public. A Core or webhook with such an address is rejected outside of
#: the configured networks.
PRIVATE_ADDRESSES: list[Any] = _CASES["private_addresses"]


@pytest.mark.parametrize(("url", "normal"), _CASES["url_is_parsed_and_normalised"])
def test_url_is_parsed_and_normalised(url: str, normal: str) -> None:
    assert parse_base_url(url).url == normal


@pytest.mark.parametrize("url", REJECTED_URLS)
def test_other_url_is_rejected(url: str) -> None:
    with pytest.raises(ValueError, match=r"^(must|is|has) "):
        parse_base_url(url)


NETWORKS = ("10.1.0.0/16", "127.0.0.0/8")


@pytest.mark.parametrize(
    ("addresses", "networks", "is_allowed"),
    [
        *(([address], (), True) for address in ("8.8.8.8", "2606:4700:4700::1111")),
        (["::ffff:8.8.8.8"], (), True),
        *(([address], (), False) for address in PRIVATE_ADDRESSES),
        (["8.8.8.8", "10.0.0.1"], (), False),
        ([], (), False),
        (["10.1.2.3", "127.0.0.1"], NETWORKS, True),
        (["10.2.0.1"], NETWORKS, False),
        (["2001:0:7f00:1::f5ff:fffe"], NETWORKS, False),  # Teredo
        *(([address], ("0.0.0.0/0",), False) for address in ("0.0.0.0", "224.0.0.1")),
    ],
)
def test_only_public_addresses_and_configured_networks_are_allowed(
    addresses: list[str], networks: tuple[str, ...], is_allowed: bool
) -> None:
    text = rejection(
        [*map(ipaddress.ip_address, addresses)], [*map(ipaddress.ip_network, networks)]
    )
    assert (text == "") is is_allowed


@given(st.ip_addresses(v=4))
def test_mapped_address_is_treated_like_ipv4(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert rejection([address], ()) == rejection([mapped], ())
