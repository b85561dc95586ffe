"""Signatures of leak reports: GitHub's published example and manipulated reports."""

from __future__ import annotations

import pytest
from gatehouse.leaks.reporters import is_signed_by_github, p256_key
from gatehouse.leaks.service import location_hash

#: Key, body and signature from GitHub's documentation of the partner program.
GITHUB_ID = "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a"
GITHUB_PEM = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq
kCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==
-----END PUBLIC KEY-----
"""
GITHUB_BODY = b'[{"token":"some_token","type":"some_type","url":"some_url"}]'
GITHUB_SIGNATURE = "MEUCIQDKZokqnCjrRtw0tni+2Ltvl/uiMJ1EGumEsp1BsNr32AIgQY1YXD2nlj+XNfGK4rBfkMJ1JDOQcYXxa2sY8FNkrKc="
KEYS = {GITHUB_ID: p256_key(GITHUB_PEM)}


@pytest.mark.requirement("CG-14")
def test_githubs_published_example_is_signed_by_github() -> None:
    assert is_signed_by_github(GITHUB_BODY, GITHUB_ID, GITHUB_SIGNATURE, KEYS)


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
    assert not is_signed_by_github(body, identifier, signature, KEYS)


@pytest.mark.parametrize("pem", ["", "x", GITHUB_PEM.replace("MFkw", "MFkx")])
def test_invalid_public_key_is_rejected(pem: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        p256_key(pem)


def test_location_has_reporter_and_url() -> None:
    assert len({location_hash("a", "b"), location_hash("a", "c"), location_hash("b", "b"), location_hash("ab", "")}) == 4
