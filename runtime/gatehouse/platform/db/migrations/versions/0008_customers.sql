-- Customers and plans. As in `core`, a row that is created again has a higher version than the deleted one.
CREATE TABLE plan (
    name          text        PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,63}$'),
    description   text        NOT NULL,
    limits        jsonb,                -- of each key; NULL: the plan does not specify them
    shared_limits jsonb       NOT NULL,
    credits       jsonb,                -- refill of the shared credits of each customer
    scopes        text[],
    ttl_s         integer     CHECK (ttl_s > 0),
    created_at    timestamptz NOT NULL,
    created_by    text        NOT NULL,
    version       bigint      NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    change_seq    bigint      NOT NULL DEFAULT 0
);
CREATE INDEX plan_change_seq ON plan (change_seq);
CREATE TABLE customer (
    id            text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]([0-9A-Za-z._:@-]{0,62}[0-9A-Za-z])?$'),
    name          text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('active', 'disabled', 'deleted')),
    plan          text        REFERENCES plan (name),
    limits        jsonb,                -- shared by the keys; NULL: those of the plan
    has_credits   boolean     NOT NULL,
    inherits_credits boolean  NOT NULL DEFAULT true,  -- those of the plan
    contact       text        NOT NULL,
    tags          text[]      NOT NULL,
    metadata      jsonb       NOT NULL,
    notes         text        NOT NULL,
    created_at    timestamptz NOT NULL,
    created_by    text        NOT NULL,
    deleted_at    timestamptz,
    state_before  text        CHECK (state_before IN ('active', 'disabled')),
    version       bigint      NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    change_seq    bigint      NOT NULL DEFAULT 0,
    CHECK ((state = 'deleted') = (deleted_at IS NOT NULL)),
    CHECK ((state = 'deleted') = (state_before IS NOT NULL))
);
CREATE INDEX customer_change_seq ON customer (change_seq);
CREATE INDEX customer_plan ON customer (plan, id);
CREATE INDEX customer_order_name ON customer (lower(name), id);
CREATE INDEX customer_order_created ON customer (created_at, id);
CREATE INDEX customer_tags ON customer USING gin (tags) WITH (gin_pending_list_limit = 256);
CREATE INDEX customer_search ON customer USING gin (trigrams('  ' || name || E'\n  ' || id))
    WITH (gin_pending_list_limit = 256);
-- Rate limits without a key, for subjects that a caller names.
CREATE TABLE named_limit (
    name          text        PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9_.-]{0,63}$'),
    description   text        NOT NULL,
    quota         bigint      NOT NULL CHECK (quota > 0),
    window_s      integer     NOT NULL CHECK (window_s > 0),
    burst         bigint      NOT NULL CHECK (burst BETWEEN 1 AND quota),
    -- Gateways read that a limit was deleted. Its row is used again for a limit with the same name.
    is_deleted    boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL,
    created_by    text        NOT NULL,
    version       bigint      NOT NULL DEFAULT 1,
    change_seq    bigint      NOT NULL DEFAULT 0
);
CREATE INDEX named_limit_change_seq ON named_limit (change_seq);
CREATE TRIGGER named_limit_change BEFORE INSERT OR UPDATE ON named_limit
    FOR EACH ROW EXECUTE FUNCTION number_change();
CREATE TRIGGER named_limit_announce AFTER INSERT OR UPDATE ON named_limit
    FOR EACH STATEMENT EXECUTE FUNCTION announce_changes();
CREATE TRIGGER customer_change BEFORE INSERT OR UPDATE ON customer
    FOR EACH ROW EXECUTE FUNCTION number_change();
CREATE TRIGGER customer_announce AFTER INSERT OR UPDATE ON customer
    FOR EACH STATEMENT EXECUTE FUNCTION announce_changes();
CREATE TRIGGER plan_change BEFORE INSERT OR UPDATE ON plan
    FOR EACH ROW EXECUTE FUNCTION number_change();
CREATE TRIGGER plan_announce AFTER INSERT OR UPDATE ON plan
    FOR EACH STATEMENT EXECUTE FUNCTION announce_changes();
GRANT SELECT, INSERT, UPDATE, DELETE ON plan, customer TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE ON named_limit TO gatehouse_app;
-- Each owner of keys becomes a customer, except of keys that grant a role, which have none. Versions that are still running write `owner`.
ALTER TABLE api_key ALTER COLUMN owner SET DEFAULT '';
ALTER TABLE api_key ADD COLUMN customer_id text REFERENCES customer (id);
ALTER TABLE api_key ADD COLUMN plan text REFERENCES plan (name);
ALTER TABLE api_key ADD COLUMN inherits text[] NOT NULL DEFAULT '{}'
    CHECK (inherits <@ ARRAY['limits', 'scopes']);
ALTER TABLE api_key ADD CONSTRAINT api_key_plan_check CHECK (customer_id IS NULL OR plan IS NULL);
CREATE FUNCTION grants_role(scopes text[]) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN
    EXISTS (SELECT FROM unnest(scopes) AS scope WHERE scope = 'admin' OR scope LIKE 'role:%'
        OR scope IN ('secrets:create', 'secrets:read', 'secrets:revoke'));
-- As `core.customers.id_of`.
CREATE FUNCTION customer_id_of(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT RETURN
    CASE WHEN name ~ '^[0-9A-Za-z]([0-9A-Za-z._:@-]{0,62}[0-9A-Za-z])?$' THEN name
    ELSE trim(both '-' FROM left(regexp_replace(lower(name COLLATE "C"), '[^0-9a-z]+', '-', 'g'), 40)
        || '-' || left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 8)) END;
INSERT INTO customer (id, name, state, has_credits, contact, tags, metadata, notes, created_at, created_by)
    SELECT customer_id_of(owner), owner, 'active', false, '', '{}', '{}', '', now(),
        -- A program that created all keys of an owner can manage the customer.
        CASE WHEN min(created_by) = max(created_by) THEN min(created_by) ELSE 'system:migration' END
    FROM api_key WHERE owner <> '' AND state <> 'purged' AND NOT grants_role(scopes) GROUP BY owner
    ON CONFLICT DO NOTHING;  -- an owner with the ID that another owner receives
UPDATE api_key SET
    customer_id = CASE WHEN NOT grants_role(scopes) THEN customer_id_of(owner) END,
    notes = CASE WHEN grants_role(scopes) THEN left('Owner: ' || owner || E'\n' || notes, 2000) ELSE notes END
WHERE owner <> '' AND state <> 'purged';
DROP FUNCTION grants_role;
DROP FUNCTION customer_id_of;
CREATE INDEX api_key_customer ON api_key (customer_id, id) WHERE customer_id IS NOT NULL;
CREATE INDEX api_key_order_customer ON api_key ((coalesce(customer_id, '')), id);
CREATE INDEX api_key_plan ON api_key (plan, id) WHERE plan IS NOT NULL;
ALTER TABLE api_key ADD CONSTRAINT api_key_purged_customer_check
    CHECK (state <> 'purged' OR (coalesce(customer_id, plan) IS NULL AND inherits = '{}'));
DROP STATISTICS api_key_owner_form;
CREATE STATISTICS customer_name_form ON (search_form(name)) FROM customer;
DROP INDEX api_key_search;
CREATE INDEX api_key_search ON api_key USING gin (
    trigrams('  ' || name || E'\n  ' || coalesce(customer_id, '') || E'\n##' || left(id, 3)))
    WITH (gin_pending_list_limit = 256);
CREATE OR REPLACE FUNCTION keep_final_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'purged' THEN
        RAISE EXCEPTION 'a purged key cannot be changed' USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.state = 'revoked' OR OLD.state_before = 'revoked')
        AND NEW.state NOT IN ('revoked', 'deleted', 'purged') THEN
        RAISE EXCEPTION 'a revoked key cannot become usable' USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.state = 'purged' THEN
        NEW.owner := '';
        -- Versions that are still running do not know these columns.
        NEW.customer_id := NULL;
        NEW.plan := NULL;
        NEW.inherits := '{}';
    END IF;
    RETURN NEW;
END $$;
-- Credits belong to a key family, or to a customer: `@` and its ID.
COMMENT ON COLUMN key_credit.family_id IS 'ID of the key family, or @ and the ID of the customer';
