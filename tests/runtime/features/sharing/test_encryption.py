"""Encryption of secrets: round trips, and every alteration is detected."""

from __future__ import annotations

import os

import msgspec
import pytest
from gatehouse.features.sharing import encryption
from gatehouse.features.sharing.encryption import (
    CHUNK_BYTES,
    Context,
    DecryptionFailed,
    ItemEncryptor,
    ciphertext_size,
    decrypt_item,
    encrypt_item,
    item_key,
)
from hypothesis import given
from hypothesis import strategies as st

CONTENT_KEY, DATA_KEY = bytes(range(32)), bytes(range(32, 64))
SECRET, PATH = "a" * 43, "p" * 28
CONTEXT = Context("prod", "s" * 22, "l" * 6, 3, 1_900_000_000)


def pieces(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def decrypted(ciphertext: bytes, key: bytes = CONTENT_KEY, number: int = 0) -> bytes:
    return b"".join(decrypt_item([ciphertext], item_key(key, number)))


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
def test_item_in_pieces_of_any_size(size: int) -> None:
    content = os.urandom(size)
    encryptor = ItemEncryptor(CONTENT_KEY, 7)
    ciphertext = b"".join(
        [*(encryptor.update(piece) for piece in pieces(content, 10_007)), encryptor.finish()]
    )
    assert len(ciphertext) == ciphertext_size(size)
    assert b"".join(decrypt_item(pieces(ciphertext, 999), item_key(CONTENT_KEY, 7))) == content


@given(st.binary(max_size=300), st.data())
def test_altered_item_is_rejected(content: bytes, data: st.DataObject) -> None:
    ciphertext = bytearray(encrypt_item(content, CONTENT_KEY, 0))
    ciphertext[data.draw(st.integers(0, len(ciphertext) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DecryptionFailed):
        decrypted(bytes(ciphertext))


@pytest.mark.parametrize("size", [10, 2 * CHUNK_BYTES + 5])
def test_truncated_extended_or_reordered_item_is_rejected(size: int) -> None:
    ciphertext = encrypt_item(os.urandom(size), CONTENT_KEY, 0)
    chunk = CHUNK_BYTES + 17
    swapped = (
        ciphertext[:24]
        + ciphertext[24 + chunk : 24 + 2 * chunk]
        + ciphertext[24 : 24 + chunk]
        + ciphertext[24 + 2 * chunk :]
    )
    cases = [
        b"",
        ciphertext[:10],
        ciphertext[:24],
        ciphertext[:-1],
        ciphertext[:-22],
        ciphertext + b"x",
        ciphertext + ciphertext,
    ]
    for case in [*cases, *([swapped] if size > CHUNK_BYTES else [])]:
        with pytest.raises(DecryptionFailed):
            decrypted(case)


def test_item_of_another_key_or_position_is_rejected() -> None:
    ciphertext = encrypt_item(b"text", CONTENT_KEY, 0)
    for key, number in ((DATA_KEY, 0), (CONTENT_KEY, 1)):
        with pytest.raises(DecryptionFailed):
            decrypted(ciphertext, key, number)


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


def test_manifest_is_bound_to_the_content_key() -> None:
    sealed = encryption.seal_manifest(b"[]", CONTENT_KEY, os.urandom)
    assert encryption.open_manifest(sealed, CONTENT_KEY) == b"[]"
    with pytest.raises(DecryptionFailed):
        encryption.open_manifest(sealed, DATA_KEY)
