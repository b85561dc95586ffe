"""Paths and header fields of Core requests: valid ones are forwarded unchanged, ambiguous ones are
rejected.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

import pytest
from gatehouse.platform.http.forwarding import (
    CORE_NAME,
    CorePath,
    ambiguity,
    core_path,
    flaw,
    forwarded,
    returned,
)
from gatehouse.platform.http.header_names import (
    HOP_BY_HOP,
    NAME_CHARS_MAX,
    REQUEST_FIELDS,
    REQUEST_WORDS,
    RESPONSE_FIELDS,
    is_forwarded,
    is_returned,
)
from hypothesis import given
from hypothesis import strategies as st

from tools.attack.corpora import AMBIGUOUS_PATHS, RESERVED_REQUEST_NAMES


@pytest.mark.requirement("CG-05")
@pytest.mark.parametrize(
    ("raw", "name", "path"),
    [
        (b"/cores/docs", "docs", "/"),
        (b"/cores/docs/", "docs", "/"),
        (b"/cores/docs/files/a.txt", "docs", "/files/a.txt"),
        (b"/cores/docs/files/two%20words.txt", "docs", "/files/two%20words.txt"),
        (
            b"/cores/docs/files/%C3%BCber%20%E2%82%AC.txt",
            "docs",
            "/files/%C3%BCber%20%E2%82%AC.txt",
        ),
        (b"/cores/docs/a%2Fb", "docs", "/a%2Fb"),
        (b"/cores/docs/100%25", "docs", "/100%25"),
        (
            b"/cores/docs/%252e%252e",
            "docs",
            "/%252e%252e",
        ),  # decoded once it is the text %2e%2e, no dot segment
        (b"/cores/docs//double", "docs", "//double"),
        (b"/cores/docs/...", "docs", "/..."),
        (b"/cores/docs/.hidden", "docs", "/.hidden"),
        (b"/cores//x", "", "/x"),
    ],
)
def test_path_is_forwarded_unchanged(raw: bytes, name: str, path: str) -> None:
    assert core_path(raw) == CorePath(name=name, path=path)


@pytest.mark.bound("http.forwarding:_PATH_BYTES_MAX")
@pytest.mark.parametrize(("raw", "sentence"), AMBIGUOUS_PATHS)
def test_ambiguous_path_is_rejected_with_a_reason(raw: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        core_path(raw)


@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\/"),
        min_size=1,
        max_size=30,
    )
)
def test_encoded_file_name_is_forwarded_unchanged(name: str) -> None:
    raw = b"/cores/docs/files/" + quote(name, safe="").encode()
    if name in (".", ".."):
        with pytest.raises(ValueError, match="dot segment"):
            core_path(raw)
    else:
        assert unquote_to_bytes(core_path(raw).path) == b"/files/" + name.encode()


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


@pytest.mark.parametrize("name", RESERVED_REQUEST_NAMES)
def test_reserved_request_header_is_not_forwarded(name: bytes) -> None:
    assert forwarded([(name, b"x"), (b"accept", b"*/*")]) == [("accept", "*/*")]


@pytest.mark.parametrize(
    "name",
    b"accept content-type content-encoding cookie range if-none-match origin referer "
    b"user-agent sec-fetch-site sec-ch-ua-platform"
    b" access-control-request-method traceparent tracestate x-b3-traceid x-amzn-trace-id "
    b"x-cloud-trace-context idempotency-key"
    b" x-requested-with x-csrf-token x-xsrf-token x-auth-token x-correlation-id x-tenant-id "
    b"x-client-version api-version"
    b" stripe-signature x-hub-signature-256 x-github-event webhook-id ce-type tus-resumable "
    b"upload-offset hx-request grpc-timeout"
    b" openai-organization anthropic-version x-grpc-web x-goog-api-client x-socket-id depth "
    b"soapaction".split(),
)
def test_standard_or_custom_request_header_is_forwarded(name: bytes) -> None:
    assert forwarded([(name, b"a b")]) == [(name.decode(), "a b")]


@given(
    st.lists(
        st.sampled_from(sorted(REQUEST_WORDS | {b"x", b"a", b"custom"})), min_size=1, max_size=4
    )
)
def test_custom_request_name_has_no_reserved_word(words: list[bytes]) -> None:
    name = b"-".join(words)
    if name not in REQUEST_FIELDS:
        assert is_forwarded(name) is (len(words) > 1 and REQUEST_WORDS.isdisjoint(words))


@pytest.mark.bound("http.header_names:NAME_CHARS_MAX")
def test_length_of_a_forwarded_name_is_bounded() -> None:
    longest = b"x-" + b"a" * (NAME_CHARS_MAX - 2)
    assert (is_forwarded(longest), is_returned(longest)) == (True, True)
    assert (is_forwarded(longest + b"a"), is_returned(longest + b"a")) == (False, False)


def test_framing_is_in_no_list_of_names() -> None:
    connection = HOP_BY_HOP | {b"host", b"content-length", b"expect"}
    assert connection.isdisjoint(REQUEST_FIELDS)
    assert HOP_BY_HOP.isdisjoint(RESPONSE_FIELDS)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"a=1; __Host-gatehouse=secret; b=2", [("cookie", "a=1; b=2")]),
        (b"__Host-gatehouse-sign-in=secret", []),
        (b"a=__Host-gatehouse", [("cookie", "a=__Host-gatehouse")]),
    ],
)
def test_cookie_of_the_console_does_not_reach_a_core(
    value: bytes, kept: list[tuple[str, str]]
) -> None:
    assert forwarded([(b"cookie", value)]) == kept


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
        (
            [(b"authorization", b"a"), (b"authorization", b"b")],
            "the header authorization is sent twice",
        ),
        (
            [(b"content-length", b"1"), (b"content-length", b"1")],
            "the header content-length is sent twice",
        ),
        (
            [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")],
            "Transfer-Encoding and Content-Length are sent together",
        ),
        (
            [(b"x-name", "café".encode())],
            "the header x-name contains a byte that is not visible ASCII",
        ),
        ([(b"x-name", b"a\x7fb")], "the header x-name contains a byte that is not visible ASCII"),
        ([(b"x-name", b"a\x01b")], "the header x-name contains a byte that is not visible ASCII"),
    ],
)
def test_ambiguous_request_has_a_reason(fields: list[tuple[bytes, bytes]], sentence: str) -> None:
    assert ambiguity(fields) == sentence


def test_repeated_harmless_headers_are_accepted() -> None:
    assert (
        ambiguity([(b"host", b"a"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-tab", b"a\tb")])
        == ""
    )


def test_response_keeps_cookies_and_drops_hop_by_hop_headers() -> None:
    fields = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("ratelimit", '"core";r=1'),
    ]
    assert returned(fields, replaced=[b"ratelimit"]) == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
    ]


@pytest.mark.parametrize(
    "field",
    [
        ("strict-transport-security", "max-age=0"),
        ("alt-svc", 'h3=":443"'),
        ("clear-site-data", "*"),
        ("service-worker-allowed", "/"),
        ("use-as-dictionary", 'match="/*"'),
        ("accept-ch", "Sec-CH-UA-Model"),
        ("origin-agent-cluster", "?0"),
        ("nel", '{"report_to":"x"}'),
        ("report-to", "{}"),
        ("public-key-pins", "x"),
        ("x-accel-redirect", "/internal"),
        ("x-sendfile", "/etc/passwd"),
        ("surrogate-control", "max-age=9"),
        ("cdn-cache-control", "max-age=9"),
        ("proxy-authenticate", "Basic"),
        ("proxy-status", "x"),
        ("via", "1.1 x"),
        ("x-envoy-upstream-service-time", "1"),
        ("x-forwarded-for", "192.0.2.1"),
        ("gatehouse-key-id", "forged"),
        ("x_custom", "1"),
        ("not-a-standard-name", "1"),
        ("x-request-id", "forged"),
        ("sec-websocket-accept", "x"),
        ("x-control", "a\x7fb"),
        ("x-text", "caf\xe9"),
        ("set-cookie", "a=1; Path=/; DOMAIN = example.com"),
        ("set-cookie", "__Host-gatehouse=fixed; Path=/; Secure"),
    ],
)
def test_response_header_for_proxies_or_the_whole_host_is_not_returned(
    field: tuple[str, str],
) -> None:
    harmless = ("set-cookie", "domain=1; Path=/")
    assert returned([field, harmless]) == [(b"set-cookie", b"domain=1; Path=/")]


@pytest.mark.parametrize(
    "name",
    b"content-type content-length content-range etag vary location link www-authenticate "
    b"access-control-allow-origin"
    b" content-security-policy retry-after ratelimit x-ratelimit-remaining x-frame-options "
    b"x-powered-by x-total-count x-cache"
    b" server-timing tus-resumable grpc-status ce-id webhook-id hx-redirect deprecation sunset "
    b"x-oauth-scopes".split(),
)
def test_standard_or_custom_response_header_is_returned(name: bytes) -> None:
    assert returned([(name.decode(), "1")]) == [(name, b"1")]


def test_handshake_headers_are_returned_with_status_101_only() -> None:
    accepted = [("sec-websocket-accept", "a"), ("sec-websocket-protocol", "chat")]
    fields = [*accepted, ("sec-websocket-extensions", "x"), ("upgrade", "y")]
    assert returned(fields) == []
    assert returned(fields, handshake=True) == [
        (b"sec-websocket-accept", b"a"),
        (b"sec-websocket-protocol", b"chat"),
    ]
