"""Where a Core may be: origins alone, and no address from which the gateway's own network could be reached."""

from __future__ import annotations

import ipaddress

import pytest
from gatehouse.cores.origins import Origin, parse_origin, rejection
from hypothesis import given
from hypothesis import strategies as st

NOT_PUBLIC = "resolves to an address that is not public; an operator can allow a private network with GATEHOUSE_CORE_NETWORKS"


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://core.example.com", "https://core.example.com"),
        ("https://Core.Example.com:443/", "https://core.example.com"),
        ("http://core.example.com:80", "http://core.example.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[2001:db8::1]:9000", "http://[2001:db8::1]:9000"),
        ("https://a1b2.ngrok-free.app", "https://a1b2.ngrok-free.app"),
    ],
)
def test_an_origin_is_read_and_normalised(url: str, normal: str) -> None:
    origin = parse_origin(url)
    assert isinstance(origin, Origin)
    assert origin.url == normal


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://core.example.com", "must begin with https:// or http://"),
        ("file:///etc/passwd", "must begin with https:// or http://"),
        ("core.example.com", "must begin with https:// or http://"),
        ("https://user:pass@core.example.com", "must not hold a user name or password"),
        ("https://core.example.com@evil.example", "must not hold a user name or password"),
        (
            "https://core.example.com/path",
            "must be an origin alone: scheme, host and port, without path, query or fragment",
        ),
        (
            "https://core.example.com?x",
            "must be an origin alone: scheme, host and port, without path, query or fragment",
        ),
        (
            "https://core.example.com#x",
            "must be an origin alone: scheme, host and port, without path, query or fragment",
        ),
        ("https://core.example.com:0", "has an empty or zero port"),
        ("https://core.example.com:", "has an empty or zero port"),
        ("https://core.example.com:99999", "is not a URL"),
        ("http://2130706433/", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://0x7f000001", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://127.1", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://0177.0.0.1", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://core_1.example.com", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://", "has a host that is neither a DNS name nor an address in standard form"),
        ("http://ex\\ample.com", "must be at most 300 visible ASCII characters without a backslash"),
        ("http://exämple.com", "must be at most 300 visible ASCII characters without a backslash"),
        ("http://a" + ".b" * 200, "must be at most 300 visible ASCII characters without a backslash"),
    ],
)
def test_anything_but_an_origin_is_refused_with_its_reason(url: str, sentence: str) -> None:
    assert parse_origin(url) == sentence


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_allowed(address: str) -> None:
    assert rejection([ipaddress.ip_address(address)], ()) == ""


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.5",
        "172.16.3.4",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",  # instance metadata
        "169.254.170.2",  # task credentials of ECS
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",  # instance metadata over IPv6
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert rejection([ipaddress.ip_address(address)], ()) == NOT_PUBLIC


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    addresses = [ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("10.0.0.1")]
    assert rejection(addresses, ()) == NOT_PUBLIC


def test_a_name_without_an_address_is_refused() -> None:
    assert rejection([], ()) == "has a host name that does not resolve"


def test_a_network_that_the_operator_named_is_allowed_and_its_neighbour_is_not() -> None:
    networks = (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("127.0.0.0/8"))
    assert rejection([ipaddress.ip_address("10.1.2.3"), ipaddress.ip_address("127.0.0.1")], networks) == ""
    assert rejection([ipaddress.ip_address("10.2.0.1")], networks) == NOT_PUBLIC


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1"])
def test_no_network_allows_the_unspecified_address_or_multicast(address: str) -> None:
    assert rejection([ipaddress.ip_address(address)], (ipaddress.ip_network("0.0.0.0/0"),)) == NOT_PUBLIC


@given(st.ip_addresses(v=4))
def test_an_address_is_judged_alike_in_its_mapped_form(address: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(f"::ffff:{address}")
    assert rejection([address], ()) == rejection([mapped], ())
