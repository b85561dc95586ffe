"""Header fields that the gateway forwards or removes."""

from __future__ import annotations

import pytest
from gatehouse.http.headers import ambiguity, forwarded, returned


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"x-api-key",
        b"host",
        b"content-length",
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-anything",
        b"x-real-ip",
        b"gatehouse-key-id",
        b"gatehouse-made-up",
        b"gatehouse_key_id",
        b"x_forwarded_for",
        b"x_api_key",
        b"x-original-url",
        b"x-forwarded",
        b"forwarded-for",
        b"client-ip",
        b"x-remote-addr",
        b"x-envoy-external-address",
        b"x-http-method",
        b"x-method-override",
    ],
)
def test_reserved_request_header_is_not_forwarded(name: bytes) -> None:
    assert forwarded([(name, b"x"), (b"accept", b"*/*")]) == [("accept", "*/*")]


def test_header_named_by_connection_is_not_forwarded() -> None:
    fields = [(b"connection", b"close, X-Secret-Hop"), (b"x-secret-hop", b"1"), (b"x-kept", b"2")]
    assert forwarded(fields) == [("x-kept", "2")]


def test_order_and_repeats_are_kept() -> None:
    fields = [(b"x-a", b"1"), (b"cookie", b"a=1"), (b"x-a", b"2")]
    assert forwarded(fields) == [("x-a", "1"), ("cookie", "a=1"), ("x-a", "2")]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ([(b"host", b"a"), (b"host", b"a")], "the header host is sent twice"),
        ([(b"authorization", b"a"), (b"authorization", b"b")], "the header authorization is sent twice"),
        ([(b"content-length", b"1"), (b"content-length", b"1")], "the header content-length is sent twice"),
        (
            [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
            "Transfer-Encoding and Content-Length are sent together",
        ),
        ([(b"x-name", "café".encode())], "the header x-name contains a byte that is not visible ASCII"),
        ([(b"x-name", b"a\x01b")], "the header x-name contains a byte that is not visible ASCII"),
    ],
)
def test_ambiguous_request_has_a_reason(fields: list[tuple[bytes, bytes]], sentence: str) -> None:
    assert ambiguity(fields) == sentence


def test_repeated_harmless_headers_are_accepted() -> None:
    assert ambiguity([(b"host", b"a"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-tab", b"a\tb")]) == ""


def test_response_keeps_cookies_and_drops_hop_by_hop_headers() -> None:
    fields = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("ratelimit", '"core";r=1'),
    ]
    assert returned(fields, replaced=[b"ratelimit"]) == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.mark.parametrize(
    "field",
    [
        ("strict-transport-security", "max-age=0"),
        ("alt-svc", 'h3=":443"'),
        ("clear-site-data", "*"),
        ("x-request-id", "forged"),
        ("set-cookie", "a=1; Path=/; DOMAIN = example.com"),
    ],
)
def test_response_header_for_the_whole_host_is_not_returned(field: tuple[str, str]) -> None:
    kept = ("set-cookie", "domain=1; Path=/")
    assert returned([field, kept]) == [(b"set-cookie", b"domain=1; Path=/")]
