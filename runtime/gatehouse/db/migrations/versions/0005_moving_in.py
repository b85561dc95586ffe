"""Keys from elsewhere, the runs that imported them, the old files to be kept in step, and answers that are given twice.

An imported key is found by an id that is derived from its token under the pepper, and stored as an HMAC of its old hash: a copy
of these tables verifies nothing, however weak the old hash was. Going back, imported keys stay and verify no more.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UP = """
ALTER TABLE api_key ADD COLUMN scheme text NOT NULL DEFAULT 'own'
    CHECK (scheme IN ('own', 'sha256', 'sha512', 'sha256-secret', 'sha512-secret', 'bcrypt', 'bcrypt-secret'));
CREATE INDEX api_key_scheme ON api_key (scheme, id_generation) WHERE scheme <> 'own';

-- Old bcrypt hashes, encrypted under the pepper, until the first use of the key replaces them by an HMAC.
CREATE TABLE foreign_hash (
    key_id     text    PRIMARY KEY REFERENCES api_key (id) ON DELETE CASCADE,
    generation integer NOT NULL,
    sealed     bytea   NOT NULL
);

CREATE TABLE import_run (
    id          text        PRIMARY KEY CHECK (id ~ '^[0-9a-f]{64}$'),  -- of the content and the options
    source      text        NOT NULL,
    rows        bigint      NOT NULL,
    done        bigint      NOT NULL DEFAULT 0,  -- rows that are behind us: written in the transaction of the rows themselves
    made        bigint      NOT NULL DEFAULT 0,
    kept        bigint      NOT NULL DEFAULT 0,  -- were there already, and were left as they are
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    CHECK (done <= rows)
);

CREATE TABLE old_file_removal (
    key_id    text        PRIMARY KEY,
    queued_at timestamptz NOT NULL DEFAULT now(),
    attempts  integer     NOT NULL DEFAULT 0,
    next_at   timestamptz NOT NULL DEFAULT now(),
    problem   text        NOT NULL DEFAULT ''
);

CREATE TABLE idempotent_request (
    lookup      bytea       PRIMARY KEY CHECK (octet_length(lookup) = 32),  -- of the caller and their key
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    request_id  text        NOT NULL,  -- of the one that acts: the audit trail says under it whether it did
    claimed_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    running     boolean     NOT NULL DEFAULT true,
    target_id   text        NOT NULL DEFAULT '',
    generation  integer,
    sealed      bytea  -- the answer; it opens only with the pepper and the caller's own Idempotency-Key
);
CREATE INDEX idempotent_request_end ON idempotent_request (expires_at);
CREATE INDEX idempotent_request_target ON idempotent_request (target_id) WHERE target_id <> '';

CREATE FUNCTION forget_purged_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM foreign_hash WHERE key_id = NEW.id;
    UPDATE idempotent_request SET sealed = NULL, running = false WHERE target_id = NEW.id;
    IF NEW.scheme <> 'own' THEN
        INSERT INTO old_file_removal (key_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_purged AFTER UPDATE ON api_key FOR EACH ROW
    WHEN (NEW.state = 'purged' AND OLD.state <> 'purged') EXECUTE FUNCTION forget_purged_key();

GRANT SELECT, INSERT, UPDATE, DELETE ON foreign_hash, import_run, old_file_removal, idempotent_request TO gatehouse_app;
"""

_DOWN = """
DROP TRIGGER api_key_purged ON api_key;
DROP FUNCTION forget_purged_key;
DROP TABLE foreign_hash, import_run, old_file_removal, idempotent_request;
DROP INDEX api_key_scheme;
ALTER TABLE api_key DROP COLUMN scheme;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
