-- Links to the portal, and the sessions that they start. A session replaces its link. Neither codes nor cookies are stored, only their HMACs.
CREATE TABLE portal_session (
    id          text        PRIMARY KEY CHECK (id ~ '^[0-9A-Za-z]{12}$'),
    customer_id text        NOT NULL REFERENCES customer (id) ON DELETE CASCADE,
    language    text        NOT NULL,   -- empty: the language of the browser
    digest      bytea       NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    created_at  timestamptz NOT NULL,
    opened_at   timestamptz,            -- NULL: the link has not been used
    ends_at     timestamptz NOT NULL
);
CREATE INDEX portal_session_customer ON portal_session (customer_id, created_at);
CREATE INDEX portal_session_end ON portal_session (ends_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON portal_session TO gatehouse_app;
