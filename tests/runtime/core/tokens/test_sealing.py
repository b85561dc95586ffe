"""Sealed values open only under their purpose and context."""

import pytest
from gatehouse.core.tokens.sealing import seal, unseal
from gatehouse.core.tokens.token import Pepper
from hypothesis import given
from hypothesis import strategies as st

PEPPER = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
SECRET, PURPOSE = bytes(range(32)), "sealed:1"

EXPORT_HEX = (
    "6e6e6e6e6e6e6e6e6e6e6e6e971b31516f556dceb3d604ee0ac542658fe953cb5b070b7bb81442752c4cb05f"
    "7ed3cbb31d00c50a40cedb6ffb88f186"
)


def nonce(size: int) -> bytes:
    return b"n" * size


SEALED = seal(SECRET, PURPOSE, PEPPER, 1, nonce, context="family")


def test_sealed_value_is_opened_by_its_generation() -> None:
    assert unseal(SEALED, PURPOSE, PEPPER, 1, context="family") == SECRET
    assert SECRET not in SEALED


@pytest.mark.parametrize(
    ("sealed", "purpose", "context", "generation"),
    [
        (SEALED, PURPOSE, "family", 2),
        (SEALED, PURPOSE, "another", 1),
        (SEALED, PURPOSE, None, 1),
        (SEALED[:5], PURPOSE, "family", 1),
        (b"", PURPOSE, "family", 1),
    ],
)
def test_altered_or_misplaced_value_is_not_opened(
    sealed: bytes, purpose: str, context: str | None, generation: int
) -> None:
    assert unseal(sealed, purpose, PEPPER, generation, context=context) is None


def test_stored_format_stays_readable() -> None:
    assert unseal(bytes.fromhex(EXPORT_HEX), "export", PEPPER, 1) == SECRET


@given(st.binary(max_size=200), st.sampled_from(["a", "b"]), st.integers(0, 300))
def test_sealed_value_is_bound_to_purpose_and_pepper(
    plain: bytes, purpose: str, flipped: int
) -> None:
    pepper, others = Pepper({1: b"p" * 32}, 1), Pepper({1: b"q" * 32}, 1)
    sealed = seal(plain, purpose, pepper, 1, nonce)
    assert unseal(sealed, purpose, pepper, 1) == plain
    assert unseal(sealed, purpose, pepper, 1, context=purpose) == plain
    assert unseal(sealed, "c", pepper, 1) is None
    assert unseal(sealed, purpose, others, 1) is None
    assert unseal(sealed, purpose, pepper, 2) is None
    at = flipped % len(sealed)
    assert (
        unseal(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], purpose, pepper, 1) is None
    )
