"""Header fields that the gateway forwards to Cores and returns to clients. Pure functions of (name, value) pairs in bytes.

Sources: RFC 9110, section 7.6.1 (Connection and the fields that it lists) and RFC 9112, section 6.1 (a message with both
Transfer-Encoding and Content-Length "ought to be handled as an error"). Duplicate Content-Length or Host fields are rejected
too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

#: Fields that are removed from requests: credentials, client information that only the gateway may set, and message framing.
_NOT_FORWARDED = HOP_BY_HOP | {
    b"authorization",
    b"x-api-key",
    b"host",
    b"content-length",
    b"expect",
    b"forwarded",
    b"via",
    b"x-real-ip",
    b"x-client-ip",
    b"x-cluster-client-ip",
    b"true-client-ip",
    b"cf-connecting-ip",
    b"fastly-client-ip",
    b"x-original-url",
    b"x-original-host",
    b"x-rewrite-url",
    b"x-host",
    b"x-request-id",
    b"x-http-method-override",
    b"x-http-method",
    b"x-method-override",
    b"client-ip",
    b"forwarded-for",
    b"x-forwarded",
    b"x-remote-addr",
    b"x-remote-ip",
    b"x-originating-ip",
    b"x-envoy-external-address",
    b"x-azure-clientip",
    b"x-appengine-user-ip",
    b"x-remote-user",
    b"remote-user",
}

#: Fields of a response that apply to the whole host of the gateway, so that one Core may not set them for all.
_NOT_RETURNED = frozenset({b"strict-transport-security", b"alt-svc", b"clear-site-data", b"x-request-id"})


_NOT_FORWARDED_PREFIXES = (b"gatehouse-", b"x-forwarded-")

#: Fields that may occur only once. With duplicates, two servers can interpret the request differently (request smuggling).
_ONCE = (b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding")


def ambiguity(fields: Iterable[Field]) -> str:
    """Reason why header fields are ambiguous or invalid, as a sentence without field values; empty if they are valid."""
    names: set[bytes] = set()
    for name, value in fields:
        if name in names and name in _ONCE:
            return f"the header {name.decode('ascii')} is sent twice"
        names.add(name)
        if not value.isascii() or any(byte < 0x20 and byte != 0x09 for byte in value):
            return f"the header {name.decode('latin-1')[:40]} contains a byte that is not visible ASCII"
    if b"transfer-encoding" in names and b"content-length" in names:
        return "Transfer-Encoding and Content-Length are sent together"
    return ""


def forwarded(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """Fields of a client request that are forwarded to the Core, in the same order and with duplicates.

    Underscores in names are treated as hyphens, because CGI and WSGI servers do not distinguish them: an application would
    read Gatehouse_Key_Id as Gatehouse-Key-Id.
    """
    listed = _named_by_connection(fields)
    result: list[tuple[str, str]] = []
    for name, value in fields:
        normalized = name.replace(b"_", b"-") if b"_" in name else name
        if normalized in _NOT_FORWARDED or normalized in listed or normalized.startswith(_NOT_FORWARDED_PREFIXES):
            continue
        result.append((name.decode("ascii"), value.decode("ascii")))
    return result


def returned(fields: Sequence[tuple[str, str]], replaced: Iterable[bytes] = ()) -> list[Field]:
    """Fields of a Core response without hop-by-hop fields, fields that apply to the whole host, and those that the gateway sets
    itself (`replaced`, lower case)."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    dropped = _named_by_connection(encoded) | HOP_BY_HOP | _NOT_RETURNED | set(replaced)
    return [field for field in encoded if field[0] not in dropped and not _is_cookie_of_domain(*field)]


def _is_cookie_of_domain(name: bytes, value: bytes) -> bool:
    """True for a cookie with a Domain attribute, which other hosts of the domain would receive (RFC 6265, section 4.1.2.3)."""
    return name == b"set-cookie" and any(part.strip().lower().startswith(b"domain") for part in value.split(b";")[1:])


def _named_by_connection(fields: Iterable[Field]) -> set[bytes]:
    return {
        part.strip().lower().replace(b"_", b"-")
        for name, value in fields
        if name in (b"connection", b"proxy-connection")
        for part in value.split(b",")
    } - {b"close", b"keep-alive", b""}
