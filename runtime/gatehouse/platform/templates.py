"""Writes texts that differ only in a few places, such as the responses for one key, by filling in a
template.

A template is created from an example, which the ordinary code writes for placeholder values that
occur nowhere else in the text. The format of a text is therefore declared only once, and filling in
a template takes a fraction of the time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from operator import itemgetter

_DIGITS = 14
_random = random.SystemRandom()


def placeholders(count: int) -> list[int]:
    """Random numbers of the same length that cannot be guessed. As a float, each number has the
    same digits, followed by `.0`.
    """
    return [_random.randrange(10 ** (_DIGITS - 1), 10**_DIGITS) for _ in range(count)]


class Template:
    """A text in UTF-8 with variable parts."""

    __slots__ = ("_order", "_parts")

    def __init__(self, example: bytes, parts: Sequence[str | int | float]) -> None:
        """parts: the variable parts of the example. `fill` replaces each part with the value at the
        same position. A value whose part does not occur in the example is ignored. Raises
        ValueError if a part occurs twice, or if no part occurs.
        """
        text, texts = example.decode(), [str(part) for part in parts]
        if any(text.count(part) > 1 for part in texts):
            raise ValueError("a variable part occurs twice")
        found = sorted(
            (text.index(part), index) for index, part in enumerate(texts) if part in text
        )
        if not found:
            raise ValueError("no variable part occurs in the example")
        order = [index for _, index in found]
        self._order = (
            itemgetter(*order) if len(order) > 1 else itemgetter(slice(order[0], order[0] + 1))
        )
        #: Constant parts, with a variable part after each one but the last.
        self._parts: list[str] = []
        for _, index in found:
            constant, _, text = text.partition(texts[index])
            self._parts += (constant, "")
        self._parts.append(text)

    def fill(self, values: Sequence[str]) -> bytes:
        """The text with these values, one for each part. Joining the parts takes half the time of
        formatting bytes with `%`.
        """
        parts = self._parts.copy()
        parts[1::2] = self._order(values)
        return "".join(parts).encode()
