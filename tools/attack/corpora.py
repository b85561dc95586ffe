"""The inputs for `make attack` and for the tests. Each attack is declared only here.

Raw requests contain `HOST`, which the runner replaces with the host of the target.
"""

from collections.abc import Iterator
from typing import NamedTuple

HOST = b"gateway.test"
_POST = b"POST /x HTTP/1.1\r\nHost: gateway.test\r\n"
_GET = _POST.replace(b"POST /x", b"GET /")
_HTTP_1_1 = b" HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

#: Values of Host that are not a DNS name or an IP address, with an optional port.
INVALID_HOSTS = (
    *(b"", b" h, evil", b"h,evil", b"h/x", b"h?y", b"a@b", b"h:80:80", b"h:123456", b"h:x", b":80"),
    *(b"[::1", b"::1", b"h%20", b"h h", b"h\\x", b"h'", b"<h>", b"a" * 256),
)
_X = b"X: 1\r\n" * 101
_LONG_X = b"X: " + b"a" * 15_000 + b"\r\n"

#: Malformed requests (RFC 9112).
MALFORMED_REQUESTS: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  /  RTSP/1.1\r\nHost: gateway.test\r\n\r\n",
    b"SOURCE / ICE/1.0\r\nHost: gateway.test\r\n\r\n",
    b"GET ftp://gateway.test/" + _HTTP_1_1,
    b"GET /#a" + _HTTP_1_1,
    b"CONNECT gateway.test:443" + _HTTP_1_1,
    b"GET /\xff" + _HTTP_1_1,
    b"nonsense\r\n\r\n",
    _GET + b"Bad Name: 1\r\n\r\n",
    _POST + b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello",
    _POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
    _POST + b"Content-Length: +5\r\n\r\n",
    _POST + b"Content-Length: " + b"0" * 5_000 + b"5\r\n\r\nhello",
    _POST + b"Content-Length: " + b"0" * 21 + b"\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    _POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 20_000 + b"\r\na\r\n0\r\n",
    _POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    *(b"GET" + text + _HTTP_1_1 for text in (b" /" + b"a" * 80_000, b" " * 80_000 + b"/")),
    _GET + b"X: " + b"a" * 80_000 + b"\r\n\r\n",
    _GET + _LONG_X * 5 + b"\r\n",
    _GET + _X + b"\r\n",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + _X + b"\r\n",
)

#: Requests whose heads or bodies never end.
UNFINISHED_HEADS = (b"G", b"GET / HTTP/1.1\r\n", _GET + b"X: ")
UNFINISHED_BODIES = (
    _POST + b"Content-Length: 1000\r\n\r\n",
    _POST + b"Content-Length: 1000\r\n\r\n{",
    _POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
)


class Body(NamedTuple):
    """A body of any size, in which a text is repeated. `{n}` in the text is the number of the
    repetition, in hexadecimal.
    """

    before: bytes
    unit: bytes
    after: bytes

    def of_size(self, size: int) -> bytes:
        size -= len(self.before) + len(self.after)
        if b"{n}" not in self.unit:
            return self.before + self.unit * (size // len(self.unit)) + self.after
        units: list[bytes] = []
        while size > 0:
            units.append(self.unit.replace(b"{n}", b"%x" % len(units)))
            size -= len(units[-1])
        return self.before + b"".join(units[:-1]) + self.after


#: A JSON body that is rejected and not expensive, and bodies that are expensive to decode or to
#: explain.
ORDINARY_JSON = Body(b'{"a":"', b"a", b'"}')
COSTLY_JSON = (
    Body(b'{"a":1', b',"{n}":1', b"}"),
    Body(b"{", b'"link":"",', b'"link":""}'),
    Body(b'{"', b"a", b'":1}'),
    Body(b"", b"[", b""),
    Body(b"[", b"{},", b"{}]"),
    Body(b'{"files":[', b'"",', b'""]}'),
    Body(b'{"text":', b"1", b"}"),
    Body(b'{"text":"', b"\\n", b'","a":1}'),
    Body(b'{"text":"', b"\\ud83d\\ude00", b'","a":1}'),
    Body(b'{"text":"', b"\\ud800", b'","a":1}'),
)

_PART = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n'
_END = b"\r\n--b--\r\n"
ORDINARY_FORM = Body(_PART % b"other", b"a", _END)


def costly_forms(link: bytes) -> tuple[Body, ...]:
    """Forms (multipart/form-data) with the boundary `b`, likewise. A submission link allows files
    and a text.
    """
    link_part, file = _PART % b"link" + link + b"\r\n", _PART % b'file"; filename="' + b"\r\n"
    return (
        Body(link_part, file, _END),
        Body(b"", link_part, _END),
        Body(_PART % b"link", b"\r\n--", _END),
        Body(b"", file, _END),
        Body(b"", _PART % (b'file"; filename="' + b";" * 1_900) + b"\r\n", _END),
        Body(b"--b\r\n", b"X: a\r\n", _END),
        Body(b"--b\r\nContent-Disposition: form-data;", b'a="b";', b"\r\n\r\n" + _END),
        Body(b"", b"\r\n", b""),
    )


def _framing(body: bytes, *fields: bytes) -> Iterator[tuple[bytes, bytes]]:
    return ((field + b"\r\n", body) for field in fields)


#: Message framing that two servers can interpret differently (RFC 9112, sections 6.3 and 11.2):
#: header fields, and the beginning of the body. The runner appends a request for `SMUGGLED_PATH`.
#: The gateway must reject the framing.
SMUGGLED_PATH = b"/smuggled"
REJECTED_FRAMING: tuple[tuple[bytes, bytes], ...] = (
    *_framing(
        b"0\r\n\r\n",
        b"Content-Length: 6\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 6",
        b"Transfer-Encoding: chunked\r\nContent-Length: 0",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"X: 1\r\n\tTransfer-Encoding: chunked",
        b"X: 1\rTransfer-Encoding: chunked",
        b"X: 1\x00\r\nTransfer-Encoding: chunked",
    ),
    *_framing(
        b"",
        b"Content-Length: 0\r\nContent-Length: 44",
        b"Content-Length: 0, 44",
        b"Content-Length: +0",
        b"Content-Length: -1",
        b"Content-Length: 0x0",
        b"Content-Length: 0 0",
        b"Content-Length: 99999999999999999999",
        b"Content-Length : 0",
        b"Content-Length\r\n: 0",
        b"Transfer-Encoding: identity",
    ),
    *(
        (b"Transfer-Encoding: chunked\r\n", body)
        for body in (
            b"0x0\r\n\r\n",
            b"-1\r\n\r\n",
            b" 0\r\n\r\n",
            b"1\r\nZZ\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\n",
        )
    ),
)
#: Framing that is valid or is ignored. The bytes that follow are a separate request to the gateway,
#: or part of the body.
HARMLESS_FRAMING: tuple[tuple[bytes, bytes], ...] = (
    (b"Transfer_Encoding: chunked\r\n", b""),
    (b"Content_Length: 44\r\n", b""),
    (b"X-Transfer-Encoding: chunked\r\n", b""),
    *_framing(
        b"0\r\n\r\n",
        b"Transfer-Encoding: chunked",
        # Envoy writes the field again in one line.
        b"Transfer-Encoding:\r\n chunked",
        b"X: 1\nTransfer-Encoding: chunked",
    ),
    (b"Content-Length: 0\r\n", b""),
)

#: Paths below `/cores/` that are ambiguous or not safe to forward, with the reason in the response.
AMBIGUOUS_PATHS: tuple[tuple[bytes, str], ...] = tuple(
    (b"/cores/" + path, reason)
    for reason, paths in {
        "the path contains a dot segment": (
            b"docs/../admin",
            b"docs/..",
            b"..",
            b"docs/%2e%2e/admin",
            b"docs/.%2E/admin",
            b"docs/a%2f..%2fb",
            b"docs/..;/admin",
            b"docs/%2e%2e;a=1/admin",
            b"../cores/docs/x",
        ),
        "the path contains a backslash": (b"docs/a\\b",),
        "the path contains an encoded backslash": (b"docs/..%5c..",),
        "the path contains an encoded control character": (
            b"docs/a%00b",
            b"docs/a%0d%0ab",
            b"docs/a%7f",
        ),
        "the path contains a raw #; write %23": (b"docs/a#b",),
        "the path contains a raw {; write %7B": (b"docs/{id}",),
        'the path contains a raw "; write %22': (b'docs/a"b',),
        "the path contains a raw <; write %3C": (b"docs/<script>",),
        "the path is not UTF-8 once it is decoded; percent-encode text as UTF-8": (
            b"docs/%ff",
            b"docs/%c0%ae%c0%ae",  # overlong dots
        ),
        "the path contains a space, control or non-ASCII byte; percent-encode it as UTF-8": (
            b"docs/a b",
            "docs/ü".encode(),
        ),
        "the path contains a percent sign without two hexadecimal digits; "
        "write %25 for a percent sign": (b"docs/100%",),
    }.items()
    for path in paths
)

#: Header fields of an ambiguous request that also contains one `Host` and one `Authorization`, with
#: the reason in the response.
AMBIGUOUS_HEADERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("X-API-Key: a", "X-API-Key: b"), "The API key is sent twice."),
    (("Authorization: Bearer b",), "The API key is sent twice."),
    (("X-API-Key: a",), "The API key is sent in two headers with different values."),
    (("Host: second",), "The request must have exactly one valid Host header."),
)

#: Request headers for a single connection, headers that the gateway sets, and headers by which
#: applications trust a proxy about the client. Cores do not receive the values that a client sends.
RESERVED_REQUEST_NAMES = (
    b"authorization x-api-key host content-length connection keep-alive te trailer "
    b"transfer-encoding upgrade proxy-authorization proxy-connection http2-settings "
    b"forwarded x-forwarded x-forwarded-for x-forwarded-anything forwarded-for x-real-ip "
    b"x-client-ip client-ip x-cluster-client-ip true-client-ip x-remote-addr x-remote-ip "
    b"x-originating-ip remote-user x-remote-user cf-connecting-ip cf-access-jwt-assertion "
    b"fastly-client-ip akamai-origin-hop x-azure-clientip x-azure-socketip x-appengine-user-ip "
    b"x-envoy-external-address x-envoy-original-path x-original-url x-original-uri x-original-host "
    b"x-rewrite-url x-host x-http-host-override x-http-method x-method-override "
    b"x-http-method-override x-url-scheme front-end-https x-ssl-client-cert x-client-cert "
    b"x-arr-ssl x-arr-clientcert ssl-client-dn x-sendfile-type x-accel-mapping x-script-name "
    b"x-middleware-subrequest x-invoke-path x-amzn-oidc-data x-amzn-oidc-identity "
    b"x-goog-authenticated-user-email x-goog-iap-jwt-assertion x-ms-client-principal "
    b"x-auth-request-user x-webauth-user x-consumer-username x-credential-identifier x-userinfo "
    b"impersonate-user x-user-id gatehouse-key-id gatehouse-made-up gatehouse_key_id "
    b"x_forwarded_for x_api_key x_custom content_length x.custom x.real.ip sec-websocket-key "
    b"sec-websocket-extensions".split()
)

_DEEP = b"[" * 20_000 + b"]" * 20_000


#: Malformed bodies of `POST /v1/keys/verify`, with location, message and, unless empty, the fix in
#: the response with status 400.
MALFORMED_BODIES: tuple[tuple[bytes, str], ...] = (
    (b'\xef\xbb\xbf{"token":"a"}', "body"),
    ('{"token":"\u00eb"}'.encode("latin-1"), "body"),
    (b'{"token":"\\ud800"}', "body"),
    (b'{"token":"a"', "body"),
    (b"", "body"),
    (b'{"token":"a","cost":NaN}', "body"),
    (b'{"token":"a","cost":1e400}', "body.cost"),
    (b'{"token":"a","cost":' + b"9" * 400 + b"}", "body.cost"),
    (b'{"token":"a","cost":true}', "body.cost"),
    (b'{"token":["a"]}', "body.token"),
    (b"null", "body"),
    (b"{}", "body.token"),
    (b'{"token": "x", "scope": "a"}', "body.scope"),
    (b'{"token": "x", "scopes": "a"}', "body.scopes"),
    (b'{"token": "x", "scopes": ["A"]}', "body.scopes[0]"),
    (b'{"token": "x", "cost": -1}', "body.cost"),
    (b'{"token": "' + b"x" * 600 + b'"}', "body.token"),
    (b'{"token":"a","core":"Docs\\u0000"}', "body.core"),
)
#: How deeply Python parses a document depends on its version.
DEEP_BODIES = (
    b'{"token":"a","scopes":' + _DEEP + b"}",
    b'{"token":"a","deep":' + _DEEP + b"}",
    _DEEP,
)
