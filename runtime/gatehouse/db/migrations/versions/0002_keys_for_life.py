"""The whole life of a key: who may use it from where, its generations, credits, deletion with a way back, and purge.

What is refused here and not only in the program: a purged key stays purged, a revoked one never becomes usable again.

Going back loses restrictions that the older version does not know. A key that has one (addresses, methods, roles, credits)
is disabled on the way back, a deleted or purged one becomes revoked: nothing opens more than it did.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UP = """
ALTER TABLE api_key
    DROP CONSTRAINT api_key_state_check,
    DROP CONSTRAINT api_key_check,
    ADD COLUMN roles         text[]      NOT NULL DEFAULT '{}',
    ADD COLUMN methods       text[]      NOT NULL DEFAULT '{}',
    ADD COLUMN addresses     text[]      NOT NULL DEFAULT '{}',
    ADD COLUMN has_credits   boolean     NOT NULL DEFAULT false,
    ADD COLUMN tags          text[]      NOT NULL DEFAULT '{}',
    ADD COLUMN metadata      jsonb       NOT NULL DEFAULT '{}',
    ADD COLUMN notes         text        NOT NULL DEFAULT '',
    ADD COLUMN family_id    text,
    ADD COLUMN generation    integer     NOT NULL DEFAULT 1 CHECK (generation > 0),
    ADD COLUMN successor_id  text,
    ADD COLUMN rotated_at    timestamptz,
    ADD COLUMN deleted_at    timestamptz,
    ADD COLUMN deleted_by    text,
    ADD COLUMN state_before  text        CHECK (state_before IN ('active', 'disabled', 'revoked')),
    ADD COLUMN purged_at     timestamptz,
    ADD COLUMN id_generation integer     NOT NULL DEFAULT 0;
UPDATE api_key SET family_id = id;
ALTER TABLE api_key
    ALTER COLUMN family_id SET NOT NULL,
    ADD CONSTRAINT api_key_state_check CHECK (state IN ('active', 'disabled', 'revoked', 'deleted', 'purged')),
    ADD CONSTRAINT api_key_revoked_check CHECK (
        (state <> 'revoked' OR revoked_at IS NOT NULL) AND (state NOT IN ('active', 'disabled') OR revoked_at IS NULL)),
    ADD CONSTRAINT api_key_deleted_check CHECK (
        (state = 'deleted') = (deleted_at IS NOT NULL) AND (state = 'deleted') = (state_before IS NOT NULL)
        AND (state <> 'deleted' OR (state_before = 'revoked') = (revoked_at IS NOT NULL))),
    ADD CONSTRAINT api_key_purged_check CHECK (
        (state = 'purged') = (purged_at IS NOT NULL)
        AND (state <> 'purged' OR (name = '' AND owner = '' AND notes = '' AND metadata = '{}' AND created_by = ''
             AND scopes = '{}' AND addresses = '{}' AND digest = decode(repeat('00', 32), 'hex'))));
CREATE INDEX api_key_family ON api_key (family_id, generation);
CREATE INDEX api_key_expiry ON api_key (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX api_key_id_generation ON api_key (id_generation);
CREATE INDEX api_key_tags ON api_key USING gin (tags);

CREATE FUNCTION set_family_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.family_id := coalesce(NEW.family_id, NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_family BEFORE INSERT ON api_key FOR EACH ROW EXECUTE FUNCTION set_family_id();

CREATE OR REPLACE FUNCTION keep_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'purged' THEN
        RAISE EXCEPTION 'a purged key stays purged' USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.state = 'revoked' OR OLD.state_before = 'revoked') AND NEW.state NOT IN ('revoked', 'deleted', 'purged') THEN
        RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- What a lineage may still spend: one row for all generations of a key, so that a rotation gives nobody a second purse.
CREATE TABLE key_credit (
    family_id    text        PRIMARY KEY,
    remaining     bigint      NOT NULL CHECK (remaining >= 0),
    refill_amount bigint      CHECK (refill_amount > 0),
    refill_every  text        CHECK (refill_every IN ('hour', 'day', 'week', 'month')),
    refilled_at   timestamptz NOT NULL,
    CHECK ((refill_amount IS NULL) = (refill_every IS NULL))
);

-- Which pepper generations a worker holds: one is written with only when every live worker can read it.
ALTER TABLE gateway_worker ADD COLUMN generations integer[] NOT NULL DEFAULT '{}';

GRANT SELECT, INSERT, UPDATE, DELETE ON key_credit TO gatehouse_app;
"""

_DOWN = """
DROP TRIGGER api_key_terminal ON api_key;
ALTER TABLE api_key
    DROP CONSTRAINT api_key_revoked_check,
    DROP CONSTRAINT api_key_deleted_check,
    DROP CONSTRAINT api_key_purged_check,
    DROP CONSTRAINT api_key_state_check;
UPDATE api_key SET state = 'disabled'
    WHERE state = 'active' AND (has_credits OR addresses <> '{}' OR methods <> '{}' OR roles <> '{}');
UPDATE api_key SET state = 'revoked', revoked_at = coalesce(revoked_at, deleted_at, purged_at)
    WHERE state IN ('deleted', 'purged');
DROP TRIGGER api_key_family ON api_key;
DROP FUNCTION set_family_id;
DROP INDEX api_key_expiry;
DROP TABLE key_credit;
ALTER TABLE gateway_worker DROP COLUMN generations;
ALTER TABLE api_key
    DROP COLUMN roles, DROP COLUMN methods, DROP COLUMN addresses, DROP COLUMN has_credits, DROP COLUMN tags,
    DROP COLUMN metadata, DROP COLUMN notes, DROP COLUMN family_id, DROP COLUMN generation, DROP COLUMN successor_id,
    DROP COLUMN rotated_at, DROP COLUMN deleted_at, DROP COLUMN deleted_by, DROP COLUMN state_before, DROP COLUMN purged_at,
    DROP COLUMN id_generation,
    ADD CONSTRAINT api_key_state_check CHECK (state IN ('active', 'disabled', 'revoked')),
    ADD CONSTRAINT api_key_check CHECK ((state = 'revoked') = (revoked_at IS NOT NULL));
CREATE OR REPLACE FUNCTION keep_revoked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'revoked' AND NEW.state <> 'revoked' THEN
        RAISE EXCEPTION 'a revoked key stays revoked' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_terminal BEFORE UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION keep_revoked();
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
