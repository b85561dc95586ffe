"""What each class of text may contain, and the forms in which texts are compared."""

import unicodedata

import pytest
from gatehouse.core.texts import (
    first_line,
    multi_line,
    passphrase_form,
    search_form,
    single_line,
    visible,
)

#: Names in the scripts and on the keyboards of the world.
NAMES = {
    "joiner in emoji": "👩‍💻 ops",
    "joiner in Persian": "می\u200cخواهم",
    "joiner in Hindi": "क्\u200dष",
    "variation of emoji": "❤️‍🔥",
    "keycap and skin": "1️⃣ 👍🏽",
    "flag of a region": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "later Unicode": "\U0001fae8 \U0001fac6",
    "wide space": "山田\u3000太郎",
    "no-break space": "Müller\u00a0GmbH\u202f!",
    "decomposed": unicodedata.normalize("NFD", "Zoë Müller"),
    "composed": "Zoë Müller",
    "right to left": "שלום a",
    "variant of an ideograph": "葛\U000e0100城",
}
#: Text without a visible form, which could hide in a name or change the order of its letters.
INVISIBLE = {
    "joiner at the end": "a\u200d",
    "joiner at the start": "\u200ca",
    "joiner beside a space": "a\u200d b",
    "two joiners": "a\u200d\u200cb",
    "direction": "a\u202eb",
    "isolate": "a\u2066b",
    "mark of a direction": "a\u200fb",
    "zero-width space": "a\u200bb",
    "byte order mark": "a\ufeffb",
    "soft hyphen": "a\u00adb",
    "filler": "a\u3164b",
    "grapheme joiner": "a\u034fb",
    "blank Braille": "\u2800",
    "tags": "a\U000e0061\U000e0062\U000e0063\U000e007f",
    "tags without an end": "\U0001f3f4\U000e0061\U000e0062\U000e0063",
    "separator": "a\u2028b",
    "control": "a\x1b[1mb",
    "surrogate": "a\ud800b",
    "private use": "a\ue000b",
    "noncharacter": "a\uffffb",
}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_name_is_accepted_and_shown(text: str) -> None:
    assert single_line(text) == multi_line(f"{text}\r\n\t{text}\n") == ""
    assert visible(text, "?") == text


@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_invisible_character_is_refused_and_replaced(text: str) -> None:
    assert "invisible" in single_line(text)
    assert "invisible" in multi_line(f"a\n{text}")
    assert single_line(visible(text, "?")) == ""


@pytest.mark.parametrize("text", [" a", "a ", "\u3000a", "a\u00a0", "a\n"])
def test_space_around_a_name_is_refused(text: str) -> None:
    assert single_line(text) == "must not begin or end with a space"


@pytest.mark.parametrize("text", ["a\nb", "a\rb", "a\tb", "a\x0bb"])
def test_name_has_one_line(text: str) -> None:
    assert "control characters" in single_line(text)


def test_lone_carriage_return_ends_no_line_of_a_note() -> None:
    assert "control characters" in multi_line("a\rb")


@pytest.mark.parametrize(
    ("stored", "typed"),
    [
        ("Zoë", unicodedata.normalize("NFD", "zoË")),
        ("می\u200cخواهم", "میخواهم"),
        ("👩\u200d💻", "👩💻"),
        ("山田\u3000太郎", "山田 太郎"),
        ("ＡＢＣ", "abc"),
    ],
)
def test_search_finds_what_was_typed_in_another_way(stored: str, typed: str) -> None:
    assert search_form(typed) in search_form(stored)


def test_passphrase_is_the_same_on_every_keyboard() -> None:
    for form in ("NFC", "NFD"):
        typed = unicodedata.normalize(form, "Größe\u00a0é ")
        assert passphrase_form(typed) == "Größe é "
    assert passphrase_form("ﬁ Ａ") == "ﬁ Ａ"  # other letters remain


@pytest.mark.parametrize(
    ("content", "stored"),
    [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\r", "a\r"),
        ("\n", ""),
        ("a\n\n", "a\n\n"),
        ("a\nb", "a\nb"),
        ("a\nb\n", "a\nb\n"),
        ("a\r\nb\r\n", "a\r\nb\r\n"),
        (" a \n", " a "),
        ("\ufeffa\n", "\ufeffa"),
    ],
)
def test_line_end_of_a_single_line_is_removed(content: str, stored: str) -> None:
    assert first_line(content) == stored
