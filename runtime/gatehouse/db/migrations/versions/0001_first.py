"""Keys, Cores, gateway workers and the audit trail.

Two roles: the owner runs migrations; `gatehouse_app` runs the gateway and the console. The application may add to the audit
trail and read it, but it has no right to change or delete a row of it.

Every change of a key or Core takes the next number of one sequence and announces it (NOTIFY gatehouse_change). The advisory
lock in the trigger makes commits happen in the order of their numbers: a gateway that has seen number n has seen all before it.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UP = """
CREATE SEQUENCE change_seq AS bigint;

CREATE TABLE api_key (
    id                text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    digest            bytea       NOT NULL CHECK (octet_length(digest) = 32),
    pepper_generation integer     NOT NULL CHECK (pepper_generation > 0),
    environment       text        NOT NULL CHECK (environment IN ('test', 'live')),
    state             text        NOT NULL CHECK (state IN ('active', 'disabled', 'revoked')),
    name              text        NOT NULL,
    owner             text        NOT NULL,
    scopes            text[]      NOT NULL,
    cores             text[]      NOT NULL,
    limits            jsonb       NOT NULL,
    expires_at        timestamptz,
    created_at        timestamptz NOT NULL,
    created_by        text        NOT NULL,
    revoked_at        timestamptz,
    revoked_by        text,
    revoke_reason     text,
    version           bigint      NOT NULL DEFAULT 1,
    change_seq        bigint      NOT NULL DEFAULT 0,
    CHECK ((state = 'revoked') = (revoked_at IS NOT NULL))
);
CREATE INDEX api_key_change_seq ON api_key (change_seq);
CREATE INDEX api_key_owner ON api_key (owner, id);

CREATE TABLE core (
    name              text        PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    url               text        NOT NULL,
    environment       text        NOT NULL CHECK (environment IN ('test', 'live')),
    lease_id          text        NOT NULL,
    registered_by     text        NOT NULL REFERENCES api_key (id),
    pepper_generation integer     NOT NULL CHECK (pepper_generation > 0),
    expires_at        timestamptz NOT NULL,
    draining          boolean     NOT NULL DEFAULT false,
    version           bigint      NOT NULL DEFAULT 1,
    change_seq        bigint      NOT NULL DEFAULT 0
);
CREATE INDEX core_change_seq ON core (change_seq);

CREATE TABLE gateway_worker (
    id            text        PRIMARY KEY,
    confirmed_seq bigint      NOT NULL,
    seen_at       timestamptz NOT NULL
);

CREATE TABLE audit_event (
    seq            bigint      PRIMARY KEY,
    occurred_at    timestamptz NOT NULL,
    actor_type     text        NOT NULL,
    actor_id       text        NOT NULL,
    action         text        NOT NULL,
    target_type    text        NOT NULL,
    target_id      text        NOT NULL,
    outcome        text        NOT NULL CHECK (outcome IN ('success', 'denied')),
    request_id     text        NOT NULL,
    source_address text        NOT NULL,
    details        jsonb       NOT NULL,
    previous_hash  bytea       NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash           bytea       NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX audit_event_target ON audit_event (target_id, seq);

CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A heartbeat that only renews a lease is no news for the gateways' key caches, but it is for their Core tables.
    PERFORM pg_advisory_xact_lock(7126501);
    NEW.change_seq := nextval('change_seq');
    IF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
    END IF;
    PERFORM pg_notify('gatehouse_change', NEW.change_seq::text);
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_change BEFORE INSERT OR UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION announce_change();
CREATE TRIGGER core_change BEFORE INSERT OR UPDATE ON core FOR EACH ROW EXECUTE FUNCTION announce_change();

CREATE FUNCTION keep_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'revoked' AND NEW.state <> 'revoked' THEN
        RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_terminal BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION keep_revoked();

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatehouse_app') THEN
        CREATE ROLE gatehouse_app LOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
        GRANT rds_iam TO gatehouse_app;  -- on RDS the application logs in with IAM tokens and has no password
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO gatehouse_app;
GRANT USAGE, SELECT ON SEQUENCE change_seq TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE ON api_key, core TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway_worker TO gatehouse_app;
GRANT SELECT, INSERT ON audit_event TO gatehouse_app;
"""

_DOWN = """
DROP TABLE audit_event, gateway_worker, core, api_key;
DROP FUNCTION announce_change, keep_revoked;
DROP SEQUENCE change_seq;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
