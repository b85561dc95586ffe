-- Requests that were charged in the last minutes: the proxy can send a request to a second worker
-- after it was charged. Not in the write-ahead log: a crash of the database loses only these rows.
CREATE UNLOGGED TABLE credit_charge (
    id         uuid        PRIMARY KEY,
    charged_at timestamptz NOT NULL DEFAULT now()
);
GRANT SELECT, INSERT, DELETE ON credit_charge TO gatehouse_app;
