"""Sessions of people at the console (a keyed digest of the cookie, who it stands for, until when), and the log level.

A copy of the table signs nobody in: the cookie cannot be had from its digest, nor a digest be made without the session key. Rows
are deleted when a session ends; what happened is in the audit trail.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UP = """
CREATE TABLE console_session (
    id             text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),  -- public: lists and the audit trail name it
    digest         bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    actor_type     text        NOT NULL CHECK (actor_type IN ('bootstrap', 'key', 'person')),
    actor_id       text        NOT NULL,
    roles          text[]      NOT NULL,  -- of a person, as the token said; a key's are read anew with every request
    bond           bytea       NOT NULL,  -- of the bootstrap token: its keyed digest, so that another one ends the session
    created_at     timestamptz NOT NULL,
    proven_at      timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    source_address text        NOT NULL,
    user_agent     text        NOT NULL CHECK (length(user_agent) <= 200)
);
CREATE INDEX console_session_actor ON console_session (actor_type, actor_id, created_at);

CREATE TABLE log_level (
    sole   boolean     PRIMARY KEY DEFAULT true CHECK (sole),
    level  text        NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    until  timestamptz NOT NULL,
    set_by text        NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON console_session, log_level TO gatehouse_app;
"""

_DOWN = "DROP TABLE console_session, log_level;"


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
