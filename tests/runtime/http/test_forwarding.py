"""Paths and header fields of Core requests: valid ones are forwarded unchanged, ambiguous ones are rejected."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from gatehouse.http.forwarding import CORE_NAME, CorePath, ambiguity, core_path, flaw, forwarded, returned
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.requirement("CG-05")
@pytest.mark.parametrize(
    ("raw", "name", "path"),
    [
        (b"/cores/docs", "docs", "/"),
        (b"/cores/docs/", "docs", "/"),
        (b"/cores/docs/files/a.txt", "docs", "/files/a.txt"),
        (b"/cores/docs/files/two%20words.txt", "docs", "/files/two%20words.txt"),
        (b"/cores/docs/files/%C3%BCber%20%E2%82%AC.txt", "docs", "/files/%C3%BCber%20%E2%82%AC.txt"),
        (b"/cores/docs/a%2Fb", "docs", "/a%2Fb"),
        (b"/cores/docs/100%25", "docs", "/100%25"),
        (b"/cores/docs/%252e%252e", "docs", "/%252e%252e"),  # decoded once it is the text %2e%2e, no dot segment
        (b"/cores/docs//double", "docs", "//double"),
        (b"/cores/docs/...", "docs", "/..."),
        (b"/cores/docs/.hidden", "docs", "/.hidden"),
        (b"/cores//x", "", "/x"),
    ],
)
def test_path_is_forwarded_unchanged(raw: bytes, name: str, path: str) -> None:
    assert core_path(raw) == CorePath(name=name, path=path)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"/cores/docs/../admin", "the path contains a dot segment"),
        (b"/cores/docs/./a", "the path contains a dot segment"),
        (b"/cores/docs/..", "the path contains a dot segment"),
        (b"/cores/..", "the path contains a dot segment"),
        (b"/cores/docs/%2e%2e/admin", "the path contains a dot segment"),
        (b"/cores/docs/.%2E/admin", "the path contains a dot segment"),
        (b"/cores/docs/a%2f..%2fb", "the path contains a dot segment"),
        (b"/cores/docs/a\\b", "the path contains a backslash"),
        (b"/cores/docs/..%5c..", "the path contains an encoded backslash"),
        (b"/cores/docs/a%00b", "the path contains an encoded control character"),
        (b"/cores/docs/a%0d%0ab", "the path contains an encoded control character"),
        (b"/cores/docs/a%7f", "the path contains an encoded control character"),
        (b"/cores/docs/a#b", "the path contains a raw #; write %23"),
        (b"/cores/docs/%ff", "the path is not UTF-8 once it is decoded"),
        (b"/cores/docs/%c0%ae%c0%ae", "the path is not UTF-8 once it is decoded"),  # overlong dots
        (b"/cores/docs/a b", "the path contains a space, control or non-ASCII byte; percent-encode it as UTF-8"),
        ("/cores/docs/ü".encode(), "the path contains a space, control or non-ASCII byte; percent-encode it as UTF-8"),
        (
            b"/cores/docs/100%",
            "the path contains a percent sign without two hexadecimal digits; write %25 for a percent sign",
        ),
        (b"/cores/docs/" + b"a" * 9000, "the path is longer than 8192 bytes"),
    ],
)
def test_ambiguous_path_is_rejected_with_a_reason(raw: bytes, sentence: str) -> None:
    assert core_path(raw) == sentence


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\/"), min_size=1, max_size=30))
def test_encoded_file_name_is_forwarded_unchanged(name: str) -> None:
    raw = b"/cores/docs/files/" + quote(name, safe="").encode()
    parts = core_path(raw)
    if name in (".", ".."):
        assert parts == "the path contains a dot segment"
    else:
        assert isinstance(parts, CorePath)
        assert unquote_to_bytes(parts.path) == b"/files/" + name.encode()


@given(st.binary(max_size=60))
def test_accepted_path_contains_no_decoded_dot_segment(rest: bytes) -> None:
    raw = b"/cores/docs/" + rest
    if not flaw(raw):
        assert not {b".", b".."} & set(unquote_to_bytes(raw).split(b"/"))


@pytest.mark.parametrize("name", ["docs", "a", "a-b-2", "x" * 40])
def test_dns_label_is_a_core_name(name: str) -> None:
    assert CORE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "Docs", "a.b", "a_b", "x" * 41, "dö", "a%20"])
def test_other_text_is_not_a_core_name(name: str) -> None:
    assert not CORE_NAME.fullmatch(name)


@pytest.mark.parametrize(
    "name",
    b"authorization x-api-key host content-length connection keep-alive te trailer transfer-encoding upgrade proxy-authorization"
    b" forwarded x-forwarded-for x-forwarded-anything x-real-ip gatehouse-key-id gatehouse-made-up gatehouse_key_id"
    b" x_forwarded_for x_api_key x-original-url x-forwarded forwarded-for client-ip x-remote-addr x-envoy-external-address"
    b" x-http-method x-method-override".split(),
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
    harmless = ("set-cookie", "domain=1; Path=/")
    assert returned([field, harmless]) == [(b"set-cookie", b"domain=1; Path=/")]
