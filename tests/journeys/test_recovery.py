"""docs/runbooks/recovery.md: the database is lost and restored from a dump."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.errors import SandboxError
from sandbox.local import servers
from tests.journeys.local_services import dump, generations, migrate, restore, running_services

PEPPER = generations()
"""The value is stored in Secrets Manager, so it is not lost with the database."""


@pytest.mark.requirement("ECS-11", "ECS-13")
def test_restored_database_has_keys_and_audit_trail(tmp_path: Path) -> None:
    file = tmp_path / "database.dump"
    with servers.postgres(tmp_path / "first.log") as first:
        migrate(first, tmp_path / "migrate.log")
        with running_services(first, PEPPER, tmp_path / "first") as before:
            _, active = before.issue("active")
            revoked_id, revoked = before.issue("revoked")
            before.manage("POST", f"/v1/keys/{revoked_id}/revoke", {})
            late_id, late = before.issue("revoked after the dump")
            verified = before.audit_verification()
            dump(first, file)
            _, lost = before.issue("created after the dump")
            before.manage("POST", f"/v1/keys/{late_id}/revoke", {})
            assert [before.code(token) for token in (active, revoked, late, lost)] == ["VALID", "NOT_FOUND", "NOT_FOUND", "VALID"]
    # The first server and its files are deleted.
    with servers.postgres(tmp_path / "second.log") as second:
        restore(second, file)
        migrate(second, tmp_path / "migrate-again.log")  # as in a release; the schema is up to date
        with running_services(second, PEPPER, tmp_path / "second") as after:
            assert after.audit_verification() == verified
            assert (verified["intact"], verified["rows"]) == (True, 4)
            assert [after.code(token) for token in (active, revoked, lost)] == ["VALID", "NOT_FOUND", "NOT_FOUND"]
            # A key revoked after the dump is valid until it is revoked again (last step of the runbook).
            assert after.code(late) == "VALID"
            after.manage("POST", f"/v1/keys/{late_id}/revoke", {})
            assert after.code(late) == "NOT_FOUND"
            new_id, new = after.issue("created after the restore")
            assert after.code(new) == "VALID"
            assert after.manage("POST", f"/v1/keys/{new_id}/revoke", {})["effective"] == "everywhere"
            assert after.code(new) == "NOT_FOUND"
            longer = after.audit_verification()
            assert (longer["intact"], longer["rows"]) == (True, verified["rows"] + 3)


def test_truncated_dump_is_rejected(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "log") as server:
        migrate(server, tmp_path / "migrate.log")
        file = tmp_path / "database.dump"
        dump(server, file)
        file.write_bytes(file.read_bytes()[:-2000])
        server.sql(f"DROP DATABASE {servers.DATABASE};\nCREATE DATABASE {servers.DATABASE} OWNER {servers.OWNER_ROLE};")
        with pytest.raises(SandboxError, match="pg_restore failed"):
            restore(server, file)
        assert server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", servers.DATABASE) == "0"
