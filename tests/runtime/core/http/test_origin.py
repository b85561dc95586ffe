"""URLs and addresses of Cores that are allowed."""

import ipaddress

import pytest
from gatehouse.core.http.origin import parse_base_url, rejection
from hypothesis import given
from hypothesis import strategies as st

#: URLs that a Core cannot have.
REJECTED_URLS = (
    "ftp://core.example.com",
    "file:///etc/passwd",
    "core.example.com",
    "https://user:pass@core.example.com",
    "https://core.example.com@evil.example",
    "https://core.example.com//",
    "https://core.example.com/app//v2",
    "https://core.example.com/app/../v2",
    "https://core.example.com/.",
    "https://core.example.com/app/..",
    "https://core.example.com/app%2Fv2",
    "https://core.example.com/%2e%2e",
    "https://core.example.com/a;b",
    "https://core.example.com/a b",
    "https://core.example.com/app?x",
    "https://core.example.com?x",
    "https://core.example.com#x",
    "https://core.example.com:0",
    "https://core.example.com:",
    "https://core.example.com:99999",
    "http://2130706433/",
    "http://0x7f000001",
    "http://[2001:db8::1%25eth0]",
    "http://127.1",
    "http://0177.0.0.1",
    "http://core_1.example.com",
    "http://",
    "http://ex\\ample.com",
    "http://exämple.com",
    "http://a" + ".b" * 200,
)
#: IP addresses that are not public. A Core or webhook with such an address is rejected outside of
#: the configured networks.
PRIVATE_ADDRESSES = (
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
    "192.0.0.192",
    "192.88.99.1",
    "fec0::1",
    "2001:10::1",
    "3fff::1",
    "5f00::1",
    "64:ff9b:1::a00:1",
    "::ffff:192.0.0.192",
)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://core.example.com", "https://core.example.com"),
        ("https://Core.Example.com:443/", "https://core.example.com"),
        ("http://core.example.com:80", "http://core.example.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://[2001:db8::1]:9000", "http://[2001:db8::1]:9000"),
        ("https://a1b2.ngrok-free.app", "https://a1b2.ngrok-free.app"),
        ("https://API.internal:443/app/v2/", "https://api.internal/app/v2"),
        ("http://core.example.com/App/.hidden/...", "http://core.example.com/App/.hidden/..."),
    ],
)
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
