"""The schema of the database, one file a step, and how the steps are taken."""
