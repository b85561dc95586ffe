"""Parsing of leak reports: any input is parsed or rejected, and never quoted."""

from __future__ import annotations

import json

import pytest
from gatehouse.errors import BadRequest
from gatehouse.leaks.schemas import LeakReport, decode, label
from hypothesis import given
from hypothesis import strategies as st

CANARY = "gtk_live_canary"
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_rejected(body: bytes) -> None:
    try:
        assert isinstance(decode(body), list)
    except BadRequest:
        return


@given(_json)
def test_any_json_is_parsed_or_rejected(value: object) -> None:
    try:
        decode(json.dumps(value).encode())
    except BadRequest:
        return


@pytest.mark.parametrize("body", [CANARY, f'[{{"token": ["{CANARY}"]}}]', f'[{{"{CANARY}": 1}}]', f'{{"token": "{CANARY}"}}'])
def test_error_does_not_quote_the_body(body: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(body.encode())
    assert CANARY not in f"{caught.value} {caught.value.public} {caught.value.detail} {caught.value.errors}"
    assert CANARY not in repr(LeakReport(CANARY))


def test_label_contains_the_documented_token_hash() -> None:
    """Base64 of the SHA-256 of the token."""
    result = label(LeakReport("abc", "a_type"), is_key=True)
    assert result.token_hash == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="  # FIPS 180-2, appendix B.1
    assert (result.token_type, result.label) == ("a_type", "true_positive")
