"""Runs SQL of several statements inside a migration's transaction."""

from __future__ import annotations

from typing import Any

from alembic import op


def execute_script(statements: str) -> None:
    """Executes the statements in the migration's own transaction.

    asyncpg prepares what it is given through SQLAlchemy, and PostgreSQL prepares one statement at a time. Its own `execute`
    without arguments sends the text as it is. SQLAlchemy opens the transaction with its first statement, hence the SELECT.
    """
    bind = op.get_bind()
    bind.exec_driver_sql("SELECT 1")
    driver: Any = bind.connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(statements))
