"""A gateway's statements that take long are told, by their text: every value is bound, so the text holds none."""

from __future__ import annotations

from collections.abc import Callable

import asyncpg
from asyncpg.connection import LoggedQuery

#: (statement, seconds)
Tell = Callable[[str, float], None]


STATEMENT_CHARS = 160


def watch_connection(connection: asyncpg.Connection[asyncpg.Record], slow_s: float, tell: Tell) -> None:
    """Tells of a gateway's connection. Statements that failed count too: one that was given up at its timeout is the slowest."""

    def log(record: LoggedQuery) -> None:
        if record.elapsed >= slow_s:
            tell(named(record.query), record.elapsed)

    connection.add_query_logger(log)


def named(statement: str) -> str:
    """One line, not too long: enough to find it in the source."""
    return " ".join(statement.split())[:STATEMENT_CHARS]
