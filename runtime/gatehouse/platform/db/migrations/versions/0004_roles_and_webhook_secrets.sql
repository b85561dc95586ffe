-- Keys with a role, and rotation of webhook secrets
CREATE INDEX api_key_role ON api_key (id) WHERE scopes && ARRAY['admin', 'role:owner', 'role:operator', 'role:issuer', 'role:auditor', 'role:service', 'secrets:create', 'secrets:read', 'secrets:revoke'];
-- Incremented by each rotation of the secret. The previous secret is derived under its own generation and signs until the time.
ALTER TABLE webhook ADD COLUMN secret_number integer NOT NULL DEFAULT 1;
ALTER TABLE webhook ADD COLUMN previous_generation integer;
ALTER TABLE webhook ADD COLUMN overlap_ends_at timestamptz;
ALTER TABLE webhook ADD COLUMN version bigint NOT NULL DEFAULT 1;
