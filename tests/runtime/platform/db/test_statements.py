"""Conditions of statements."""

from datetime import UTC, datetime

import pytest
from gatehouse.platform.db.statements import Conditions

EPOCH, SECOND = (datetime(1970, 1, 1, second=number, tzinfo=UTC) for number in (0, 1))


@pytest.mark.parametrize(
    ("since", "until", "text", "values"),
    [
        (None, None, "", []),
        (0, None, " WHERE at >= $1", [EPOCH]),
        (None, 0, " WHERE at < $1", [EPOCH]),
        (0, 1, " WHERE at >= $1 AND at < $2", [EPOCH, SECOND]),
    ],
)
def test_range_has_the_bounds_that_are_set(
    since: float | None, until: float | None, text: str, values: list[datetime]
) -> None:
    where = Conditions()
    where.add_range("at", since, until)
    assert (str(where), where.values) == (text, values)


def test_only_set_columns_are_compared() -> None:
    where = Conditions()
    where.add_equal(owner=None, core="", count=0)
    where.add("tags @> ARRAY[{}]", "a")
    assert str(where) == " WHERE core = $1 AND count = $2 AND tags @> ARRAY[$3]"
    assert where.values == ["", 0, "a"]
