"""Positions and results of queries for API keys. Pure."""

from __future__ import annotations

from enum import StrEnum

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


class Effective(StrEnum):
    """When a change takes effect."""

    EVERYWHERE = "everywhere"  # confirmed by every live gateway worker
    WITHIN_BOUND = (
        "within_bound"  # stored; a worker that does not receive the change in time denies all keys
    )
