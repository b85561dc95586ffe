"""Use of keys, checkpoints of the audit trail, and notices about what happened.

Counts of use are added up by the gateway workers and written once a second; nothing here is touched by a request. No table points
at `api_key`, so that a flush never waits for the lock of a key; `forget_key_use` takes a key's rows away, and a deleted key row
takes them along. The application may add checkpoints and read them; like the audit trail, it cannot change or delete one.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = """
CREATE TABLE usage_count (
    width_s   integer     NOT NULL CHECK (width_s IN (60, 3600, 86400)),
    key_id    text        NOT NULL,  -- empty: a token that proved possession of no key
    starts_at timestamptz NOT NULL,
    core      text        NOT NULL,  -- empty: no Core, or one that is not registered
    code      text        NOT NULL,
    count     bigint      NOT NULL CHECK (count > 0),
    PRIMARY KEY (width_s, key_id, starts_at, core, code)
);
CREATE INDEX usage_count_time ON usage_count (width_s, starts_at);

CREATE TABLE usage_flush (
    worker_id text        PRIMARY KEY,
    batch     bigint      NOT NULL,  -- the last one that was counted: a repeated flush counts nothing twice
    seen_at   timestamptz NOT NULL
);

CREATE TABLE key_activity (
    key_id       text        PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);
CREATE TABLE key_address (
    key_id        text        NOT NULL,
    address       text        NOT NULL,
    first_seen_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, address)
);
CREATE TABLE key_alert (
    key_id    text        NOT NULL,
    kind      text        NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, kind)
);

CREATE FUNCTION forget_key_use(gone text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM usage_count WHERE key_id = gone;
    DELETE FROM key_activity WHERE key_id = gone;
    DELETE FROM key_address WHERE key_id = gone;
    DELETE FROM key_alert WHERE key_id = gone;
$$;
CREATE FUNCTION forget_deleted_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM forget_key_use(OLD.id);
    RETURN OLD;
END $$;
CREATE TRIGGER api_key_forget_use AFTER DELETE ON api_key FOR EACH ROW EXECUTE FUNCTION forget_deleted_key();

CREATE TABLE audit_checkpoint (
    seq       bigint      PRIMARY KEY,  -- the last row of the trail that it covers
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    taken_at  timestamptz NOT NULL,
    key_id    text        NOT NULL,
    algorithm text        NOT NULL,
    signature bytea       NOT NULL
);

CREATE TABLE webhook (
    id                text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    url               text        NOT NULL,
    events            text[]      NOT NULL,  -- empty: all of them
    pepper_generation integer     NOT NULL,  -- under which its secret is derived; the secret is stored nowhere
    created_at        timestamptz NOT NULL,
    created_by        text        NOT NULL
);
CREATE TABLE notice_position (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    seq  bigint  NOT NULL  -- the last audit row that was turned into notices
);
CREATE TABLE delivery (
    notice_id   text        NOT NULL,
    target      text        NOT NULL,  -- a webhook's id, or 'topic'
    event       text        NOT NULL,
    body        text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts    integer     NOT NULL DEFAULT 0,
    next_at     timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    finished_at timestamptz,
    problem     text        NOT NULL DEFAULT '',
    PRIMARY KEY (notice_id, target)
);
CREATE INDEX delivery_due ON delivery (next_at) WHERE state = 'waiting';
CREATE INDEX delivery_state ON delivery (state, notice_id);

CREATE INDEX audit_event_actor ON audit_event (actor_id, seq);
CREATE INDEX audit_event_action ON audit_event (action, seq);
CREATE INDEX audit_event_time ON audit_event (occurred_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON usage_count, usage_flush, key_activity, key_address, key_alert TO gatehouse_app;
GRANT SELECT, INSERT ON audit_checkpoint TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON webhook, delivery TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE ON notice_position TO gatehouse_app;
"""

_DOWN = """
DROP INDEX audit_event_actor, audit_event_action, audit_event_time;
DROP TRIGGER api_key_forget_use ON api_key;
DROP FUNCTION forget_deleted_key, forget_key_use;
DROP TABLE delivery, notice_position, webhook, audit_checkpoint, key_alert, key_address, key_activity, usage_flush, usage_count;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
