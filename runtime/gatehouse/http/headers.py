"""Which header fields cross the gateway, in either direction; pure functions over (name, value) pairs in bytes.

Sources: RFC 9110, 7.6.1 (Connection and what it names) and RFC 9112, 6.1 (a message with both Transfer-Encoding and
Content-Length "ought to be handled as an error"; two of one length or two hosts are the same kind of attack)."""

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


#: Removed from requests: the key, what only the gateway may say about a client, and what frames the message.
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
}


_NOT_FORWARDED_PREFIXES = (b"gatehouse-", b"x-forwarded-")


#: Fields that may be sent once at most; a second one makes two servers read two requests.
_ONCE = (b"host", b"authorization", b"x-api-key", b"content-length", b"transfer-encoding")


def ambiguity(fields: Iterable[Field]) -> str:
    """What makes a request's fields readable in two ways, as a sentence that repeats no value; empty when nothing does."""
    seen: set[bytes] = set()
    for name, value in fields:
        if name in seen and name in _ONCE:
            return f"the header {name.decode('ascii')} is sent twice"
        seen.add(name)
        if not value.isascii() or any(byte < 0x20 and byte != 0x09 for byte in value):
            return f"the header {name.decode('latin-1')[:40]} holds a byte that is no visible ASCII"
    if b"transfer-encoding" in seen and b"content-length" in seen:
        return "Transfer-Encoding and Content-Length are sent together"
    return ""


def forwarded(fields: Sequence[Field]) -> list[tuple[str, str]]:
    """A client's fields without those that end at the gateway. Order and repeats are kept.

    A name with underscores is read as if it had hyphens, because CGI and WSGI servers do (Gatehouse_Key_Id would reach the
    Core's program as Gatehouse-Key-Id).
    """
    named = _named_by_connection(fields)
    kept: list[tuple[str, str]] = []
    for name, value in fields:
        plain = name.replace(b"_", b"-") if b"_" in name else name
        if plain in _NOT_FORWARDED or plain in named or plain.startswith(_NOT_FORWARDED_PREFIXES):
            continue
        kept.append((name.decode("ascii"), value.decode("ascii")))
    return kept


def returned(fields: Sequence[tuple[str, str]], replaced: Iterable[bytes] = ()) -> list[Field]:
    """A Core's fields without hop-by-hop ones and without those that the gateway answers itself (`replaced`, lower case)."""
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    dropped = _named_by_connection(encoded) | HOP_BY_HOP | set(replaced)
    return [field for field in encoded if field[0] not in dropped]


def _named_by_connection(fields: Iterable[Field]) -> set[bytes]:
    return {
        part.strip().lower().replace(b"_", b"-")
        for name, value in fields
        if name in (b"connection", b"proxy-connection")
        for part in value.split(b",")
    } - {b"close", b"keep-alive", b""}
