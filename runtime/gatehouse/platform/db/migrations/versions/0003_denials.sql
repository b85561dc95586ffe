-- Denied requests
CREATE TABLE denial (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    denied_at    timestamptz NOT NULL,
    key_id       text        NOT NULL,  -- empty: the request did not prove possession of a key
    core         text        NOT NULL,  -- empty: no registered Core was requested
    code         text        NOT NULL,
    failed_check text        NOT NULL,
    detail       text        NOT NULL,
    address      text        NOT NULL,
    request_id   text        NOT NULL,
    count        bigint      NOT NULL CHECK (count > 0)
);
CREATE INDEX denial_time ON denial (denied_at, id);
CREATE INDEX denial_key ON denial (key_id, denied_at) WHERE key_id <> '';
CREATE INDEX denial_request ON denial (request_id);
CREATE INDEX audit_event_request ON audit_event (request_id);
GRANT SELECT, INSERT, DELETE ON denial TO gatehouse_app;
CREATE OR REPLACE FUNCTION forget_key_use(id text) RETURNS void LANGUAGE sql AS $$
    -- PostgreSQL before version 18 uses the primary key only with its first column.
    DELETE FROM usage_count WHERE width_s IN (60, 3600, 86400) AND key_id = $1;
    DELETE FROM key_activity WHERE key_id = $1;
    DELETE FROM key_alert WHERE key_id = $1;
    DELETE FROM denial WHERE key_id = $1 AND key_id <> '';
$$;
