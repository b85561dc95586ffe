"""Signing keys of API keys, and where keys were found in public.

A signing secret lies here sealed under the pepper, a public key as it is. Going back, a key that requires signatures is disabled:
the older version does not check them, and nothing may open more than it did. Its signing key is lost then.
"""

from __future__ import annotations

from gatehouse.db.migrations.script import execute_script

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UP = """
ALTER TABLE api_key
    ADD COLUMN signing_algorithm  text    CHECK (signing_algorithm IN ('hmac-sha256', 'ed25519')),
    ADD COLUMN signing_key        bytea,
    ADD COLUMN signing_generation integer NOT NULL DEFAULT 0,  -- of the pepper that the secret is sealed under
    ADD COLUMN require_signature  boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT api_key_signing_check CHECK (
        (signing_algorithm IS NULL) = (signing_key IS NULL)
        AND (signing_generation > 0) = (signing_algorithm IS NOT DISTINCT FROM 'hmac-sha256')
        AND (signing_algorithm IS NOT NULL OR NOT require_signature)
        AND (state <> 'purged' OR signing_key IS NULL));
CREATE INDEX api_key_signing_generation ON api_key (signing_generation) WHERE signing_generation > 0;

CREATE TABLE key_leak (
    key_id      text        NOT NULL,
    place       bytea       NOT NULL CHECK (octet_length(place) = 32),  -- SHA-256 of who reported it and where it was found
    reported_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, place)
);
CREATE OR REPLACE FUNCTION forget_key_use(gone text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM usage_count WHERE key_id = gone;
    DELETE FROM key_activity WHERE key_id = gone;
    DELETE FROM key_address WHERE key_id = gone;
    DELETE FROM key_alert WHERE key_id = gone;
    DELETE FROM key_leak WHERE key_id = gone;
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON key_leak TO gatehouse_app;
"""

_DOWN = """
CREATE OR REPLACE FUNCTION forget_key_use(gone text) RETURNS void LANGUAGE sql AS $$
    DELETE FROM usage_count WHERE key_id = gone;
    DELETE FROM key_activity WHERE key_id = gone;
    DELETE FROM key_address WHERE key_id = gone;
    DELETE FROM key_alert WHERE key_id = gone;
$$;
DROP TABLE key_leak;
UPDATE api_key SET state = 'disabled' WHERE require_signature AND state = 'active';
UPDATE api_key SET state_before = 'disabled' WHERE require_signature AND state_before = 'active';
ALTER TABLE api_key
    DROP CONSTRAINT api_key_signing_check,
    DROP COLUMN signing_algorithm, DROP COLUMN signing_key, DROP COLUMN signing_generation, DROP COLUMN require_signature;
"""


def upgrade() -> None:
    execute_script(_UP)


def downgrade() -> None:
    execute_script(_DOWN)
