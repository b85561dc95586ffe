"""Tokens of imported keys."""

import base64
import hashlib

import pytest
from gatehouse.core.tokens.imported_tokens import (
    SCHEME,
    ImportedKeyIds,
    hash_material,
    imported_key_id,
    is_token,
    material,
)
from gatehouse.core.tokens.token import Pepper, is_marked
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = b"p" * 32, b"n" * 32
PEPPER = Pepper({1: OLD, 2: NEW}, 2)
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=512)


def test_published_sha_vectors() -> None:
    # FIPS 180-4 examples: "abc" and the two-block message.
    two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert material(two_blocks) == (
        "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    )
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert material("abc") == f"sha256:{abc}"


@given(TOKENS, st.sets(st.sampled_from([1, 2, 3]), min_size=1))
def test_one_candidate_per_generation(token: str, generations: set[int]) -> None:
    known = ImportedKeyIds(PEPPER)
    for generation in generations:
        known.add(SCHEME, generation)
        known.add(SCHEME, generation)
    text, ids = known.candidates(token)
    assert len({*ids}) == len(ids) == len(generations - {3})
    assert all(is_marked(each, PEPPER) for each in ids)
    assert (token in text, text.isascii()) == (False, True)


@given(st.text(max_size=600))
def test_token_is_bounded_visible_ascii(text: str) -> None:
    assert is_token(text) == (
        8 <= len(text) <= 512 and all("!" <= character <= "~" for character in text)
    )


def test_ids_differ_by_token_generation_and_pepper() -> None:
    materials = [material("some.token"), material("other.token")]
    ids = {imported_key_id(text, PEPPER, generation) for text in materials for generation in (1, 2)}
    assert len(ids) == 4
    with pytest.raises(KeyError):
        imported_key_id(materials[0], PEPPER, 3)
    assert imported_key_id(materials[0], Pepper({1: NEW}, 1), 1) == imported_key_id(
        materials[0], PEPPER, 2
    )


@given(TOKENS)
def test_hash_of_a_token_is_sufficient(token: str) -> None:
    digest = hashlib.sha256(token.encode()).digest()
    standard, url_safe = base64.b64encode(digest), base64.urlsafe_b64encode(digest)
    texts = [text.decode() for text in (standard, url_safe, standard[:43], url_safe[:43])]
    for text in (digest.hex(), digest.hex().upper(), *texts):
        assert hash_material(text) == material(token)


@pytest.mark.parametrize(
    "text",
    ["", "a" * 63, "a" * 65, "g" + "a" * 63, "a" * 64 + "\n", "a" * 42, "a" * 43 + "==", "é" * 43],
)
def test_other_text_is_not_a_hash(text: str) -> None:
    assert hash_material(text) is None
