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
