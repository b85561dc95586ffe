"""Paths, header fields and URLs of requests to Cores: valid ones pass, ambiguous ones do not."""

from contextlib import suppress
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote_to_bytes

import pytest
from gatehouse.core.cores import CoreSettings
from gatehouse.core.errors import BadRequest
from gatehouse.core.http.forwarding import (
    CORE_NAME,
    CorePath,
    cookies_for_core,
    core_destination,
    core_path,
)
from gatehouse.core.http.header_names import _NAMES_MAX, forwarded_names
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cases import cases
from tools.attack.cases import AMBIGUOUS_PATHS

_CASES = cases(__file__)

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

UNCHANGED = [
    (b"/cores/docs", "docs", "/"),
    (b"/cores/docs/", "docs", "/"),
    (b"/cores/docs/files/a.txt", "docs", "/files/a.txt"),
    (b"/cores/docs/files/two%20words.txt", "docs", "/files/two%20words.txt"),
    (b"/cores/docs/files/%C3%BCber%20%E2%82%AC.txt", "docs", "/files/%C3%BCber%20%E2%82%AC.txt"),
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
]


@pytest.mark.parametrize(("raw", "name", "path"), UNCHANGED)
def test_path_is_forwarded_unchanged(raw: bytes, name: str, path: str) -> None:
    assert core_path(raw) == CorePath(name, path, raw.decode())


def test_path_at_the_host_name_of_a_core_is_forwarded_unchanged() -> None:
    path = core_path(b"/cores/other/a%2Fb", "docs")
    assert path == CorePath("docs", "/cores/other/a%2Fb", "/cores/other/a%2Fb", by_host=True)
    assert path.prefix == ""
    with pytest.raises(BadRequest, match="dot segment"):
        core_path(b"/a/%2e%2e/b", "docs")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/cores/docs/./a/./b", "/a/b"),
        (b"/cores/docs/a/.", "/a/"),
        (b"/cores/./docs/a", "/a"),
        (b"/cores/docs/.", "/"),
    ],
)
def test_segment_of_a_single_dot_is_removed(raw: bytes, path: str) -> None:
    """RFC 3986, section 5.2.4. apt requests such paths."""
    parsed = core_path(raw)
    assert (parsed.name, parsed.path) == ("docs", path)


@pytest.mark.parametrize("raw", AMBIGUOUS_PATHS)
def test_ambiguous_path_is_rejected(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^The path "):
        core_path(raw)


@example(".")
@example("..")
@given(
    st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\\/"),
        min_size=1,
        max_size=30,
    )
)
def test_encoded_file_name_is_forwarded_unchanged(name: str) -> None:
    raw = b"/cores/docs/files/" + quote(name, safe="").encode()
    if name == "..":
        with pytest.raises(BadRequest, match="dot segment"):
            core_path(raw)
    elif name == ".":
        assert core_path(raw).path == "/files/"
    else:
        assert unquote_to_bytes(core_path(raw).path) == b"/files/" + name.encode()


@given(st.binary(max_size=60))
def test_accepted_path_contains_no_decoded_dot_segment(rest: bytes) -> None:
    with suppress(BadRequest):
        path = core_path(b"/cores/docs/" + rest).path
        assert not {b".", b".."} & set(unquote_to_bytes(path).split(b"/"))


@pytest.mark.parametrize("name", ["docs", "a", "a-b-2", "x" * 40])
def test_dns_label_is_a_core_name(name: str) -> None:
    assert CORE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "Docs", "a.b", "a_b", "x" * 41, "dö", "a%20"])
def test_other_text_is_not_a_core_name(name: str) -> None:
    assert not CORE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", RESERVED_REQUEST_NAMES)
def test_reserved_request_header_is_not_forwarded(name: bytes) -> None:
    assert not forwarded_names()[name]


@pytest.mark.parametrize(
    "name",
    b"accept cookie range origin date via user-agent x-user-agent tracestate x-b3-traceid"
    b" x-amzn-trace-id x-amz-meta-owner if x-request-id x-auth-token x-goog-api-client apikey"
    b" x".split(),
)
def test_other_request_header_is_forwarded(name: bytes) -> None:
    assert forwarded_names()[name]


@given(st.text("ABCDEFXYZabcdefxyz0123456789-", min_size=1, max_size=40))
def test_header_of_the_gateway_is_not_forwarded(rest: str) -> None:
    """Whatever a Core declares, and with characters that servers read as a hyphen."""
    names = forwarded_names(CoreSettings(remove_headers=("nothing",)))
    for name in (f"gatehouse-{rest}", f"x-forwarded-{rest}", "authorization", "x-api-key"):
        for character in "-_.":
            assert not names[name.lower().replace("-", character).encode()]


@given(
    st.lists(st.from_regex(r"\*?[ab_-]{1,4}\*?", fullmatch=True), min_size=1),
    st.text("ab-_.", min_size=1, max_size=8),
)
def test_removed_names_are_compared_as_patterns(patterns: list[str], name: str) -> None:
    """Servers read all characters other than letters and digits as the same character."""
    underscores = name.replace(".", "_")
    forms = (underscores, underscores.replace("_", "-"))
    is_removed = any(fnmatchcase(form, pattern) for form in forms for pattern in patterns)
    names = forwarded_names(CoreSettings(remove_headers=tuple(patterns)))
    assert names[name.encode()] is not is_removed


def test_long_name_is_not_forwarded() -> None:
    names = forwarded_names(CoreSettings(remove_headers=("*" + "a" * 60 + "b*",) * 100))
    assert [names[b"a" * size] for size in (128, 129)] == [True, False]


def test_names_in_memory_are_bounded() -> None:
    names = forwarded_names(CoreSettings(remove_headers=("x-a",)))
    for number in range(3 * _NAMES_MAX):
        assert names[b"x-%d" % number]
        assert names[b"y" * 99 + b"%d" % number]
    assert 0 < len(names) <= _NAMES_MAX
    assert max(map(len, names)) < 100


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a=1; __Host-gatehouse=secret; b=2", "a=1; b=2"),
        ("__Host-gatehouse-sign-in=secret", ""),
        ("=__Host-gatehouse=secret", ""),
        ("a=__Host-gatehouse", "a=__Host-gatehouse"),
    ],
)
def test_cookie_of_the_console_does_not_reach_a_core(value: str, kept: str) -> None:
    assert cookies_for_core(value, by_host=True) == kept


@pytest.mark.parametrize(
    ("cookies", "received"),
    [
        ("__Secure-Host-a=1; b=2; __Secure-Host-c=3", "__Host-a=1; b=2; __Host-c=3"),
        ("a=__Secure-Host-; __Secure-b=1", "a=__Secure-Host-; __Secure-b=1"),
    ],
)
def test_core_receives_its_cookies_for_all_paths(cookies: str, received: str) -> None:
    assert cookies_for_core(cookies, by_host=False) == received


#: The prefixes of a Core for clients and at the instance, and the host for clients.
STRIPPED = ("/cores/docs", "", "gateway.test")
#: Of a Core whose URL has a path.
BASE = ("/cores/docs", "/app", "gateway.test")
#: Of a Core with a host name.
HOST, HOST_BASE = ("", "", "docs.cores.test:8080"), ("", "/app", "docs.cores.test:8080")


def destination(urls: tuple[str, str, str], value: str) -> str:
    client_prefix, core_prefix, host = urls
    return core_destination(value, ("127.0.0.1:8080", host), client_prefix, core_prefix)


@pytest.mark.parametrize(("urls", "value", "path"), _CASES["destination_is_a_path_of_the_core"])
def test_destination_is_a_path_of_the_core(
    urls: tuple[str, str, str], value: str, path: str
) -> None:
    assert destination(urls, value) == path


OUTSIDE = (
    "https://elsewhere.test/cores/docs/b",
    "http://core.internal:9000/b",
    "https://gateway.test/cores/docs/../b",
    "https://docs.cores.test:8080/%2e%2e/b",
    "/cores/docs/..%2Fb",
    "b",
    "",
)
OTHERS = ("/cores/docs-2/b", "/b", "https://gateway.test/cores/other/b")


@pytest.mark.parametrize(
    ("urls", "value"),
    [
        *((urls, value) for urls in (STRIPPED, BASE, HOST_BASE) for value in OUTSIDE),
        *((BASE, value) for value in OTHERS),
    ],
)
def test_destination_outside_of_the_core_is_rejected(
    urls: tuple[str, str, str], value: str
) -> None:
    with pytest.raises(BadRequest, match="not a URL of this Core"):
        destination(urls, value)
