"""Execution of SQL scripts in migrations."""

from __future__ import annotations

from typing import Any

from alembic import op


def execute_script(statements: str) -> None:
    """Execute several statements in the transaction of the migration.

    Statements that are executed through SQLAlchemy are prepared, and PostgreSQL prepares one statement at a time. `execute` of
    asyncpg without arguments sends the text unchanged. SQLAlchemy opens the transaction with its first statement, hence the
    SELECT.
    """
    bind = op.get_bind()
    bind.exec_driver_sql("SELECT 1")
    driver: Any = bind.connection.dbapi_connection
    driver.run_async(lambda connection: connection.execute(statements))
