"""The requests that `make attack` sends. Tests of the gateway send the same paths and headers.

Raw requests contain `HOST`, which the runner replaces with the host of the target.
"""

HOST = b"gateway.test"
_GET = b"GET / HTTP/1.1\r\nHost: gateway.test\r\n"
_END = b" HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

#: Malformed requests (RFC 9112), and heads that exceed the limits.
MALFORMED_REQUESTS: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  /  RTSP/1.1\r\nHost: gateway.test\r\n\r\n",
    b"GET ftp://gateway.test/" + _END,
    b"GET /#a" + _END,
    b"GET /\xff" + _END,
    b"CONNECT gateway.test:443" + _END,
    b"nonsense\r\n\r\n",
    _GET + b"Bad Name: 1\r\n\r\n",
    b"GET /" + b"a" * 80_000 + _END,
    _GET + b"X: " + b"a" * 80_000 + b"\r\n\r\n",
    _GET + (b"X: " + b"a" * 15_000 + b"\r\n") * 5 + b"\r\n",
    _GET + b"X: 1\r\n" * 101 + b"\r\n",
)

#: Message framing that two servers can interpret differently (RFC 9112, sections 6.3 and 11.2):
#: header fields, and the beginning of the body. The runner appends a request for `SMUGGLED_PATH`.
SMUGGLED_PATH = b"/smuggled"
_CHUNKED = b"Transfer-Encoding: chunked"
FRAMING: tuple[tuple[bytes, bytes], ...] = (
    *(
        (fields, b"0\r\n\r\n")
        for fields in (
            *(b"Content-Length: 6\r\n" + _CHUNKED, _CHUNKED + b"\r\nContent-Length: 0"),
            *(_CHUNKED + b", identity", _CHUNKED + b"\r\nTransfer-Encoding: identity"),
            *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: xchunked"),
            *(b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked"),
            b"X: 1\x00\r\n" + _CHUNKED,
        )
    ),
    *((b"Content-Length: " + value, b"") for value in (b"0, 44", b"+0", b"-1", b"0x0", b"9" * 20)),
    *(
        (fields, b"")
        for fields in (
            *(b"Content-Length: 0\r\nContent-Length: 44", b"Content-Length : 0"),
            *(b"Content-Length\r\n: 0", b"Transfer-Encoding: identity"),
        )
    ),
    *((_CHUNKED, body) for body in (b"0x0\r\n\r\n", b"-1\r\n\r\n", b"1\r\nZZ\r\n0\r\n\r\n")),
)

#: Paths below `/cores/` that are ambiguous or not safe to forward.
AMBIGUOUS_PATHS: tuple[bytes, ...] = tuple(
    b"/cores/" + path
    for path in (
        *(b"docs/../admin", b"docs/..", b"..", b"docs/%2e%2e/admin", b"docs/.%2E/admin"),
        *(b"docs/a%2f..%2fb", b"docs/..;/admin", b"docs/%2e%2e;a=1/admin", b"../cores/docs/x"),
        *(b"docs/a\\b", b"docs/..%5c..", b"docs/a%00b", b"docs/a%0d%0ab", b"docs/a%7f"),
        *(b"docs/a#b", b"docs/{id}", b'docs/a"b', b"docs/<script>", b"docs/%ff"),
        *(b"docs/%c0%ae%c0%ae", b"docs/a b", "docs/ü".encode(), b"docs/100%"),
    )
)

#: Header fields of an ambiguous request that also contains one `Host` and one `Authorization`, with
#: the reason in the response.
AMBIGUOUS_HEADERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("X-API-Key: a", "X-API-Key: b"), "The API key is sent twice."),
    (("Authorization: Bearer b",), "The API key is sent twice."),
    (("X-API-Key: a",), "The API key is sent in two headers with different values."),
    (("Host: second",), "The request must have exactly one valid Host header."),
)
#: Values of Host that are not a DNS name or an IP address, with an optional port.
INVALID_HOSTS = (b"", b" h, evil", b"h/x", b"a@b", b"h:80:80", b":80", b"[::1", b"h h", b"a" * 256)

#: Names of headers that the gateway sets, and of headers by which applications trust a proxy about
#: the client. A Core never receives the value that a client sends.
SPOOFED_NAMES = (
    *("gatehouse-key-id", "gatehouse-made-up", "gatehouse_key_id", "forwarded", "x-forwarded-for"),
    *("x-forwarded-proto", "x-forwarded-anything", "x_forwarded_for", "x-real-ip", "x.real.ip"),
    *("true-client-ip", "cf-connecting-ip", "x-envoy-external-address", "x-original-url"),
    *("x-rewrite-url", "x-http-method-override", "x-client-cert", "x-amzn-oidc-data", "x-userinfo"),
    *("remote-user", "x-auth-request-user", "x-consumer-username", "x-middleware-subrequest"),
)
