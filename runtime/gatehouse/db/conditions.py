"""WHERE clauses that are composed at run time. Values are always bound as numbered parameters and never part of the text."""

from __future__ import annotations

from typing import Any


class Conditions:
    """Conditions that are joined by AND.

    `values` are the parameters of the whole statement. Values that are passed to the constructor are `$1`, `$2` and so on.
    """

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self._conditions: list[str] = []

    def add(self, condition: str, *values: Any) -> None:
        """Add a condition, such as `add("owner = {}", owner)`: each `{}` becomes the parameter of the value at its position."""
        self._conditions.append(condition.format(*(self.bind(value) for value in values)))

    def add_equal(self, **columns: Any) -> None:
        """Add `column = value` for each value that is not None."""
        for column, value in columns.items():
            if value is not None:
                self.add(f"{column} = {{}}", value)

    def bind(self, value: Any) -> str:
        """Add a parameter to the statement and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def __str__(self) -> str:
        """The WHERE clause; empty without conditions."""
        return f" WHERE {' AND '.join(self._conditions)}" if self._conditions else ""
