"""Limits concurrent operations, and shares their results."""

import asyncio
import itertools
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Hashable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from gatehouse.core.errors import Unavailable

T = TypeVar("T")

#: Maximum wait for a slot, and maximum number of operations of a subject that wait, also after
#: their clients have disconnected.
SLOT_TIMEOUT_S, WAITING_MAX = 10.0, 1024


class CallSubjects(NamedTuple):
    """For whom a request calls AWS, such as the network of its client. See `Slots.hold`.

    have_turn: the request has a turn for several calls. have_slot: it has a place of another limit,
    so that its calls do not wait for others.
    """

    names: tuple[str, ...] = ()
    have_turn: bool = False
    have_slot: bool = False


NO_SUBJECTS = CallSubjects()
call_subjects: ContextVar[CallSubjects] = ContextVar("call_subjects", default=NO_SUBJECTS)

#: Continues a coroutine that a gateway has begun without a task (platform/http/local_server.py).
in_task = partial(asyncio.sleep, 0)


class SharedRuns(Generic[T]):
    """Callers that need the same result while it is computed share it."""

    def __init__(self) -> None:
        self._running: dict[Hashable, asyncio.Task[T]] = {}

    async def result(self, name: Hashable, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.create_task(compute())
            task.add_done_callback(lambda _: self._running.pop(name))
        return await asyncio.shield(task)


class SubjectLimit(NamedTuple):
    """A subject and its maximum number of concurrent operations."""

    name: str
    maximum: float


#: The subjects of an operation, the last first.
_Path: TypeAlias = tuple[SubjectLimit, ...]


class Slots:
    """Limits concurrent operations. An operation takes a place of each of its subjects and of the
    total at once, so that it has none while it waits. Those that wait take turns by their last
    subject. Of its operations, the next one is that whose other subjects had no turn for the
    longest time, so that neither many links of a network nor many networks of a link delay others.

    If the next operation waits for a subject before its last one, a place of each of its subjects
    is kept for it. Others begin in the meantime, without losing their turn: otherwise, operations
    of a subject that can begin would delay its others without end.

    number: of places in total. free: number of free places. each: maximum of a subject that has no
    other, by default half of the total.
    """

    def __init__(self, number: float, each: float | None = None) -> None:
        self.number = self.free = number
        self._each = number // 2 if each is None else each
        self._used = Counter[str]()
        #: Operations that wait, by their last subject, in the order of its turns, and by all.
        self._waiting: dict[_Path, dict[_Path, dict[asyncio.Future[None], None]]] = {}
        #: Of each last subject, and of each other subject of it: the number of operations that
        #: wait, and the numbers of the last turn and of the last begin, or of the arrival.
        self._numbers = Counter[_Path]()
        self._turns, self._begins = dict[_Path, int](), dict[_Path, int]()
        self._events = itertools.count()

    async def acquire(self, *subjects: str | SubjectLimit) -> bool:
        """Takes places for an operation of subjects, the narrower first. Returns True if it had to
        wait. If more than WAITING_MAX operations of the last subject wait, the newest of the
        subjects with the most raises TimeoutError.
        """
        path = self._path(subjects)
        if self.free and self._have_places(path, _names(self._next() or ())):
            self._take(path)
            return False
        turn = asyncio.Future[None]()
        self._waiting.setdefault(path[:1], {}).setdefault(path, {})[turn] = None
        for part in _parts(path):
            self._numbers[part] += 1
            if part not in self._turns:
                self._turns[part] = self._begins[part] = next(self._events)
        if self._numbers[path[:1]] > WAITING_MAX:
            self._end_newest(path[:1])
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._remove(path, turn)
                self._begin_next()
            elif turn.exception() is None:
                self.release(*subjects)
            raise
        return True

    def release(self, *subjects: str | SubjectLimit) -> None:
        self.free += 1
        _subtract(self._used, _names(self._path(subjects)))
        self._begin_next()

    @asynccontextmanager
    async def hold(self, *subjects: str | SubjectLimit) -> AsyncIterator[bool]:
        """See `acquire`. Raises Unavailable if the places are not free in time."""
        try:
            async with asyncio.timeout(SLOT_TIMEOUT_S):
                waited = await self.acquire(*subjects)
        except TimeoutError:
            raise Unavailable(
                "The service is processing too many requests. Try again.",
                detail=f"no free slot within {SLOT_TIMEOUT_S:g} s",
            ) from None
        try:
            yield waited
        finally:
            self.release(*subjects)

    def _path(self, subjects: Sequence[str | SubjectLimit]) -> _Path:
        return tuple(
            SubjectLimit(each, self._each) if isinstance(each, str) else each
            for each in reversed(subjects)
        )

    def _take(self, path: _Path) -> None:
        self.free -= 1
        self._used.update(_names(path))

    def _have_places(self, path: _Path, kept: Collection[str] = ()) -> bool:
        """kept: names of subjects of which a place is kept."""
        return all(self._used[name] + (name in kept) < maximum for name, maximum in path)

    def _next(self) -> _Path | None:
        """The subjects of the next operation, whose last subject has a place."""
        last = next(filter(self._have_places, self._waiting), None)
        return None if last is None else _longest_ago(self._turns, self._waiting[last])

    def _find(self, kept: Collection[str]) -> _Path | None:
        """The subjects of another operation that can begin."""
        for last in sorted(self._waiting, key=self._begins.__getitem__):
            if self._have_places(last, kept):
                paths = [path for path in self._waiting[last] if self._have_places(path, kept)]
                if paths:
                    return _longest_ago(self._begins, paths)
        return None

    def _begin_next(self) -> None:
        while self.free and (path := self._next()) is not None:
            has_turn = self._have_places(path)
            if not has_turn and (path := self._find(_names(path))) is None:
                return
            turn = next(iter(self._waiting[path[:1]][path]))
            self._remove(path, turn)
            event = next(self._events)
            for part in _parts(path):
                if part in self._numbers:
                    self._begins[part] = event
                    if has_turn:
                        self._turns[part] = event
            if has_turn and path[:1] in self._waiting:
                self._waiting[path[:1]] = self._waiting.pop(path[:1])
            if not turn.done():
                turn.set_result(None)
                self._take(path)

    def _remove(self, path: _Path, turn: asyncio.Future[None]) -> None:
        """Removes an operation, if it waits."""
        paths = self._waiting.get(path[:1], {})
        if turn not in paths.get(path, {}):
            return
        del paths[path][turn]
        if not paths[path]:
            del paths[path]
        if not paths:
            del self._waiting[path[:1]]
        parts = _parts(path)
        _subtract(self._numbers, parts)
        for part in parts:
            if part not in self._numbers:
                del self._turns[part], self._begins[part]

    def _end_newest(self, last: _Path) -> None:
        path = max(reversed(self._waiting[last]), key=partial(_highest_first, self._numbers))
        turn = next(reversed(self._waiting[last][path]))
        self._remove(path, turn)
        if not turn.done():
            turn.set_exception(TimeoutError())


def _parts(path: _Path) -> list[_Path]:
    """The last subject of an operation, and each of the others with it, once."""
    return [path[:1], *dict.fromkeys((path[0], each) for each in path[1:])]


def _highest_first(numbers: Mapping[_Path, int], path: _Path) -> list[int]:
    return sorted((numbers[part] for part in _parts(path)), reverse=True)


def _longest_ago(events: Mapping[_Path, int], paths: Iterable[_Path]) -> _Path:
    """Compares the latest events of the subjects, then those before them."""
    return min(paths, key=partial(_highest_first, events))


def _names(path: _Path) -> list[str]:
    return [name for name, _ in path]


def _subtract(numbers: Counter[T], names: Iterable[T]) -> None:
    for name in names:
        numbers[name] -= 1
        if not numbers[name]:
            del numbers[name]
