"""Values that are derived from the decoded resources of a request, such as plain properties, once
for all policies of a pack.

Values are cached during one request: the values of earlier requests would double the memory of a
pack.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

_ENTRIES_MAX = 20_000

Value = TypeVar("Value")


def clear() -> None:
    """Removes all cached values. Requests in other threads derive their values again."""
    for cache in list(_BY_IDENTITY):
        cache.clear()


class ByIdentity(Generic[Value]):
    """Cache of a value derived from an object, keyed by the object's identity. The value must not
    be modified.
    """

    def __init__(self, derive: Callable[[Any], Value]) -> None:
        self._derive = derive
        self._entries: dict[int, tuple[Any, Value]] = {}
        _BY_IDENTITY.add(self)

    def of(self, source: Any) -> Value:
        """The value of an object, derived on first use."""
        entry = self._entries.get(id(source))
        # The entry keeps the object, because Python may reuse the ID of a deleted one.
        if entry is None or entry[0] is not source:
            if len(self._entries) >= _ENTRIES_MAX:
                self._entries.clear()
            entry = self._entries[id(source)] = (source, self._derive(source))
        return entry[1]

    def clear(self) -> None:
        self._entries.clear()


_BY_IDENTITY: WeakSet[ByIdentity[Any]] = WeakSet()
