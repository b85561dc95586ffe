"""Indexes for sorted lists of keys"""

from __future__ import annotations

from gatehouse.platform.db.migrations.runner import execute_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = """
CREATE INDEX api_key_order_name ON api_key (lower(name), id);
CREATE INDEX api_key_order_created ON api_key (created_at, id);
CREATE INDEX api_key_order_expiry ON api_key ((coalesce(expires_at, 'infinity')), id);
"""

_DOWN = """
DROP INDEX api_key_order_expiry, api_key_order_created, api_key_order_name;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
