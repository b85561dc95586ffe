"""Entries that wait for an event which another process or thread can fail to send."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gatehouse.core.clock import monotonic

Key = TypeVar("Key")
Value = TypeVar("Value")


class Pending(Generic[Key, Value]):
    """Entries in the order of their last sign of life.

    bound_s: time without a sign of life after which `expire` removes an entry. on_expired: called
    with the value of each removed entry, after its removal. clock: seconds that never go back.
    """

    __slots__ = ("_bound_s", "_clock", "_entries", "_on_expired")

    def __init__(
        self,
        bound_s: float,
        on_expired: Callable[[Value], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._bound_s, self._on_expired, self._clock = bound_s, on_expired, clock
        self._entries: dict[Key, tuple[float, Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Value]:
        return iter([value for _, value in self._entries.values()])

    def get(self, key: Key) -> Value | None:
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def add(self, key: Key, value: Value) -> None:
        self._entries[key] = self._clock(), value

    def pop(self, key: Key) -> Value | None:
        entry = self._entries.pop(key, None)
        return None if entry is None else entry[1]

    def renew(self, key: Key) -> None:
        """Records a sign of life. No effect if there is no such entry."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._entries[key] = self._clock(), entry[1]

    def expire(self) -> None:
        """Removes the entries without a sign of life for `bound_s`, which takes time only for
        them.
        """
        oldest = self._clock() - self._bound_s
        while self._entries:
            key = next(iter(self._entries))
            heard_at, value = self._entries[key]
            if heard_at > oldest:
                return
            del self._entries[key]
            self._on_expired(value)
