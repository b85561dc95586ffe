"""Paths, header fields and URLs of requests to Cores: valid ones pass, ambiguous ones do not."""

import re
from fnmatch import fnmatchcase
from urllib.parse import quote, unquote_to_bytes

import pytest
from gatehouse.platform.http.forwarding import (
    CORE_NAME,
    CorePath,
    CoreUrls,
    cookies_for_core,
    core_path,
    flaw,
    forwarded,
    invalid_value,
    removed,
    returned,
)
from gatehouse.platform.http.header_names import _NAMES_MAX, forwarded_names
from hypothesis import example, given
from hypothesis import strategies as st

from tools.attack.corpora import AMBIGUOUS_PATHS, RESERVED_REQUEST_NAMES

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


@pytest.mark.requirement("CG-05")
@pytest.mark.parametrize(("raw", "name", "path"), UNCHANGED)
def test_path_is_forwarded_unchanged(raw: bytes, name: str, path: str) -> None:
    assert core_path(raw) == CorePath(name, path)


def test_path_at_the_host_name_of_a_core_is_forwarded_unchanged() -> None:
    path = core_path(b"/cores/other/a%2Fb", "docs")
    assert path == CorePath("docs", "/cores/other/a%2Fb", by_host=True)
    assert path.prefix == ""
    with pytest.raises(ValueError, match="dot segment"):
        core_path(b"/a/%2e%2e/b", "docs")


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


CORE_URL = "http://core.internal:9000"
STRIPPED = CoreUrls("/cores/docs", "", "gateway.test", CORE_URL)
KEPT = CoreUrls("/cores/docs", "/cores/docs", "gateway.test", CORE_URL)
#: A Core whose URL has a path.
BASE = CoreUrls("/cores/docs", "", "gateway.test", f"{CORE_URL}/app")
KEPT_BASE = CoreUrls("/cores/docs", "/cores/docs", "gateway.test", f"{CORE_URL}/app")
#: A Core with a host name.
HOST = CoreUrls("", "", "docs.cores.test:8080", CORE_URL)
HOST_BASE = CoreUrls("", "", "docs.cores.test:8080", f"{CORE_URL}/app")


def sent(*fields: tuple[bytes, bytes]) -> list[tuple[str, str]]:
    return forwarded(fields, forwarded_names())


def received(*fields: tuple[str, str], urls: CoreUrls = STRIPPED) -> list[tuple[bytes, bytes]]:
    return returned(fields, urls, "/a/b?c=d", replaced=[b"ratelimit"])


@pytest.mark.parametrize("name", RESERVED_REQUEST_NAMES)
def test_reserved_request_header_is_not_forwarded(name: bytes) -> None:
    fields = [(name, b"x"), (b"accept", b"*/*")]
    assert sent(*fields) == [("accept", "*/*")]
    assert removed(fields, [("accept", "*/*")]) == [name]


@pytest.mark.parametrize(
    "name",
    b"accept cookie range origin date via user-agent x-user-agent tracestate x-b3-traceid"
    b" x-amzn-trace-id x-amz-meta-owner if x-request-id x-auth-token x-goog-api-client apikey"
    b" x".split(),
)
def test_other_request_header_is_forwarded(name: bytes) -> None:
    assert sent((name, b"a b"), (name, b"c")) == [(name.decode(), "a b"), (name.decode(), "c")]


@given(st.text("ABCDEFXYZabcdefxyz0123456789-", min_size=1, max_size=40))
def test_header_of_the_gateway_is_not_forwarded(rest: str) -> None:
    """Whatever a Core declares, and with characters that servers read as a hyphen."""
    names = forwarded_names(("nothing",))
    for name in (f"gatehouse-{rest}", f"x-forwarded-{rest}", "authorization", "x-api-key"):
        for character in "-_.":
            assert names[name.lower().replace("-", character).encode()] == ""


@given(
    st.lists(st.from_regex(r"\*?[ab_-]{1,4}\*?", fullmatch=True), min_size=1),
    st.text("ab-_.", min_size=1, max_size=8),
)
def test_removed_names_are_compared_as_patterns(patterns: list[str], name: str) -> None:
    """Servers read all characters other than letters and digits as the same character."""
    underscores = name.replace(".", "_")
    forms = (underscores, underscores.replace("_", "-"))
    is_removed = any(fnmatchcase(form, pattern) for form in forms for pattern in patterns)
    assert (forwarded_names(tuple(patterns))[name.encode()] == "") is is_removed


def test_long_name_is_not_forwarded() -> None:
    names = forwarded_names(("*" + "a" * 60 + "b*",) * 100)
    assert [bool(names[b"a" * size]) for size in (128, 129)] == [True, False]


@pytest.mark.bound("http.header_names:_NAMES_MAX")
def test_names_in_memory_are_bounded() -> None:
    names = forwarded_names(("x-a",))
    for number in range(3 * _NAMES_MAX):
        assert names[b"x-%d" % number] == f"x-{number}"
        assert names[b"y" * 99 + b"%d" % number]
    assert 0 < len(names) <= _NAMES_MAX
    assert max(map(len, names)) < 100


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"a=1; __Host-gatehouse=secret; b=2", [("cookie", "a=1; b=2")]),
        (b"__Host-gatehouse-sign-in=secret", []),
        (b"=__Host-gatehouse=secret", []),
        (b"a=__Host-gatehouse", [("cookie", "a=__Host-gatehouse")]),
    ],
)
def test_cookie_of_the_console_does_not_reach_a_core(
    value: bytes, kept: list[tuple[str, str]]
) -> None:
    assert sent((b"cookie", value)) == kept


def test_header_named_by_connection_is_not_forwarded() -> None:
    fields = [(b"connection", b"close, X-Secret-Hop"), (b"x-secret-hop", b"1"), (b"x-kept", b"2")]
    assert sent(*fields) == [("x-kept", "2")]


@pytest.mark.parametrize(
    ("urls", "value", "path"),
    [
        (STRIPPED, "https://gateway.test/cores/docs/b%20c?x=1", "/b%20c?x=1"),
        (STRIPPED, "http://127.0.0.1:8080/cores/docs/b", "/b"),
        (STRIPPED, "/cores/docs/b", "/b"),
        (STRIPPED, "/cores/docs", "/"),
        (BASE, "https://GATEWAY.test:443/cores/docs/b", "/app/b"),
        (BASE, "https://gateway.test/cores/docs", "/app"),
        (KEPT, "https://gateway.test/cores/docs/b", "/cores/docs/b"),
        (KEPT_BASE, "/cores/docs/b", "/app/cores/docs/b"),
        (HOST, "https://docs.cores.test:8080/b", "/b"),
        (HOST, "https://docs.cores.test:8080", "/"),
        (HOST_BASE, "/cores/docs/b", "/app/cores/docs/b"),
    ],
)
def test_destination_is_a_path_of_the_core(urls: CoreUrls, value: str, path: str) -> None:
    assert urls.destination(value, "127.0.0.1:8080") == path


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
def test_destination_outside_of_the_core_is_rejected(urls: CoreUrls, value: str) -> None:
    with pytest.raises(ValueError, match="not a URL of this Core"):
        urls.destination(value, "127.0.0.1:8080")


def test_value_that_is_not_ascii_is_found() -> None:
    fields = [(b"host", b"a"), (b"cookie", b"a=1"), (b"cookie", b"b=2"), (b"x-tab", b"a\tb")]
    assert invalid_value(fields) is None
    assert invalid_value((*fields, (b"x-name", "café".encode()))) == b"x-name"


@pytest.mark.parametrize(
    "name",
    b"strict-transport-security alt-svc clear-site-data service-worker-allowed use-as-dictionary"
    b" accept-ch origin-agent-cluster nel report-to public-key-pins x-accel-redirect"
    b" x_accel_redirect x-sendfile surrogate-control cdn-cache-control proxy-authenticate"
    b" x-envoy-upstream-service-time gatehouse-key-id gatehouse-request-id date upgrade".split(),
)
def test_response_header_for_proxies_or_the_whole_host_is_not_returned(name: bytes) -> None:
    assert received((name.decode(), "1"), ("x-kept", "1")) == [(b"x-kept", b"1")]


@pytest.mark.parametrize(
    "name",
    b"content-type content-length vary www-authenticate server via access-control-allow-origin"
    b" content-security-policy retry-after x-ratelimit-remaining x-frame-options request-id"
    b" x-request-id x_custom sec-websocket-protocol".split(),
)
def test_other_response_header_is_returned(name: bytes) -> None:
    assert received((name.decode(), "caf\xe9")) == [(name, b"caf\xe9")]


OWN_URL = "https://gateway.test/cores/docs/login"
OTHER_CORE = "https://gateway.test/cores/other/"
USER_INFO = "http://core.internal:9000@elsewhere.test/"


LOCATIONS = [
    (STRIPPED, "/login?next=%2F#top", "/cores/docs/login?next=%2F#top"),
    (STRIPPED, "http://core.internal:9000/login", "/cores/docs/login"),
    (STRIPPED, "https://CORE.internal:9000", "/cores/docs/"),
    (STRIPPED, "//core.internal:9000/login", "/cores/docs/login"),
    (STRIPPED, "https://gateway.test/login", "/cores/docs/login"),
    (STRIPPED, OWN_URL, OWN_URL),
    (STRIPPED, OTHER_CORE, OTHER_CORE),
    (STRIPPED, "/cores/docs/login", "/cores/docs/login"),
    (STRIPPED, "/cores/docs-2", "/cores/docs/cores/docs-2"),
    (STRIPPED, "login", "/cores/docs/a/login"),
    (STRIPPED, "../../../login", "/cores/docs/login"),
    (STRIPPED, "?page=2", "/cores/docs/a/b?page=2"),
    (STRIPPED, "https://elsewhere.test/login", "https://elsewhere.test/login"),
    (STRIPPED, "//elsewhere.test/login", "//elsewhere.test/login"),
    (STRIPPED, "http://core.internal/login", "/cores/docs/login"),
    (STRIPPED, "http://user@core.internal:9000/login", "/cores/docs/login"),
    (STRIPPED, "http://core.internal:9001/login", "http://core.internal:9001/login"),
    (STRIPPED, USER_INFO, USER_INFO),
    (STRIPPED, "mailto:a@elsewhere.test", "mailto:a@elsewhere.test"),
    (KEPT, "/cores/docs/login", "/cores/docs/login"),
    (KEPT, "http://core.internal:9000/cores/docs/login", "/cores/docs/login"),
    (BASE, "/app/login", "/cores/docs/login"),
    (BASE, "http://core.internal:9000/app", "/cores/docs"),
    (BASE, "/outside", "/outside"),
    (BASE, "login", "/cores/docs/a/login"),
    (KEPT_BASE, "http://core.internal:9000/app/cores/docs/login", "/cores/docs/login"),
    (HOST, "http://core.internal:9000/login", "/login"),
    (HOST, "https://docs.cores.test:8080/cores/a?b", "/cores/a?b"),
    (HOST, "http://core.internal:9000//elsewhere.test/", "//docs.cores.test:8080//elsewhere.test/"),
    (HOST_BASE, "/app/login", "/login"),
    (HOST_BASE, "/app?page=2", "/?page=2"),
    (HOST_BASE, "../login", "/login"),
    (HOST_BASE, "http://core.internal:9000/app", "/"),
]


@pytest.mark.parametrize(("urls", "reference", "expected"), LOCATIONS)
@pytest.mark.parametrize("name", ["location", "content-location"])
def test_location_is_a_url_of_clients(
    urls: CoreUrls, name: str, reference: str, expected: str
) -> None:
    fields = [(name, reference)] * 2  # the field has one value (RFC 9110, section 10.2.2)
    assert received(*fields, urls=urls) == [(name.encode(), expected.encode())]


@pytest.mark.parametrize("path", ["//elsewhere.test/", "/\\elsewhere.test", "\\elsewhere.test"])
def test_path_of_a_location_is_not_read_as_a_host(path: str) -> None:
    location = HOST.location(f"{CORE_URL}{path}", "/")
    assert location.startswith("//docs.cores.test:8080/")
    assert "core.internal" not in location


@pytest.mark.parametrize("start", ["http:\\\\", "\\\\", "/\\", "\\/", "https:/\\"])
def test_backslashes_do_not_show_the_address_of_the_core(start: str) -> None:
    for urls in (STRIPPED, BASE, HOST, HOST_BASE):
        assert "core.internal" not in urls.location(f"{start}core.internal:9000\\login", "/")


COOKIES = [
    (STRIPPED, "a=1; Path=/; HttpOnly", "a=1; HttpOnly; Path=/cores/docs"),
    (STRIPPED, "a=1;path = /x/y", "a=1; Path=/cores/docs/x/y"),
    (STRIPPED, "a=1; Path=/cores/docs/", "a=1; Path=/cores/docs"),
    (STRIPPED, "a=1; Path=/cores/other", "a=1; Path=/cores/docs/cores/other"),
    (STRIPPED, "a=1; Secure; DOMAIN = example.com", "a=1; Secure"),
    (STRIPPED, "domain=1; Domain=core.internal", "domain=1"),
    (STRIPPED, "__host-A=1; Secure; Path=/", "__Secure-Host-A=1; Secure; Path=/cores/docs"),
    (STRIPPED, "=__Host-a=1", "__Secure-Host-a=1"),
    (HOST, "__Host-a=1; Secure; Path=/", "__Host-a=1; Secure; Path=/"),
    (STRIPPED, "a=1; Path=", "a=1"),
    (STRIPPED, "a=1; Path=/a; path; Path=/b", "a=1; Path=/cores/docs/b"),
    (STRIPPED, "a=1; Path=/a; Path=b", "a=1"),
    (KEPT, "a=1; Path=/cores/docs", "a=1; Path=/cores/docs"),
    (BASE, "a=1; Path=/app", "a=1; Path=/cores/docs"),
    (BASE, "a=1; Path=/", "a=1; Path=/cores/docs"),
    (KEPT, "a=1; Path=/cores/other", "a=1; Path=/cores/docs"),
    (HOST, "a=1; Path=/; Domain=cores.test", "a=1; Path=/"),
    (HOST_BASE, "a=1; Path=/app/x", "a=1; Path=/x"),
    (HOST_BASE, "a=1; Path=/app/", "a=1; Path=/"),
    (STRIPPED, "__Host-gatehouse=fixed; Path=/; Secure", None),
    (STRIPPED, " __host-Gatehouse-sign-in=fixed", None),
    (STRIPPED, " = __Host-gatehouse=fixed", None),
]


@pytest.mark.parametrize(("urls", "value", "expected"), COOKIES)
def test_cookie_has_the_path_of_clients_and_no_domain(
    urls: CoreUrls, value: str, expected: str | None
) -> None:
    fields = [] if expected is None else [(b"set-cookie", expected.encode())]
    assert received(("set-cookie", value), urls=urls) == fields


@pytest.mark.parametrize(
    ("cookies", "received"),
    [
        ("__Secure-Host-a=1; b=2; __Secure-Host-c=3", "__Host-a=1; b=2; __Host-c=3"),
        ("a=__Secure-Host-; __Secure-b=1", "a=__Secure-Host-; __Secure-b=1"),
    ],
)
def test_core_receives_its_cookies_for_all_paths(cookies: str, received: str) -> None:
    assert cookies_for_core(cookies) == received


@pytest.mark.parametrize(
    ("urls", "target", "value", "expected"),
    [
        (STRIPPED, "/", "a=1", "a=1; Path=/cores/docs"),
        (KEPT, "/cores/docs?b", "a=1; Secure; Path=b", "a=1; Secure; Path=/cores/docs"),
        (STRIPPED, "/", "a=1; Path=/x", "a=1; Path=/cores/docs/x"),
        (STRIPPED, "/x", "a=1", "a=1"),
        (HOST, "/", "a=1", "a=1; Path=/"),
    ],
)
def test_cookie_without_a_path_is_not_sent_to_other_cores(
    urls: CoreUrls, target: str, value: str, expected: str
) -> None:
    """The default path of a cookie from `/cores/docs` is `/cores` (RFC 6265, section 5.1.4)."""
    result = returned([("set-cookie", value)], urls, target)
    assert result == [(b"set-cookie", expected.encode())]


@given(st.text(max_size=40), st.sampled_from([STRIPPED, KEPT, BASE, HOST, HOST_BASE]))
@example("ftp://[", STRIPPED)
def test_location_never_contains_the_address_of_the_core(text: str, urls: CoreUrls) -> None:
    for reference in (text, f"{CORE_URL}/{text}"):
        location = urls.location(reference, "/x")
        assert "core.internal" not in location.removesuffix(text)
