"""Data protection policies: credentials are masked in logs."""

import re

import pytest
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens import token as apikey
from hypothesis import given
from hypothesis import strategies as st

from components.monitoring import data_protection

PREFIXES = st.from_regex(r"[a-z][a-z0-9]{0,7}(_[a-z0-9]{1,7})?", fullmatch=True)
# CloudWatch Logs user guide, "Custom data identifier constraints".
ALLOWED_PATTERN = re.compile(r"[A-Za-z0-9_#=@/;, ^$?\[\]{}|\\*+.-]{1,200}")


def masked(prefix: str, line: str) -> str:
    for pattern in data_protection.custom_identifiers(prefix).values():
        line = re.sub(pattern, "***", line)
    return line


@given(
    PREFIXES,
    st.sampled_from(KeyEnvironment),
    st.binary(min_size=12, max_size=12),
    st.binary(min_size=32, max_size=32),
)
def test_generated_key_is_masked(
    prefix: str, environment: KeyEnvironment, id: bytes, secret: bytes
) -> None:
    pepper = apikey.Pepper({1: bytes(32)}, 1)
    key = apikey.build(prefix, environment, id, secret, pepper=pepper, generation=1).text
    assert masked(prefix, f'{{"path": "/x?key={key}"}}') == '{"path": "/x?key=***"}'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"gtk_admin_{'a' * 43}000000", "***"),
        ("gtk_signin_" + "aB3-_" * 8 + "xyz", "***"),
        ("gatehouse_session_" + "aB3-_" * 8 + "xyz", "***"),
        ("gatehouse_core_" + "aB3-_" * 8 + "xyz", "***"),
        ("secret whsec_" + "a" * 43 + "=", "secret ***"),
        ("https://a.test/s/" + "a" * 28 + "#" + "b" * 43, "https://a.test/s/aaaaaa***"),
        ("Authorization: Bearer abcdefghijklmnopqrstuvwxyz.1-2_3=", "Authorization: ***"),
        ("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "***"),
        ("key gtk_test_3fGh82kLmQ0a was denied", "key gtk_test_3fGh82kLmQ0a was denied"),
    ],
)
def test_credentials_are_masked_and_key_ids_are_not(line: str, expected: str) -> None:
    assert masked("gtk", line) == expected


def test_base62_lengths_match_the_runtime() -> None:
    assert (apikey.BODY_CHARS, apikey.SECRET_CHARS) == (
        data_protection.KEY_BODY_CHARS,
        data_protection.TOKEN_CHARS,
    )


@given(PREFIXES)
def test_patterns_meet_cloudwatch_constraints(prefix: str) -> None:
    identifiers = data_protection.custom_identifiers(prefix)
    assert len(identifiers) <= 10
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,128}", name) for name in identifiers)
    assert all(ALLOWED_PATTERN.fullmatch(pattern) for pattern in identifiers.values())
