"""Rules for the head of a request, without a connection (see also test_protocol.py)."""

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.platform.http import request_head

HOST = (b"host", b"gateway.example")
CHUNKED = (b"transfer-encoding", b"chunked")


@pytest.mark.parametrize(
    ("version", "url", "fields", "valid"),
    [
        ("1.1", b"/v1", [HOST], True),
        ("1.1", b"/v1", [HOST, (b"cookie", b"a"), (b"cookie", b"b")], True),
        ("1.1", b"/v1", [], False),
        ("1.0", b"/v1", [], True),
        ("1.1", b"/v1", [HOST, HOST], False),
        ("1.0", b"/v1", [HOST, HOST], False),
        ("1.1", b"/v1", [HOST, CHUNKED], True),
        ("1.0", b"/v1", [HOST, CHUNKED], False),
        ("1.1", b"/v1", [HOST, CHUNKED, CHUNKED], False),
        ("1.1", b"/v1", [HOST, (b"transfer-encoding", b"gzip, chunked")], False),
        ("1.1", b"/v1", [HOST, (b"content-length", b"1" * 20)], True),
        ("1.1", b"/v1", [HOST, (b"content-length", b"0" * 21)], False),
        ("1.1", b"/v1#a", [HOST], False),
        ("1.1", b"/\xff", [HOST], False),
        ("2.0", b"/v1", [HOST], False),
    ],
)
def test_head_that_two_servers_could_interpret_differently_is_rejected(
    version: str, url: bytes, fields: list[tuple[bytes, bytes]], valid: bool
) -> None:
    if valid:
        request_head.check(version, url, fields, dict(fields))
        return
    with pytest.raises(BadRequest):
        request_head.check(version, url, fields, dict(fields))


@pytest.mark.parametrize(
    ("host", "valid"),
    [
        (b"a", True),
        (b"a.example:8443", True),
        (b"[2001:db8::1]:80", True),
        (b"192.0.2.1", True),
        (b"", False),
        (b"a, b", False),
        (b"a/b", False),
        (b"user@a", False),
        (b"a" * 256, False),
        (b"a:123456", False),
        (b"a\n", False),
    ],
)
def test_host_is_a_name_or_an_address(host: bytes, valid: bool) -> None:
    fields = [(b"host", host)]
    if valid:
        request_head.check("1.1", b"/", fields, dict(fields))
        return
    with pytest.raises(BadRequest):
        request_head.check("1.1", b"/", fields, dict(fields))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"/v1/keys?a=b?c", (b"/v1/keys", b"a=b?c")),
        (b"//other.example/a", (b"//other.example/a", b"")),
        (b"http://GATEWAY.example:80/v1?a", (b"/v1", b"a")),
        (b"http://other.example/v1", None),
        (b"http://user@gateway.example/v1", None),
        (b"ftp://gateway.example/v1", None),
        (b"http://gateway.example", None),
    ],
)
def test_absolute_target_has_the_host_of_the_request(
    url: bytes, expected: tuple[bytes, bytes] | None
) -> None:
    if expected is not None:
        assert request_head.target(url, [HOST]) == expected
        return
    with pytest.raises(BadRequest):
        request_head.target(url, [HOST])
