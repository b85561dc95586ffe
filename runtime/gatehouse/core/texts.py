"""The classes of text, and what each may contain. Pure.

    name        one line that people read: names, owners, labels, senders, recipients, reasons
    note        a name with several lines: notes, values of metadata, purposes
    content     the text of a secret: any text, unchanged
    passphrase  any text, compared in one form (RFC 8265, OpaqueString)
    identifier  text that programs compare: IDs, addresses, URLs, tokens; mostly by a pattern

Every text is stored as it was sent. Forms and the command line remove white space around a name.
A search ignores how a name was typed: case, composed and decomposed letters, widths and joiners.
"""

import re
import unicodedata
from enum import StrEnum
from typing import Any

import msgspec

#: Zero-width non-joiner and joiner, which some scripts and emoji need (Unicode Standard, 23.2).
JOINERS = "\u200c\u200d"
_WITHOUT_JOINERS = {ord(joiner): None for joiner in JOINERS}
#: A joiner between two visible characters, and a flag of a region (Unicode TR 51, ED-14a).
_SEQUENCE = re.compile(
    rf"(?<=[^\s{JOINERS}])[{JOINERS}](?=[^\s{JOINERS}])"
    "|\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
)
#: Letters and marks without a visible form (Unicode, Default_Ignorable_Code_Point, and Braille).
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
#: Control, format, private and surrogate characters, and separators of lines and paragraphs.
_INVISIBLE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
_NONCHARACTER = re.compile(
    "[\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
    + "]"
)


class TextClass(StrEnum):
    NAME = "name"
    NOTE = "note"
    CONTENT = "content"
    PASSPHRASE = "passphrase"  # noqa: S105 - a class
    IDENTIFIER = "identifier"


def matching(pattern: str, form: str, **constraints: Any) -> msgspec.Meta:
    """Constraints for an identifier that matches `pattern` as a whole. Uses `\\Z`, because Python's
    `$` also matches before a final line feed.

    form: the pattern for people, with an example, such as `1 to 16 uppercase letters, such as GET`.
        Problems say that the text must be this.
    """
    return msgspec.Meta(
        pattern=rf"^(?:{pattern})\Z",
        extra={"text": TextClass.IDENTIFIER, "form": form},
        **constraints,
    )


def is_visible(character: str) -> bool:
    """True for a character that people can see, and for a space of any width. Characters of later
    versions of Unicode are visible.
    """
    return not (
        unicodedata.category(character) in _INVISIBLE
        or character in _BLANK
        or _NONCHARACTER.match(character)
    )


def visible(text: str, replacement: str = "") -> str:
    """The text of a name with a replacement for each character that a name must not contain."""
    parts, end = list[str](), 0
    for match in _SEQUENCE.finditer(text):
        parts += (_visible(text[end : match.start()], replacement), match[0])
        end = match.end()
    return "".join((*parts, _visible(text[end:], replacement)))


def _visible(text: str, replacement: str) -> str:
    if text.isprintable() and text.isascii():
        return text
    return "".join(each if is_visible(each) else replacement for each in text)


def single_line(text: str) -> str:
    """The problem with a name, or an empty string."""
    if text != text.strip():
        return "must not begin or end with a space"
    if visible(text) == text:
        return ""
    return "must not contain control characters or invisible characters"


def multi_line(text: str) -> str:
    """The problem with a note, or an empty string."""
    lines = re.split(r"\r?\n|\t", text)
    if all(visible(line) == line for line in lines):
        return ""
    return (
        "must not contain control characters or invisible characters other than line ends and tabs"
    )


def search_form(text: str) -> str:
    """The form in which a search compares names. The function of this name in the database returns
    the same for a name.
    """
    return unicodedata.normalize("NFKC", text.translate(_WITHOUT_JOINERS)).lower()


def passphrase_form(text: str) -> str:
    """The form in which passphrases are compared: the keyboards of macOS and Windows send the same
    letter in different ways (RFC 8265, section 4.2.2).
    """
    spaced = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    return unicodedata.normalize("NFC", spaced)


def first_line(text: str) -> str:
    """Content from standard input: text of one line without its line end, which the program that
    wrote the line added, and text of several lines unchanged.
    """
    line, end, rest = text.partition("\n")
    return line.removesuffix("\r") if end and not rest else text
