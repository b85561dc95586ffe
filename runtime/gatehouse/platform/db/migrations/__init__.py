"""Migrations of the database schema, with one file per revision, and the migration runner."""
