-- Initial schema.
--
-- Two roles: the owner runs migrations, and `gatehouse_app` runs the gateway and the console. The
-- application can append to the audit trail, but cannot change or delete audit events or checkpoints.
--
-- Every change to a key or Core takes the next number in one sequence. The last number is stored in
-- `last_change`, and announced with NOTIFY gatehouse_change. The advisory lock in the triggers makes
-- transactions commit in the order of their numbers, so a gateway that has read change n has read all
-- earlier changes.

-- All substrings of three characters, in lower case. Used by the index for searches, because the
-- extension pg_trgm is not available in every installation of PostgreSQL.
CREATE FUNCTION trigrams(value text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS $$
DECLARE
    result text[] := '{}';
BEGIN
    value := lower(value);
    FOR start IN 1..length(value) - 2 LOOP
        result[start] := substr(value, start, 3);
    END LOOP;
    RETURN result;
END $$;

CREATE SEQUENCE change_seq AS bigint;

-- The number of the last change. The highest number in the tables takes long to find while a
-- transaction that changes many rows runs.
CREATE TABLE last_change (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    seq  bigint  NOT NULL
);
INSERT INTO last_change (seq) VALUES (nextval('change_seq'));

CREATE TABLE api_key (
    id                 text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    digest             bytea       NOT NULL CHECK (octet_length(digest) = 32),
    pepper_generation  integer     NOT NULL CHECK (pepper_generation > 0),
    environment        text        NOT NULL CHECK (environment IN ('test', 'live')),
    state              text        NOT NULL
        CHECK (state IN ('active', 'disabled', 'revoked', 'deleted', 'purged')),
    name               text        NOT NULL,
    owner              text        NOT NULL,
    scopes             text[]      NOT NULL,
    cores              text[]      NOT NULL,
    methods            text[]      NOT NULL DEFAULT '{}',
    addresses          text[]      NOT NULL DEFAULT '{}',
    limits             jsonb       NOT NULL,
    has_credits        boolean     NOT NULL DEFAULT false,
    expires_at         timestamptz,
    created_at         timestamptz NOT NULL,
    created_by         text        NOT NULL,
    tags               text[]      NOT NULL DEFAULT '{}',
    metadata           jsonb       NOT NULL DEFAULT '{}',
    notes              text        NOT NULL DEFAULT '',
    family_id          text        NOT NULL,
    generation         integer     NOT NULL DEFAULT 1 CHECK (generation > 0),
    successor_id       text,
    rotated_at         timestamptz,
    revoked_at         timestamptz,
    revoked_by         text,
    revoke_reason      text,
    deleted_at         timestamptz,
    deleted_by         text,
    state_before       text        CHECK (state_before IN ('active', 'disabled', 'revoked')),
    purged_at          timestamptz,
    id_generation      integer     NOT NULL DEFAULT 0,
    scheme             text        NOT NULL DEFAULT 'own'
        CHECK (scheme IN ('own', 'sha256')),
    public_key         text        NOT NULL DEFAULT '',
    version            bigint      NOT NULL DEFAULT 1,
    change_seq         bigint      NOT NULL DEFAULT 0,
    CONSTRAINT api_key_revoked_check CHECK (
        (state <> 'revoked' OR revoked_at IS NOT NULL)
        AND (state NOT IN ('active', 'disabled') OR revoked_at IS NULL)),
    CONSTRAINT api_key_deleted_check CHECK (
        (state = 'deleted') = (deleted_at IS NOT NULL)
        AND (state = 'deleted') = (state_before IS NOT NULL)
        AND (state <> 'deleted' OR (state_before = 'revoked') = (revoked_at IS NOT NULL))),
    CONSTRAINT api_key_purged_check CHECK (
        (state = 'purged') = (purged_at IS NOT NULL)
        AND (state <> 'purged' OR (name = '' AND owner = '' AND notes = '' AND metadata = '{}'
             AND created_by = ''
             AND scopes = '{}' AND cores = '{}' AND methods = '{}' AND addresses = '{}'
             AND tags = '{}'
             AND limits = '[]' AND public_key = '' AND NOT has_credits AND id_generation = 0
             AND digest = decode(repeat('00', 32), 'hex')
             AND coalesce(expires_at, rotated_at, revoked_at) IS NULL
             AND coalesce(successor_id, revoked_by, revoke_reason, deleted_by) IS NULL)))
);
CREATE INDEX api_key_change_seq ON api_key (change_seq);
CREATE INDEX api_key_owner ON api_key (owner, id);
CREATE INDEX api_key_family ON api_key (family_id, generation);
CREATE INDEX api_key_state ON api_key (state, id);
CREATE INDEX api_key_id_generation ON api_key (scheme, id_generation);
CREATE INDEX api_key_tags ON api_key USING gin (tags) WITH (gin_pending_list_limit = 256);
CREATE INDEX api_key_search ON api_key USING gin (
    trigrams('  ' || name || E'\n  ' || owner || E'\n##' || left(id, 3)))
    WITH (gin_pending_list_limit = 256);  -- kB; a longer list makes searches slow
CREATE INDEX api_key_order_name ON api_key (lower(name), id);
CREATE INDEX api_key_order_created ON api_key (created_at, id);
CREATE INDEX api_key_order_expiry ON api_key ((coalesce(expires_at, 'infinity')), id);

-- Credits of a key family: one row for all generations, so that a rotation does not renew the
-- credits.
CREATE TABLE key_credit (
    family_id     text        PRIMARY KEY,
    remaining     bigint      NOT NULL CHECK (remaining >= 0),
    refill_amount bigint      CHECK (refill_amount > 0),
    refill_every  text        CHECK (refill_every IN ('hour', 'day', 'week', 'month')),
    refilled_at   timestamptz NOT NULL,
    CHECK ((refill_amount IS NULL) = (refill_every IS NULL))
);

-- Instances of Cores. Gateways delete rows of instances that have ended. The first version of a
-- row is the time in milliseconds, so that a row that is created again has a higher version than
-- the deleted row.
CREATE TABLE core (
    name              text        NOT NULL CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$'),
    url               text        NOT NULL,
    environment       text        NOT NULL CHECK (environment IN ('test', 'live')),
    lease_id          text        NOT NULL,
    registered_by     text        NOT NULL REFERENCES api_key (id),
    pepper_generation integer     NOT NULL CHECK (pepper_generation > 0),
    expires_at        timestamptz NOT NULL,
    -- Duration of the lease, which a renewal keeps.
    lease_s           integer     NOT NULL DEFAULT 60,
    draining          boolean     NOT NULL DEFAULT false,
    version           bigint      NOT NULL
        DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
    change_seq        bigint      NOT NULL DEFAULT 0,
    instance_id       text        NOT NULL DEFAULT 'default'
        CHECK (instance_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    -- Of the Core, without defaults; the same in all live instances of a name.
    settings          jsonb       NOT NULL DEFAULT '{}',
    PRIMARY KEY (name, instance_id)
);
CREATE INDEX core_change_seq ON core (change_seq);
CREATE INDEX core_expires_at ON core (expires_at);
CREATE INDEX core_registered_by ON core (registered_by, name);

-- One row for each gateway worker, with the last change that the worker has applied, the pepper
-- generations that it can read, and its last report about instances of Cores.
CREATE TABLE gateway_worker (
    id            text        PRIMARY KEY,
    confirmed_seq bigint      NOT NULL,
    seen_at       timestamptz NOT NULL,
    generations     integer[]   NOT NULL DEFAULT '{}',
    core_reports    jsonb       NOT NULL DEFAULT '[]',
    core_reports_at timestamptz  -- NULL until the worker has written a report
);

CREATE TABLE audit_event (
    seq            bigint      PRIMARY KEY,
    -- Python can represent these times to the microsecond.
    occurred_at    timestamptz NOT NULL
        CHECK (occurred_at >= '1970-01-01Z' AND occurred_at < '2200-01-01Z'),
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
CREATE INDEX audit_event_actor ON audit_event (actor_id, seq);
CREATE INDEX audit_event_action ON audit_event (action, seq);
CREATE INDEX audit_event_time ON audit_event (occurred_at);

CREATE TABLE audit_checkpoint (
    -- The last audit event that the checkpoint covers.
    seq       bigint      PRIMARY KEY CHECK (seq > 0),
    hash      bytea       NOT NULL CHECK (octet_length(hash) = 32),
    taken_at  timestamptz NOT NULL
        CHECK (taken_at >= '1970-01-01Z' AND taken_at < '2200-01-01Z'),
    key_id    text        NOT NULL,
    algorithm text        NOT NULL,
    signature bytea       NOT NULL
);

CREATE TABLE usage_count (
    width_s   integer     NOT NULL CHECK (width_s IN (60, 3600, 86400)),
    key_id    text        NOT NULL,  -- empty: the token did not prove possession of a key
    starts_at timestamptz NOT NULL,
    core      text        NOT NULL,  -- empty: no registered Core was requested
    code      text        NOT NULL,
    count     bigint      NOT NULL CHECK (count > 0),
    PRIMARY KEY (width_s, key_id, starts_at, core, code)
);
CREATE INDEX usage_count_time ON usage_count (width_s, starts_at);

CREATE TABLE usage_batch (
    worker_id text        PRIMARY KEY,
    -- The last batch that was counted, so that a repeated batch is not counted again.
    number    bigint      NOT NULL,
    seen_at   timestamptz NOT NULL
);

CREATE TABLE key_activity (
    key_id       text        PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);
CREATE TABLE key_alert (
    key_id    text        NOT NULL,
    kind      text        NOT NULL,
    raised_at timestamptz NOT NULL,
    PRIMARY KEY (key_id, kind)
);

CREATE TABLE webhook (
    id                text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    url               text        NOT NULL,
    events            text[]      NOT NULL,  -- empty: all events
    -- The secret is derived under this generation and is not stored.
    pepper_generation integer     NOT NULL,
    created_at        timestamptz NOT NULL,
    created_by        text        NOT NULL
);
CREATE TABLE notification_position (
    sole boolean PRIMARY KEY DEFAULT true CHECK (sole),
    seq  bigint  NOT NULL  -- the last audit event for which deliveries were created
);
CREATE TABLE delivery (
    notification_id text        NOT NULL,
    target          text        NOT NULL,  -- ID of a webhook, or 'topic'
    event           text        NOT NULL,
    body            text        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts        integer     NOT NULL DEFAULT 0,
    next_at         timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    problem         text        NOT NULL DEFAULT '',
    PRIMARY KEY (notification_id, target)
);
CREATE INDEX delivery_due ON delivery (target, next_at) WHERE state = 'waiting';
CREATE INDEX delivery_state ON delivery (state, notification_id);
CREATE INDEX delivery_finished ON delivery (finished_at);

CREATE TABLE legacy_file_removal (
    key_id    text        PRIMARY KEY,
    queued_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE idempotent_request (
    -- Hash of the caller and the Idempotency-Key.
    lookup      bytea       PRIMARY KEY CHECK (octet_length(lookup) = 32),
    fingerprint bytea       NOT NULL CHECK (octet_length(fingerprint) = 32),
    request_id  text        NOT NULL,  -- the audit trail shows whether this request took effect
    claimed_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    running     boolean     NOT NULL DEFAULT true,
    target_id   text        NOT NULL DEFAULT '',
    generation  integer,
    sealed      bytea  -- the response; opened with the pepper and the caller's own Idempotency-Key
);
CREATE INDEX idempotent_request_end ON idempotent_request (expires_at);
CREATE INDEX idempotent_request_target ON idempotent_request (target_id) WHERE target_id <> '';

CREATE TABLE console_session (
    id             text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),  -- not secret
    -- Keyed digest of the cookie.
    digest         bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    actor_type     text        NOT NULL CHECK (actor_type IN ('bootstrap', 'key', 'person')),
    actor_id       text        NOT NULL,
    -- Roles of a person; the roles of a key are read with every request.
    roles          text[]      NOT NULL,
    -- Keyed digest of the bootstrap token, so that a new token ends the session.
    bond           bytea       NOT NULL,
    created_at     timestamptz NOT NULL,
    proven_at      timestamptz NOT NULL,
    seen_at        timestamptz NOT NULL,
    ends_at        timestamptz NOT NULL,
    source_address text        NOT NULL,
    user_agent     text        NOT NULL CHECK (length(user_agent) <= 200)
);
CREATE INDEX console_session_actor ON console_session (actor_type, actor_id, created_at);

-- At most one link for each actor: a new link replaces the previous one. A sign-in deletes the
-- link.
CREATE TABLE sign_in_link (
    actor_type text        NOT NULL CHECK (actor_type IN ('bootstrap', 'key', 'person')),
    actor_id   text        NOT NULL,
    -- Keyed digest of the code in the link.
    digest     bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    roles      text[]      NOT NULL,
    bond       bytea       NOT NULL,
    proven_at  timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (actor_type, actor_id)
);

CREATE TABLE sharing_event (
    id          text        PRIMARY KEY,  -- ID of a secret event that is in the audit trail
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sharing_event_time ON sharing_event (recorded_at);

CREATE TABLE log_level (
    sole   boolean     PRIMARY KEY DEFAULT true CHECK (sole),
    level  text        NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    until  timestamptz NOT NULL,
    set_by text        NOT NULL
);

CREATE TABLE feature_switch (
    name       text        PRIMARY KEY,
    enabled    boolean     NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text        NOT NULL
);

-- If the tables were copied without the sequence, it continues after their numbers. Otherwise,
-- gateways would miss changes. Only the owner can set a sequence.
CREATE FUNCTION number_change() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7126501);
    NEW.change_seq := nextval('change_seq');
    IF NEW.change_seq <= (SELECT seq FROM last_change) THEN
        NEW.change_seq := setval('change_seq', (SELECT seq + 1 FROM last_change));
    END IF;
    IF TG_OP = 'UPDATE' THEN
        NEW.version := OLD.version + 1;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_change BEFORE INSERT OR UPDATE ON api_key
    FOR EACH ROW EXECUTE FUNCTION number_change();
CREATE TRIGGER core_change BEFORE INSERT OR UPDATE ON core
    FOR EACH ROW EXECUTE FUNCTION number_change();

CREATE FUNCTION announce_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- A statement that changes no row has not taken the lock. Without it, the last number could
    -- belong to an open transaction.
    PERFORM pg_advisory_xact_lock(7126501);
    UPDATE last_change SET seq = (SELECT last_value FROM change_seq)
    WHERE seq < (SELECT last_value FROM change_seq);
    IF FOUND THEN
        PERFORM pg_notify('gatehouse_change', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER api_key_announce AFTER INSERT OR UPDATE ON api_key
    FOR EACH STATEMENT EXECUTE FUNCTION announce_changes();
CREATE TRIGGER core_announce AFTER INSERT OR UPDATE ON core
    FOR EACH STATEMENT EXECUTE FUNCTION announce_changes();

CREATE FUNCTION set_family_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.family_id := coalesce(NEW.family_id, NEW.id);
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_family BEFORE INSERT ON api_key
    FOR EACH ROW EXECUTE FUNCTION set_family_id();

-- The bytes of AuditEvent.details_json. Other values than those of
-- audit_events.Details are rejected, and numbers that Python would read as a different number.
CREATE FUNCTION canonical_detail(value jsonb) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    kind text := jsonb_typeof(value);
    number numeric := CASE WHEN kind = 'number' THEN value::numeric ELSE 0 END;
BEGIN
    IF kind = 'object' OR (abs(number) >= 1e15 AND scale(number) > 0) OR abs(number) >= 1e30
        OR kind = 'array' AND jsonb_path_exists(value, 'strict $[*] ? (@.type() != "string")') THEN
        RAISE EXCEPTION 'an audit event cannot contain this value'
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN CASE
        WHEN kind = 'array' THEN '[' || coalesce((
            SELECT string_agg(item::text, ',' ORDER BY position)
            FROM jsonb_array_elements(value) WITH ORDINALITY AS items (item, position)), '') || ']'
        WHEN kind <> 'number' THEN value::text
        WHEN number = trunc(number) THEN trim_scale(number)::text
        ELSE number::float8::text
    END;
END $$;

-- Writers wait until the transaction ends, so sequence numbers have no gaps. The hash is that of
-- gatehouse.core.audit_chain.row_hash. The search path excludes tables that a session creates.
CREATE FUNCTION continue_audit_chain() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp SET extra_float_digits = 1 AS $$
DECLARE
    content text;
BEGIN
    PERFORM pg_advisory_xact_lock(7126502);
    SELECT seq + 1, hash INTO NEW.seq, NEW.previous_hash FROM audit_event ORDER BY seq DESC LIMIT 1;
    NEW.seq := coalesce(NEW.seq, 1);
    NEW.previous_hash := coalesce(NEW.previous_hash, sha256('gatehouse-audit-1 genesis'));
    NEW.hash := 'gatehouse-audit-1\000'::bytea || NEW.previous_hash || int8send(NEW.seq)
        || int8send((extract(epoch FROM NEW.occurred_at) * 1000000)::bigint);
    FOREACH content IN ARRAY ARRAY[
        NEW.actor_type, NEW.actor_id, NEW.action, NEW.target_type, NEW.target_id,
        NEW.outcome, NEW.request_id, NEW.source_address,
        (SELECT '{' || coalesce(string_agg(
            to_json(name)::text || ':' || canonical_detail(value), ',' ORDER BY name COLLATE "C"
        ), '') || '}' FROM jsonb_each(NEW.details) AS details (name, value))] LOOP
        NEW.hash := NEW.hash || int4send(octet_length(content)) || convert_to(content, 'UTF8');
    END LOOP;
    NEW.hash := sha256(NEW.hash);
    RETURN NEW;
END $$;
CREATE TRIGGER audit_event_chain BEFORE INSERT ON audit_event
    FOR EACH ROW EXECUTE FUNCTION continue_audit_chain();

CREATE FUNCTION keep_final_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'purged' THEN
        RAISE EXCEPTION 'a purged key cannot be changed' USING ERRCODE = 'check_violation';
    END IF;
    IF (OLD.state = 'revoked' OR OLD.state_before = 'revoked')
        AND NEW.state NOT IN ('revoked', 'deleted', 'purged') THEN
        RAISE EXCEPTION 'a revoked key cannot become usable' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_final_state BEFORE UPDATE ON api_key
    FOR EACH ROW EXECUTE FUNCTION keep_final_state();

CREATE FUNCTION forget_key_use(id text) RETURNS void LANGUAGE sql AS $$
    -- PostgreSQL before version 18 uses the primary key only with its first column.
    DELETE FROM usage_count WHERE width_s IN (60, 3600, 86400) AND key_id = $1;
    DELETE FROM key_activity WHERE key_id = $1;
    DELETE FROM key_alert WHERE key_id = $1;
$$;
CREATE FUNCTION forget_purged_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE idempotent_request SET sealed = NULL, running = false WHERE target_id = NEW.id;
    IF NEW.scheme <> 'own' THEN
        INSERT INTO legacy_file_removal (key_id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER api_key_purged AFTER UPDATE ON api_key FOR EACH ROW
    WHEN (NEW.state = 'purged' AND OLD.state <> 'purged') EXECUTE FUNCTION forget_purged_key();

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatehouse_app') THEN
        CREATE ROLE gatehouse_app LOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') THEN
        -- on RDS, the application logs in with IAM tokens and has no password
        GRANT rds_iam TO gatehouse_app;
    END IF;
END $$;
GRANT USAGE ON SCHEMA public TO gatehouse_app;
GRANT USAGE, SELECT ON SEQUENCE change_seq TO gatehouse_app;
GRANT SELECT, INSERT ON audit_event, audit_checkpoint TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE ON api_key, core, notification_position TO gatehouse_app;
GRANT SELECT, UPDATE ON last_change TO gatehouse_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    key_credit, gateway_worker, usage_count, usage_batch, key_activity,
    key_alert, webhook, delivery, legacy_file_removal, idempotent_request, console_session,
    sign_in_link, log_level, feature_switch, sharing_event
    TO gatehouse_app;
GRANT DELETE ON core TO gatehouse_app;
