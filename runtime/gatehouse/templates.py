"""Writes texts that differ only in a few places, such as the responses for one key, by filling in a template.

A template is created from an example, which the ordinary code writes for placeholder values that occur nowhere else in the text.
The format of a text is therefore declared only once, and filling in a template takes a fraction of the time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from operator import itemgetter

_DIGITS = 14
_random = random.SystemRandom()


def placeholders(count: int) -> list[int]:
    """Random numbers of the same length that cannot be guessed. As a float, each number has the same digits, followed by `.0`."""
    return [_random.randrange(10 ** (_DIGITS - 1), 10**_DIGITS) for _ in range(count)]


class Template:
    """An encoded text with variable parts."""

    __slots__ = ("_order", "_text")

    def __init__(self, example: bytes, parts: Sequence[str | int | float]) -> None:
        """parts: the variable parts of the example. `fill` replaces each part with the value at the same position: encoded text
        for a part of type str, otherwise a number. A value whose part does not occur in the example is ignored. Raises
        ValueError if a part occurs twice, or if no part occurs."""
        texts = [str(part).encode() for part in parts]
        if any(example.count(text) > 1 for text in texts):
            raise ValueError("a variable part occurs twice")
        found = sorted((example.index(text), index) for index, text in enumerate(texts) if text in example)
        if not found:
            raise ValueError("no variable part occurs in the example")
        self._order = itemgetter(*(index for _, index in found))
        encoded = example.replace(b"%", b"%%")
        for _, index in found:
            # `%b` inserts bytes, `%a` the digits of a number. Formatting text and encoding it would take twice as long.
            encoded = encoded.replace(texts[index], b"%b" if isinstance(parts[index], str) else b"%a")
        self._text = encoded

    def fill(self, values: Sequence[bytes | int | float]) -> bytes:
        """The text with these values, one for each part."""
        text: bytes = self._text % self._order(values)
        return text
