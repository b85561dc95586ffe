"""Finding keys in text: every one, with its line, and nothing that only looks like one."""

from __future__ import annotations

import secrets

import pytest
from gatehouse.crypto.token import build
from gatehouse.keys.models import KeyEnvironment
from gatehouse.leaks.scanner import find, redact_keys
from hypothesis import given
from hypothesis import strategies as st


def token(prefix: str = "gtk", environment: str = "test") -> str:
    return build(prefix, KeyEnvironment(environment), secrets.token_bytes(12), secrets.token_bytes(32)).text


@pytest.mark.requirement("CG-14")
def test_every_key_is_found_with_its_line_and_without_its_secret() -> None:
    first, second = token(), token("acme_sk", "live")
    text = f"a = 1\nkey = '{first}'\n\n{second} {first}\n".encode()
    found = list(find(text))
    assert [(one.line, one.token.text) for one in found] == [(2, first), (4, second), (4, first)]
    assert found[1].redacted == f"acme_sk_live_{found[1].token.id}..."
    assert [text[one.position : one.position + len(one.token.text)].decode() for one in found] == [first, second, first]


def test_one_wrong_character_makes_it_none() -> None:
    one = token()
    for at in (0, 5, 12, 40, len(one) - 1):
        changed = one[:at] + ("x" if one[at] != "x" else "y") + one[at + 1 :]
        assert list(find(changed.encode())) == []


@pytest.mark.parametrize("before", ["", "KEY=", "x_", "my_key_", "Bearer ", "https://a/", "0" * 40, "_", "ü"])
@pytest.mark.parametrize("after", ["", '"', "\r\n", "/x", "ABC", "_test_"])
def test_text_that_touches_a_key_does_not_hide_it(before: str, after: str) -> None:
    one = token()
    assert [found.token.text for found in find(f"{before}{one}{after}".encode())] == [one]


def test_only_the_brands_that_are_named_are_looked_for() -> None:
    ours, theirs = token("gtk"), token("acme_sk")
    text = f"{ours} {theirs}".encode()
    assert [one.token.text for one in find(text, ["acme_sk"])] == [theirs]
    assert list(find(text, ["sk"])) == []


def test_keys_in_a_text_are_redacted_and_the_rest_is_kept() -> None:
    one = token()
    clean = redact_keys(f"https://ü.example/{one}?again={one}#end")
    assert one not in clean
    assert clean == f"https://ü.example/{one[:21]}...?again={one[:21]}...#end"


@given(st.binary(max_size=300))
def test_noise_holds_no_key(noise: bytes) -> None:
    assert list(find(noise)) == []


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_no_surroundings_hide_a_key(before: bytes, after: bytes) -> None:
    one = token()
    assert one in [found.token.text for found in find(before + b" " + one.encode() + after)]
