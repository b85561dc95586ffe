"""Alembic entry point. Uses the migration runner's connection, with one transaction per
migration.
"""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    on_version_apply=context.config.attributes["on_version_apply"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
