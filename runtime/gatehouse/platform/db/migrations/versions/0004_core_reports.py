"""Reports of gateway workers about instances of Cores"""

from __future__ import annotations

from gatehouse.platform.db.migrations.runner import execute_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# The time is NULL until the worker has written a report. Workers of earlier versions write none.
_UP = """
ALTER TABLE gateway_worker
    ADD COLUMN core_reports    jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN core_reports_at timestamptz;
"""

_DOWN = """
ALTER TABLE gateway_worker
    DROP COLUMN core_reports,
    DROP COLUMN core_reports_at;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
