"""Names of the header fields that the gateway forwards between clients and Cores, as one allow-list
per direction. Pure.

A field is forwarded if its name is listed, or if the name is a custom name without a reserved word.
Custom names are names that no standard defines. A custom name is not forwarded if one of its words
has a meaning to proxies, gateways or web servers behind
proxies: a word for the address, identity, method or target of a request, for TLS or routing, or the
    name of a proxy product.

Sources: the IANA HTTP Field Name Registry; RFC 9110, section 7.6.1 (hop-by-hop fields); RFC 9110,
section 16.3.1 (names of fields); the Fetch, HTML and Service Workers standards (fields that apply
to a whole origin).
"""

from __future__ import annotations

import re
from functools import lru_cache

#: Hop-by-hop fields, and the fields that describe the connection.
HOP_BY_HOP = frozenset(
    (
        b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
        b"transfer-encoding upgrade"
    ).split()
)

#: Request fields that Cores receive unchanged.
REQUEST_FIELDS = frozenset(
    b"a-im accept accept-charset accept-datetime accept-encoding accept-language accept-signature"
    b" access-control-request-headers access-control-request-method "
    b"access-control-request-private-network baggage"
    b" cache-control content-digest content-disposition content-encoding content-language "
    b"content-location content-md5"
    b" content-range content-type cookie date depth destination digest dnt downlink dpop dpr "
    b"ect from idempotency-key if"
    b" if-match if-modified-since if-none-match if-range if-schedule-tag-match "
    b"if-unmodified-since label last-event-id link"
    b" lock-token ordering-type origin overwrite ping-from ping-to position pragma prefer "
    b"priority range referer repr-digest"
    b" rtt save-data sec-fetch-dest sec-fetch-mode sec-fetch-site sec-fetch-user sec-gpc "
    b"sec-purpose service-worker signature"
    b" signature-input slug soapaction timeout traceparent tracestate uber-trace-id "
    b"upgrade-insecure-requests user-agent"
    b" viewport-width want-content-digest want-digest want-repr-digest width x-amzn-trace-id "
    b"x-auth-token x-user-agent".split()
)
#: Beginnings of the names of further request fields that Cores receive unchanged.
REQUEST_PREFIXES = (b"sec-ch-",)

#: Response fields that clients receive unchanged.
RESPONSE_FIELDS = frozenset(
    b"accept-patch accept-post accept-query accept-ranges accept-signature "
    b"access-control-allow-credentials"
    b" access-control-allow-headers access-control-allow-methods access-control-allow-origin"
    b" access-control-allow-private-network access-control-expose-headers "
    b"access-control-max-age age allow"
    b" authentication-info baggage cache-control content-digest content-disposition "
    b"content-encoding content-language"
    b" content-length content-location content-md5 content-range content-security-policy "
    b"content-security-policy-report-only"
    b" content-type cross-origin-embedder-policy cross-origin-embedder-policy-report-only "
    b"cross-origin-opener-policy"
    b" cross-origin-opener-policy-report-only cross-origin-resource-policy dasl date dav "
    b"delta-base deprecation digest"
    b" document-policy etag expires im last-modified link location lock-token memento-datetime "
    b"no-vary-search"
    b" permissions-policy pragma preference-applied priority ratelimit ratelimit-limit "
    b"ratelimit-policy ratelimit-remaining"
    b" ratelimit-reset referrer-policy refresh reporting-endpoints repr-digest retry-after "
    b"schedule-tag sec-websocket-version"
    b" server server-timing set-cookie signature signature-input sourcemap sunset "
    b"timing-allow-origin traceparent"
    b" traceresponse tracestate vary want-content-digest want-digest want-repr-digest warning "
    b"www-authenticate"
    b" x-amzn-trace-id x-content-type-options x-frame-options x-robots-tag x-ua-compatible"
    b" x-xss-protection".split()
)
#: Beginnings of the names of further response fields that clients receive unchanged: CloudEvents,
#: gRPC, htmx, tus and Standard Webhooks.
RESPONSE_PREFIXES = (b"ce-", b"grpc-", b"hx-", b"tus-", b"upload-", b"webhook-")

#: Fields of a 101 response, in addition to `RESPONSE_FIELDS`, that accept a WebSocket handshake.
HANDSHAKE_FIELDS = frozenset({b"sec-websocket-accept", b"sec-websocket-protocol"})

#: Words that no custom name in either direction may contain.
_PROXY_WORDS = frozenset(
    b"accel apigateway backend balancer cdn edge envoy forward forwarded forwards gatehouse "
    b"haproxy hop hops http2 ingress"
    b" internal istio kong l5d lighttpd litespeed loop nginx proxies proxy reproxy rewrite "
    b"router routing sendfile surrogate"
    b" traefik transfer upstream varnish vercel via websocket".split()
)
#: Words that no custom request name may contain.
REQUEST_WORDS = _PROXY_WORDS | frozenset(
    b"addr address akamai amz amzn anonymous appengine arr assertion auth authenticated "
    b"authentication authority"
    b" authorization azure cert certificate cf claim claims clientcert clientip consumer "
    b"credential credentials dn email"
    b" fastly fingerprint forwardedfor forwardedhost forwardedport forwardedproto group groups "
    b"host hostname https iap"
    b" identity impersonate invoke ip ipaddress ips jwt method middleware oidc origin original "
    b"originating overridden"
    b" override path peer peerip permissions pomerium port principal proto protocol realip "
    b"remote remoteip role roles saml"
    b" scheme scope scopes script socketip spiffe ssl sso subject target tls trusted uri url "
    b"user userid userinfo userip"
    b" username verb verified webauth".split()
)
#: Words that no custom response name may contain.
RESPONSE_WORDS = _PROXY_WORDS | frozenset({b"cookie", b"domain"})

#: Names that match the pattern for custom names, but describe the connection or are set by the
#: gateway.
_NOT_CUSTOM = HOP_BY_HOP | {
    b"alt-used",
    b"content-length",
    b"early-data",
    b"x-api-key",
    b"x-request-id",
}

NAME_CHARS_MAX = 64

#: Custom names must contain a hyphen, because a name without a hyphen could be a standard field.
#: Underscores are not allowed: CGI and WSGI servers convert hyphens to underscores, so an
#: application would read Gatehouse_Key_Id as Gatehouse-Key-Id.
_CUSTOM_REQUEST_NAME = re.compile(rb"(?!sec-|access-control-)[a-z0-9]+(?:-[a-z0-9]+)+")
#: New standard fields have no X- prefix, and browsers can apply them to the whole origin.
_CUSTOM_RESPONSE_NAME = re.compile(rb"x(?:-[a-z0-9]+)+")


def is_forwarded(name: bytes) -> bool:
    """True if a Core may receive a request field with this name, in lowercase."""
    return len(name) <= NAME_CHARS_MAX and _is_forwarded(name)


def is_returned(name: bytes) -> bool:
    """True if a client may receive a response field with this name, in lowercase."""
    return len(name) <= NAME_CHARS_MAX and _is_returned(name)


@lru_cache(maxsize=1024)
def _is_forwarded(name: bytes) -> bool:
    if name in REQUEST_FIELDS or name.startswith(REQUEST_PREFIXES):
        return True
    return _is_custom(name, _CUSTOM_REQUEST_NAME, REQUEST_WORDS)


@lru_cache(maxsize=1024)
def _is_returned(name: bytes) -> bool:
    if name in RESPONSE_FIELDS or name.startswith(RESPONSE_PREFIXES):
        return True
    return _is_custom(name, _CUSTOM_RESPONSE_NAME, RESPONSE_WORDS)


def _is_custom(name: bytes, pattern: re.Pattern[bytes], words: frozenset[bytes]) -> bool:
    return (
        pattern.fullmatch(name) is not None
        and name not in _NOT_CUSTOM
        and words.isdisjoint(name.split(b"-"))
    )
