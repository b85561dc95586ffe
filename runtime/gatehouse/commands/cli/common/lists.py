"""Lists of the console: the first entries or all, read page by page while they are printed."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Annotated, Any

import typer
from gatehouse_client import ConsoleClient

from gatehouse.commands.cli.common.output import note
from gatehouse.core.notation import count, plural
from gatehouse.platform.web.fields import PAGE_SIZE_MAX, TOTAL_MAX

#: Number of entries that a list shows by default.
LIMIT = 30
LimitOption = Annotated[
    int, typer.Option("--limit", "-n", min=1, help="Maximum number of entries.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Show all entries.")]


def page_size(limit: int) -> int:
    """Entries on a page of a list of `limit` entries: one more says whether there are others."""
    return min(limit + 1, PAGE_SIZE_MAX) if limit else PAGE_SIZE_MAX


class Listing:
    """Entries of a list, which can be read once. noun: of one entry. limit: 0 for all entries.
    counted: the API can count the entries. first: the first page, which has already been read with
    `page_size`, and the cursor of the next one.
    """

    def __init__(
        self,
        client: ConsoleClient,
        item: type[Any],
        path: str,
        query: dict[str, Any],
        *,
        noun: str,
        limit: int,
        counted: bool = True,
        first: tuple[Sequence[Any], str | None] = ((), ""),
    ) -> None:
        self._client, self._path, self._query = client, path, query
        self._noun, self._limit, self._counted = noun, limit, counted
        entries, cursor = first
        rest = {**query, "limit": page_size(limit), "cursor": cursor or None}
        more = () if cursor is None else client.items(item, path, **rest)
        self._items = chain(entries, more)
        self._shown = 0

    def __iter__(self) -> Iterator[Any]:
        for item in islice(self._items, self._limit or None):
            self._shown += 1
            yield item

    def note_end(self, *, only_if_more: bool = False) -> None:
        """Says how many entries were shown, and how many there are."""
        if not self._limit or next(self._items, None) is None:
            if not only_if_more:
                note(count(self._shown, self._noun))
            return
        total = "more"
        if self._counted:
            query = {**self._query, "limit": 1, "total": "true"}
            number = self._client.get(dict[str, Any], self._path, **query)["total"]
            total = f"{number} or more" if number >= TOTAL_MAX else str(number)
        note(f"{self._shown} of {total} {plural(self._noun)}; for more: --limit N or --all")
