"""Paths of Core requests: accepted paths are forwarded unchanged, ambiguous paths are rejected."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

import pytest
from gatehouse.http.paths import CORE_NAME, CorePath, core_path, flaw
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
def test_anything_else_is_no_name(name: str) -> None:
    assert not CORE_NAME.fullmatch(name)
