-- Requests to the gateway: the denied ones, and from this version on also the allowed ones.
ALTER TABLE denial RENAME TO gateway_request;
ALTER TABLE gateway_request RENAME COLUMN denied_at TO began_at;
ALTER TABLE gateway_request
    ADD COLUMN method      text    NOT NULL DEFAULT '',
    ADD COLUMN path        text    NOT NULL DEFAULT '',  -- without the query; empty: not known
    ADD COLUMN status      integer NOT NULL DEFAULT 0,   -- 0: not known
    ADD COLUMN duration_us bigint,                       -- NULL: not known
    ADD COLUMN core_us     bigint;                       -- NULL: the gateway itself responded
COMMENT ON COLUMN gateway_request.failed_check IS 'Empty: the request was allowed.';
ALTER INDEX denial_pkey RENAME TO gateway_request_pkey;
ALTER INDEX denial_time RENAME TO gateway_request_time;
ALTER INDEX denial_key RENAME TO gateway_request_key;
ALTER INDEX denial_request RENAME TO gateway_request_id;
CREATE INDEX gateway_request_denied ON gateway_request (began_at, id) WHERE failed_check <> '';
-- For versions that still run, which delete rows by their ctid.
CREATE VIEW denial AS
    SELECT ctid, id, began_at AS denied_at, key_id, core, code, failed_check, detail, address, request_id, count
    FROM gateway_request WHERE failed_check <> '';
GRANT SELECT, INSERT, DELETE ON denial TO gatehouse_app;
CREATE OR REPLACE FUNCTION forget_key_use(id text) RETURNS void LANGUAGE sql AS $$
    -- PostgreSQL before version 18 uses the primary key only with its first column.
    DELETE FROM usage_count WHERE width_s IN (60, 3600, 86400) AND key_id = $1;
    DELETE FROM key_activity WHERE key_id = $1;
    DELETE FROM key_alert WHERE key_id = $1;
    DELETE FROM gateway_request WHERE key_id = $1 AND key_id <> '';
$$;
