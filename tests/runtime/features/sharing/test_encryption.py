"""Encryption of secrets: round trips, and every alteration is detected."""

from __future__ import annotations

import os

import msgspec
import pytest
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.encryption import Context, DecryptionFailed, seal, unseal
from hypothesis import given
from hypothesis import strategies as st

CONTENT_KEY, DATA_KEY = bytes(range(32)), bytes(range(32, 64))
SECRET, PATH = "a" * 43, "p" * 28
CONTEXT = Context("prod", "s" * 22, "l" * 6, 3, 1_900_000_000)


@given(st.binary(max_size=300), st.data())
def test_altered_part_is_rejected(content: bytes, data: st.DataObject) -> None:
    sealed = bytearray(seal(content, CONTENT_KEY, "item 0", os.urandom))
    assert unseal(bytes(sealed), CONTENT_KEY, "item 0") == content
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionFailed):
        unseal(bytes(sealed), CONTENT_KEY, "item 0")


def test_part_of_another_key_or_position_and_truncated_part_are_rejected() -> None:
    sealed = seal(b"text", CONTENT_KEY, "item 0", os.urandom)
    cases = [(sealed, DATA_KEY, "item 0"), (sealed, CONTENT_KEY, "item 1")]
    cases += [(sealed, CONTENT_KEY, "manifest"), (sealed + b"x", CONTENT_KEY, "item 0")]
    cases += [(sealed[:size], CONTENT_KEY, "item 0") for size in (0, 10, len(sealed) - 1)]
    for case in cases:
        with pytest.raises(DecryptionFailed):
            unseal(*case)


def test_content_key_requires_link_secret_and_data_key() -> None:
    keys = encryption.link_keys(SECRET, PATH)
    wrapped = encryption.wrap(CONTENT_KEY, keys.public_key, DATA_KEY, CONTEXT, os.urandom)
    assert encryption.unwrap(wrapped, keys.private_key, DATA_KEY, CONTEXT) == CONTENT_KEY
    others = (
        encryption.link_keys("b" * 43, PATH),
        encryption.link_keys(SECRET, "q" * 28),
        encryption.link_keys(SECRET, PATH, "p", b"s" * 16),
    )
    for other in others:
        with pytest.raises(DecryptionFailed):
            encryption.unwrap(wrapped, other.private_key, DATA_KEY, CONTEXT)
    with pytest.raises(DecryptionFailed):
        encryption.unwrap(wrapped, keys.private_key, bytes(32), CONTEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"environment": "dev"},
        {"secret": "t" * 22},
        {"link": "m" * 6},
        {"version": 4},
        {"expires_at_max": 2},
    ],
)
def test_content_key_of_another_context_is_rejected(change: dict[str, str | int]) -> None:
    keys = encryption.link_keys(SECRET, PATH)
    wrapped = encryption.wrap(CONTENT_KEY, keys.public_key, DATA_KEY, CONTEXT, os.urandom)
    with pytest.raises(DecryptionFailed):
        encryption.unwrap(
            wrapped, keys.private_key, DATA_KEY, msgspec.structs.replace(CONTEXT, **change)
        )


def test_verifier_recognizes_the_link_secret_without_the_passphrase() -> None:
    keys = encryption.link_keys(SECRET, PATH, "passphrase", b"s" * 16)
    assert encryption.matches(SECRET, PATH, keys.verifier)
    assert not encryption.matches("b" * 43, PATH, keys.verifier)
    assert keys.private_key != encryption.link_keys(SECRET, PATH).private_key
