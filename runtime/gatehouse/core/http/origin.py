"""Checks the URLs to which the gateway sends requests.

The gateway sends requests to registered URLs from its own network position, so a URL is a vector
for server-side request forgery (CWE-918) unless every address behind it is public or in a network
that the operator allows. An IPv6 address that embeds an IPv4 address (IPv4-mapped, 6to4, NAT64,
Teredo) is checked as both. This module does not resolve host names.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlsplit

from gatehouse.core.http.addresses import Address, Network
from gatehouse.core.notation import is_visible_ascii

_HOST_NAME = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


#: Networks that are not public, although some versions of Python report them as global. Source:
#: IANA special-purpose address registries; RFC 3879 (site-local addresses). Some clouds serve
#: instance metadata at 192.0.0.192.
_NOT_PUBLIC_NETWORKS = (
    "192.0.0.0/24 192.88.99.0/24 64:ff9b:1::/48 100:0:0:1::/64 2001::/23 "
    "3fff::/20 5f00::/16 fec0::/10"
)
_NOT_PUBLIC = tuple(ipaddress.ip_network(network) for network in _NOT_PUBLIC_NETWORKS.split())
_PORTS = {"http": 80, "https": 443}
#: Characters that have the same meaning for every server.
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~@:+=,-]+)*/?")
URL_CHARS_MAX = 300
_BAD_PATH = (
    "has a path with an empty segment, a dot segment, or a character other than letters, digits "
    "and -._~@:+=,"
)
_BAD_HOST = "has a host that is neither a DNS name nor an address in standard form"


@dataclass(frozen=True)
class BaseUrl:
    """Normalized URL to whose path the paths of requests are appended: scheme and host are in
    lowercase, and the default port is omitted.
    """

    scheme: str
    host: str  # DNS name or address; an IPv6 address without brackets
    port: int
    path: str = ""  # without a slash at the end

    @cached_property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host + ("" if _PORTS[self.scheme] == self.port else f":{self.port}")

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def address(self) -> Address | None:
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse_base_url(url: str) -> BaseUrl:
    """Parses the URL of a Core. Raises ValueError with the rest of a sentence, such as `is not a
    URL`, if the URL is not allowed.
    """
    if len(url) > URL_CHARS_MAX or not is_visible_ascii(url) or "\\" in url:
        raise ValueError(
            f"must be at most {URL_CHARS_MAX} visible ASCII characters without a backslash"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    problems = {
        "must begin with https:// or http://": parts.scheme not in _PORTS,
        "must not contain a user name or password": "@" in parts.netloc,
        "must not contain a query or fragment": "?" in url or "#" in url,
        _BAD_PATH: _PATH.fullmatch(parts.path) is None,
        "has an empty or zero port": parts.netloc.endswith(":") or port == 0,
    }
    for problem, is_found in problems.items():
        if is_found:
            raise ValueError(problem)
    host = _checked_host((parts.hostname or "").removesuffix("."), in_brackets="[" in parts.netloc)
    return BaseUrl(parts.scheme, host, port or _PORTS[parts.scheme], parts.path.removesuffix("/"))


def _checked_host(host: str, *, in_brackets: bool) -> str:
    # URL parsers accept 2130706433, 0x7f.1 and 127.1 as addresses. Only the dotted-decimal form is
    # allowed for Cores.
    if in_brackets or re.fullmatch(r"0x[0-9a-f]*|[0-9]+", host.rpartition(".")[2]):
        try:
            return str(ipaddress.ip_address(host.replace("%", " ")))  # without a zone ID
        except ValueError:
            raise ValueError(_BAD_HOST) from None
    if not _HOST_NAME.fullmatch(host):
        raise ValueError(_BAD_HOST)
    return host


def rejection(addresses: Iterable[Address], networks: Sequence[Network]) -> str:
    """Error message if a Core may not have these addresses, or an empty string if all are allowed.
    The message contains no address."""
    candidates = tuple(addresses)
    if not candidates:
        return "has a host name that does not resolve"
    if all(_allowed(address, networks) for address in candidates):
        return ""
    return (
        "resolves to an address that is not public; an operator can allow a private network "
        "with GATEHOUSE_CORE_NETWORKS"
    )


def _allowed(address: Address, networks: Sequence[Network]) -> bool:
    embedded = tuple(_embedded(address))
    # An allowed network may contain loopback or private addresses, but never these.
    if any(each.is_unspecified or each.is_multicast for each in (address, *embedded)):
        return False
    if any(address in network for network in networks if network.version == address.version):
        return True
    if embedded:
        return all(_allowed(each, networks) for each in embedded)
    return _public(address)


def _public(address: Address) -> bool:
    if any(address in network for network in _NOT_PUBLIC if network.version == address.version):
        return False
    return address.is_global and not (
        address.is_reserved or address.is_loopback or address.is_link_local
    )


def _embedded(address: Address) -> Iterable[Address]:
    """IPv4 addresses embedded in an IPv6 address, to which traffic may be routed."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
