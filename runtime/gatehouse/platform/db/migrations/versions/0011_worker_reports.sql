-- One row for each worker of the gateway and of the console, with its version, its own checks, and its
-- last calls to the systems on which it depends. Workers of earlier versions have none.
CREATE TABLE worker_report (
    id      text        PRIMARY KEY,
    seen_at timestamptz NOT NULL,
    report  jsonb       NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON worker_report TO gatehouse_app;
