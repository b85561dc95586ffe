"""Positions in lists of API keys. Pure."""

from __future__ import annotations

import msgspec

from gatehouse.core.keys import KeyId


class KeyPosition(msgspec.Struct, frozen=True):
    """Position of a key in a sorted list. value: the value by which the list is sorted, as text;
    empty in the order of IDs.
    """

    id: KeyId
    value: str = ""

    @classmethod
    def parse(cls, text: str) -> KeyPosition:
        key_id, _, value = text.partition(" ")
        return cls(KeyId(key_id), value)

    def __str__(self) -> str:
        return f"{self.id} {self.value}"
