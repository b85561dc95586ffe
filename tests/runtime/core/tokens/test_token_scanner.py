"""Key scanner."""

import base64
import json

import pytest
from gatehouse.core.tokens.token import checksum
from gatehouse.core.tokens.token_scanner import (
    _HEADER_BYTES_MAX,
    CORE_PREFIX,
    WEBHOOK_PREFIX,
    Kind,
    find,
    has_token,
    redacted,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.canaries import TOKENS
from tests.runtime.tokens import unknown_token


def token(prefix: str = "gtk", environment: str = "test") -> str:
    return unknown_token(prefix, environment).text


def test_keys_are_reported_with_line_and_without_secret() -> None:
    first, second = token(), token("acme_sk", "live")
    text = f"a = 1\nkey = '{first}'\n\n{second} {first}\n".encode()
    result = list(find(text))
    assert [(item.line, item.text) for item in result] == [(2, first), (4, second), (4, first)]
    assert result[1].redacted == f"acme_sk_live_{result[1].key_id}..."
    assert all(text[item.position :].startswith(item.text.encode()) for item in result)


@pytest.mark.parametrize(
    ("secret", "found"),
    [
        ("wJalrXUtnFEMIK7MDENGbPxRfiCYzEsK5qVd2hT8uLo", [Kind.CORE_SECRET]),
        ("A" * 43, []),
        (base64.b64encode(bytes(range(1, 34))).decode()[:43], [Kind.CORE_SECRET]),
    ],
)
def test_repeated_character_is_an_example(secret: str, found: list[Kind]) -> None:
    assert [match.kind for match in find(f"secret={CORE_PREFIX}{secret}".encode())] == found


@pytest.mark.parametrize(("first", "is_found"), [(0, False), (224, False), (None, True)])
def test_consecutive_bytes_are_an_example(first: int | None, *, is_found: bool) -> None:
    """In standard webhooks secrets, for example."""
    raw = bytes(range(32, 0, -1)) if first is None else bytes(range(first, first + 32))
    text = WEBHOOK_PREFIX + base64.b64encode(raw).decode()
    assert bool(list(find(text.encode()))) is is_found


def test_changed_character_is_not_a_key() -> None:
    item = token()
    for at in (0, 5, 12, 40, len(item) - 1):
        changed = item[:at] + ("x" if item[at] != "x" else "y") + item[at + 1 :]
        assert list(find(changed.encode())) == []
    head = "a\n_admin_" + "0" * 43
    assert not has_token(head + checksum(head))


@pytest.mark.parametrize(
    "before", ["", "KEY=", "x_", "my_key_", "Bearer ", "https://a/", "0" * 40, "_", "ü"]
)
@pytest.mark.parametrize("after", ["", '"', "\r\n", "/x", "ABC", "_test_"])
def test_adjacent_text_does_not_hide_a_key(before: str, after: str) -> None:
    item = token()
    assert [result.text for result in find(f"{before}{item}{after}".encode())] == [item]


def test_keys_in_text_are_redacted() -> None:
    item = token()
    text = f"https://ü.example/{item}?again={item}#end"
    assert redacted(text) == text.replace(item, f"{item[:21]}...")


@given(
    st.lists(
        st.one_of(st.sampled_from([text for _, text, _ in TOKENS]), st.text(max_size=8)), max_size=4
    )
)
def test_redacted_text_contains_no_secret(parts: list[str]) -> None:
    text = "".join(parts)
    clean = redacted(text)
    assert [secret for _, _, secret in TOKENS if secret in clean] == []
    assert has_token(text) is (clean != text)


@given(st.binary(max_size=300))
def test_noise_holds_no_key(noise: bytes) -> None:
    assert list(find(noise)) == []


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_surrounding_bytes_do_not_hide_a_key(before: bytes, after: bytes) -> None:
    item = token()
    assert item in [result.text for result in find(before + b" " + item.encode() + after)]


def web_token(header_bytes: int) -> str:
    empty = json.dumps({"alg": "RS256", "kid": ""})
    header = empty.replace('""', f'"{"a" * (header_bytes * 3 // 4 - len(empty))}"')
    encoded = base64.urlsafe_b64encode(header.encode()).rstrip(b"=").decode()
    return f"{encoded}.eyJzdWIiOiJhYmMifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(("more", "found"), [(0, 1), (4, 0)])
def test_header_of_a_web_token_is_searched_up_to_a_size(more: int, found: int) -> None:
    text = web_token(_HEADER_BYTES_MAX + more)
    assert [match.text for match in find(text.encode(), {Kind.JSON_WEB_TOKEN})] == [text] * found
