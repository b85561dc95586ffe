"""Token format."""

import hmac

import pytest
from gatehouse.core.errors import SettingsError
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.tokens.token import (
    ALPHABET,
    Pepper,
    base62,
    build,
    checksum,
    parse,
    read_pepper,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.runtime.tokens import unknown_token

TOKEN = unknown_token().text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abcdefghijklmnopqrstuvwxyz0123", "2LolCm"),
        ("0" * 30, "2C8GjS"),
        ("gtk_live_abcdefghijklmnopqrstuvwxyz0123", "0AftsS"),  # padded with zeros
    ],
)
def test_checksum_of_published_values(text: str, expected: str) -> None:
    assert checksum(text) == expected


@pytest.mark.parametrize(
    "secret", [bytes(range(40)), b"k" * 131], ids=["short", "longer than a block"]
)
def test_digest_is_hmac_sha256(secret: bytes) -> None:
    assert Pepper({3: secret}, 3).digest(TOKEN, 3) == hmac.digest(secret, TOKEN.encode(), "sha256")


def test_removed_generation_matches_nothing() -> None:
    pepper = Pepper({2: bytes(32)}, 2)
    assert pepper.digest(TOKEN, 1) is None
    assert not pepper.matches(TOKEN, bytes(32), 1)


@pytest.mark.parametrize(("generations", "current"), [({1: bytes(32)}, 2), ({1: bytes(31)}, 1)])
def test_invalid_pepper_is_rejected(generations: dict[int, bytes], current: int) -> None:
    with pytest.raises(ValueError, match="pepper"):
        Pepper(generations, current)


@pytest.mark.parametrize(
    "text", ["canary", "{}", '{"current": 1, "generations": {"1": "canary"}}', '{"current": 1}']
)
def test_setting_of_another_form_is_rejected_without_its_value(text: str) -> None:
    with pytest.raises(SettingsError, match="NAME must have the form") as error:
        read_pepper(SecretStr(text), "NAME")
    assert "canary" not in str(error.value)


def test_pepper_repr_hides_secrets() -> None:
    assert "kkk" not in repr(Pepper({1: b"k" * 32}, 1))


@given(
    st.binary(min_size=9, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.sampled_from(KeyEnvironment),
)
def test_built_token_is_parsed_back(
    id_bytes: bytes, secret: bytes, environment: KeyEnvironment
) -> None:
    pepper = Pepper({1: bytes(32)}, 1)
    built = build("acme_sk", environment, id_bytes, secret, pepper=pepper, generation=1)
    parsed = parse(built.text, "acme_sk")
    assert parsed == built
    assert parsed is not None
    assert len(parsed.id) == 12


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(ALPHABET + "_-ü "))
def test_changed_character_fails_checksum(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    assert (parse(changed, "gtk") is None) == (changed != TOKEN)


@given(st.text(max_size=120))
def test_any_text_is_parsed_or_none(text: str) -> None:
    assert parse(text, "gtk") is None


def test_token_with_other_prefix_is_not_parsed() -> None:
    assert parse(TOKEN, "acme") is None


def test_parsed_token_repr_hides_secret() -> None:
    assert TOKEN[-40:] not in repr(parse(TOKEN, "gtk"))


@given(st.integers(0, 62**12))
def test_base62_preserves_order(number: int) -> None:
    digits = base62(number, 13)
    assert (
        sum(ALPHABET.index(digit) * 62**power for power, digit in enumerate(reversed(digits)))
        == number
    )
