"""Several instances per Core"""

from __future__ import annotations

from gatehouse.platform.db.migrations.runner import execute_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Gateways delete rows of instances that have ended. A row is written whenever rows are deleted, so
# the highest change number of the table never decreases. The first version of a row is the time in
# milliseconds, so that a row that is created again has a higher version than the deleted row.
_UP = """
ALTER TABLE core
    ADD COLUMN instance_id     text    NOT NULL DEFAULT 'default' CHECK (instance_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    ADD COLUMN health_path     text    NOT NULL DEFAULT '',  -- empty: the gateways send no health checks
    ADD COLUMN healthy         boolean NOT NULL DEFAULT true,
    ADD COLUMN content_version bigint  NOT NULL DEFAULT 0,  -- increases when the agent reports changed content
    ALTER COLUMN version SET DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    DROP CONSTRAINT core_pkey,
    ADD PRIMARY KEY (name, instance_id);

-- State of the health checks. The state is not part of core, because each change of core is sent to every gateway worker.
CREATE TABLE core_health (
    name        text        NOT NULL,
    instance_id text        NOT NULL,
    lease_id    text        NOT NULL,
    next_at     timestamptz NOT NULL,            -- a worker moves this time forward before it sends the check
    failures    integer     NOT NULL DEFAULT 0,  -- consecutive
    successes   integer     NOT NULL DEFAULT 0,  -- consecutive
    PRIMARY KEY (name, instance_id),
    FOREIGN KEY (name, instance_id) REFERENCES core ON DELETE CASCADE
);

GRANT DELETE ON core TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE ON core_health TO gatehouse_app;
"""  # noqa: E501

_DOWN = """
DROP TABLE core_health;
REVOKE DELETE ON core FROM gatehouse_app;
DELETE FROM core WHERE (name, instance_id) NOT IN (
    SELECT DISTINCT ON (name) name, instance_id FROM core ORDER BY name, draining, expires_at DESC, instance_id);
ALTER TABLE core
    ALTER COLUMN version SET DEFAULT 1,
    DROP CONSTRAINT core_pkey,
    ADD PRIMARY KEY (name),
    DROP COLUMN instance_id,
    DROP COLUMN health_path,
    DROP COLUMN healthy,
    DROP COLUMN content_version;
"""  # noqa: E501


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
