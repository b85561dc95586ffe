"""Schema of the database, one file per revision, and the runner of migrations."""
