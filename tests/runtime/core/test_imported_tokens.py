"""Tokens of imported keys: published hash vectors, derived IDs and candidates."""

from __future__ import annotations

import base64
import hashlib

import pytest
from gatehouse.core.imported_tokens import (
    SCHEMES,
    ImportedKeyIds,
    imported_key_id,
    is_token,
    material,
    material_of_hash,
    read_hash,
    split_token,
)
from gatehouse.core.token import Pepper, is_marked
from hypothesis import given
from hypothesis import strategies as st

OLD, NEW = b"p" * 32, b"n" * 32
PEPPER = Pepper({1: OLD, 2: NEW}, 2)
TOKENS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=512)


def test_published_sha_vectors() -> None:
    # FIPS 180-4 examples: "abc" and the two-block message.
    two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
    assert (
        material("sha256", two_blocks)
        == "sha256:248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    )
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert material("sha256-secret", "anything.abc") == f"sha256-secret:{abc}"
    assert material_of_hash("sha256", bytes.fromhex(abc)) == f"sha256:{abc}"


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("a.b:c_d", ("a", "b:c_d")),
        ("a.b.c", ("a.b", "c")),
        ("a:b_c", ("a", "b_c")),
        ("mycompany_BRTRKFsL_secret", ("mycompany_BRTRKFsL", "secret")),
        ("abc", None),
        (".abc", None),
        ("abc.", None),
    ],
)
def test_token_is_split_at_last_separator(token: str, expected: tuple[str, str] | None) -> None:
    assert split_token(token) == expected


@given(TOKENS)
def test_no_candidates_without_imported_keys(token: str) -> None:
    without_imports = ImportedKeyIds(PEPPER)
    without_imports.add("own", 1)
    assert without_imports.candidates(token) == []


@given(
    TOKENS,
    st.sets(st.sampled_from(SCHEMES), min_size=1),
    st.sets(st.sampled_from([1, 2, 3]), min_size=1),
)
def test_one_candidate_per_scheme_and_generation(
    token: str, schemes: set[str], generations: set[int]
) -> None:
    known = ImportedKeyIds(PEPPER)
    for scheme in schemes:
        for generation in generations:
            known.add(scheme, generation)
            known.add(scheme, generation)
    result = known.candidates(token)
    current = len(generations - {3})
    assert len(result) == current * sum(material(scheme, token) is not None for scheme in schemes)
    assert all(
        is_marked(item.id, PEPPER) and token not in item.material and item.material.isascii()
        for item in result
    )
    assert len({item.id for item in result}) == len(result)


@given(
    st.sampled_from(["sha256", "sha512"]),
    st.binary(max_size=40),
    st.sampled_from(["hex", "HEX", "base64", "url"]),
)
def test_hash_is_read_in_every_encoding(algorithm: str, secret: bytes, spelling: str) -> None:
    digest = hashlib.new(algorithm, secret).digest()
    written = {
        "hex": digest.hex(),
        "HEX": digest.hex().upper(),
        "base64": base64.b64encode(digest).decode(),
        "url": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }[spelling]
    assert read_hash(algorithm, written) == digest


@given(st.sampled_from(["sha256", "sha512"]), st.text(max_size=200))
def test_malformed_hash_is_rejected_without_quoting_it(algorithm: str, text: str) -> None:
    message = ""
    try:
        read_hash(algorithm, text)
    except ValueError as exc:
        message = str(exc)
    assert len(text) < 8 or text not in message


@given(st.text(max_size=600))
def test_token_is_bounded_visible_ascii(text: str) -> None:
    assert is_token(text) == (
        8 <= len(text) <= 512 and all("!" <= character <= "~" for character in text)
    )


def test_ids_differ_by_scheme_generation_and_pepper() -> None:
    materials = [material(scheme, "some.token") or "" for scheme in SCHEMES]
    ids = {imported_key_id(text, PEPPER, generation) for text in materials for generation in (1, 2)}
    assert len(ids) == 8
    assert imported_key_id(materials[0], PEPPER, 3) is None
    assert imported_key_id(materials[0], Pepper({1: NEW}, 1), 1) == imported_key_id(
        materials[0], PEPPER, 2
    )
