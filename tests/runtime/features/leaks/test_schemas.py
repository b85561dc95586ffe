"""Leak reports: any input is parsed or rejected, and never quoted; GitHub's published signature and
manipulated reports.
"""

from __future__ import annotations

import json

import pytest
from gatehouse.core.errors import BadRequest
from gatehouse.features.leaks.schemas import (
    LeakReport,
    LeakReports,
    is_signed_by_github,
    label,
    p256_key,
)
from gatehouse.features.leaks.service import location_hash
from gatehouse.platform.http.validation import decode_body
from hypothesis import given
from hypothesis import strategies as st

CANARY = "gtk_live_canary"
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_rejected(body: bytes) -> None:
    try:
        assert isinstance(decode_body(body, LeakReports), list)
    except BadRequest:
        return


@given(_json)
def test_any_json_is_parsed_or_rejected(value: object) -> None:
    try:
        decode_body(json.dumps(value).encode(), LeakReports)
    except BadRequest:
        return


@pytest.mark.parametrize(
    "body",
    [CANARY, f'[{{"token": ["{CANARY}"]}}]', f'[{{"{CANARY}": 1}}]', f'{{"token": "{CANARY}"}}'],
)
def test_error_does_not_quote_the_body(body: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_body(body.encode(), LeakReports)
    assert (
        CANARY
        not in f"{caught.value} {caught.value.public} {caught.value.detail} {caught.value.errors}"
    )
    assert CANARY not in repr(LeakReport(CANARY))


def test_label_contains_the_documented_token_hash() -> None:
    """Base64 of the SHA-256 of the token."""
    result = label(LeakReport("abc", "a_type"), is_key=True)
    # FIPS 180-2, appendix B.1.
    assert result.token_hash == "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
    assert (result.token_type, result.label) == ("a_type", "true_positive")


#: Key, body and signature from GitHub's documentation of the partner program.
GITHUB_ID = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"
GITHUB_PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq
kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==
-----END PUBLIC KEY-----
"""
GITHUB_BODY = b'[{"token":"some_token","type":"some_type","url":"some_url"}]'
GITHUB_SIGNATURE = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc="  # noqa: E501
KEYS = {GITHUB_ID: p256_key(GITHUB_PEM)}


def signed_headers(identifier: str, signature: str) -> dict[str, str]:
    return {"github-public-key-identifier": identifier, "github-public-key-signature": signature}


@pytest.mark.requirement("CG-14")
def test_githubs_published_example_is_signed_by_github() -> None:
    assert is_signed_by_github(signed_headers(GITHUB_ID, GITHUB_SIGNATURE), GITHUB_BODY, KEYS)


@pytest.mark.parametrize(
    ("body", "identifier", "signature"),
    [
        (GITHUB_BODY + b" ", GITHUB_ID, GITHUB_SIGNATURE),
        (GITHUB_BODY, "f" * 64, GITHUB_SIGNATURE),
        (GITHUB_BODY, "", GITHUB_SIGNATURE),
        (GITHUB_BODY, GITHUB_ID, ""),
        (GITHUB_BODY, GITHUB_ID, GITHUB_SIGNATURE[:-8]),
        (GITHUB_BODY, GITHUB_ID, "not base64"),
        (GITHUB_BODY, GITHUB_ID, "A" * 201),
        (b"", GITHUB_ID, GITHUB_SIGNATURE),
    ],
)
def test_changed_report_is_rejected(body: bytes, identifier: str, signature: str) -> None:
    assert not is_signed_by_github(signed_headers(identifier, signature), body, KEYS)


@pytest.mark.parametrize("pem", ["", "x", GITHUB_PEM.replace("MFkw", "MFkx")])
def test_invalid_public_key_is_rejected(pem: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        p256_key(pem)


def test_location_has_reporter_and_url() -> None:
    assert (
        len(
            {
                location_hash("a", "b"),
                location_hash("a", "c"),
                location_hash("b", "b"),
                location_hash("ab", ""),
            }
        )
        == 4
    )
