"""Sealed secrets: opened by the pepper and the owner that they were sealed for, and by nothing else."""

from __future__ import annotations

import pytest
from gatehouse.crypto.sealed_secret import seal, unseal
from gatehouse.crypto.token import Pepper

PEPPER = Pepper({1: b"p" * 32, 2: b"q" * 32}, 2)
SECRET = bytes(range(32))
SEALED = seal(SECRET, "owner", b"n" * 12, PEPPER, 1) or b""


@pytest.mark.requirement("CG-02")
def test_a_sealed_secret_is_opened_by_the_generation_that_sealed_it() -> None:
    assert unseal(SEALED, "owner", PEPPER, 1) == SECRET
    assert SECRET not in SEALED


@pytest.mark.parametrize(
    ("sealed", "owner", "generation"),
    [
        (SEALED, "owner", 2),
        (SEALED, "owner", 3),
        (SEALED, "another", 1),
        (SEALED[:-1] + bytes([SEALED[-1] ^ 1]), "owner", 1),
        (SEALED[:5], "owner", 1),
        (b"", "owner", 1),
    ],
)
def test_anything_else_opens_nothing(sealed: bytes, owner: str, generation: int) -> None:
    assert unseal(sealed, owner, PEPPER, generation) is None


def test_nothing_is_sealed_under_a_generation_that_is_not_held() -> None:
    assert seal(SECRET, "owner", b"n" * 12, PEPPER, 3) is None
