"""The rehearsal of docs/runbooks/recovery.md: the database is lost, a new one is filled, and yesterday's keys verify."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox import child_processes
from sandbox.errors import SandboxError
from sandbox.local import database_restore, servers, services
from sandbox.local.ports import free_port

GATEHOUSE = str(Path(sys.executable).parent / "gatehouse")
TOKEN = "gtk_admin_" + secrets.token_hex(24)
_READY_S = 60.0


def generations() -> str:
    return json.dumps({"current": 1, "generations": {"1": base64.b64encode(secrets.token_bytes(32)).decode()}})


# What Secrets Manager keeps. It is no part of the database, and so it outlives it; see the runbook for its own loss.
PEPPER, SESSION_KEY = generations(), generations()


@dataclass(frozen=True, slots=True)
class Doors:
    """A gateway and a console on one database."""

    gateway: str
    console: str

    def manage(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.request(method, self.console + path, json=body, headers=headers, timeout=30, trust_env=False)
        assert answer.status_code < 300, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def issue(self, name: str) -> tuple[str, str]:
        """(id, token) of a new key."""
        made = self.manage("POST", "/v1/keys", {"name": name})
        return made["key"]["id"], made["token"]

    def code(self, token: str) -> str:
        """What the gateway says about a token."""
        answer = httpx.post(f"{self.gateway}/v1/keys/verify", json={"token": token}, timeout=30, trust_env=False)
        return str(answer.json()["code"])

    def trail(self) -> dict[str, Any]:
        """`gatehouse audit verify`, as an auditor runs it: every hash is computed on this side."""
        environ = {**os.environ, "GATEHOUSE_CONSOLE_URL": self.console, "GATEHOUSE_ADMIN_TOKEN": TOKEN}
        command = [GATEHOUSE, "audit", "verify", "--json"]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        told: dict[str, Any] = json.loads(done.stdout)
        return told


def environment(url: str, **more: str) -> dict[str, str]:
    return {
        **services.plain_environment(),
        "GATEHOUSE_ENVIRONMENT": "dev",
        "GATEHOUSE_DATABASE_URL": f"{url}?sslmode=disable",
        "GATEHOUSE_DATABASE_AUTH": "url",
        "GATEHOUSE_BIND": "127.0.0.1",
        **more,
    }


def migrate(server: servers.Postgres, log: Path) -> None:
    child_processes.run("the migration", [GATEHOUSE, "migrate"], env=environment(server.owner_url), log=log)


@contextmanager
def doors(server: servers.Postgres, log: Path) -> Iterator[Doors]:
    ports = {door: free_port() for door in ("gateway", "console")}
    with ExitStack() as cleanup:
        for door, port in ports.items():
            env = environment(
                server.app_url,
                GATEHOUSE_PEPPER=PEPPER,
                **({"GATEHOUSE_SESSION_KEY": SESSION_KEY, "GATEHOUSE_BOOTSTRAP_TOKEN": TOKEN} if door == "console" else {}),
                **{f"GATEHOUSE_{door.upper()}_PORT": str(port)},
            )
            child = child_processes.start(door, [GATEHOUSE, "serve", door], env=env, log=log / f"{door}.log")
            cleanup.callback(child.stop)
            url = f"http://127.0.0.1:{port}/readyz"
            child_processes.wait_until(child, lambda url=url: services.answers(url), f"ready at {url}", _READY_S)  # type: ignore[misc]
        yield Doors(*(f"http://127.0.0.1:{port}" for port in ports.values()))


@pytest.mark.requirement("ECS-11", "ECS-13")
def test_after_the_loss_of_the_database_yesterdays_keys_verify_and_the_trail_is_whole(tmp_path: Path) -> None:
    copy = tmp_path / "yesterday.dump"
    with servers.postgres(tmp_path / "first.log") as first:
        migrate(first, tmp_path / "migrate.log")
        with doors(first, tmp_path / "first") as before:
            _, kept = before.issue("kept")
            revoked_id, revoked = before.issue("revoked")
            before.manage("POST", f"/v1/keys/{revoked_id}/revoke", {})
            late_id, late = before.issue("revoked after the copy")
            yesterday = before.trail()
            database_restore.dump(first, copy)
            _, lost = before.issue("made after the copy")
            before.manage("POST", f"/v1/keys/{late_id}/revoke", {})
            assert [before.code(token) for token in (kept, revoked, late, lost)] == ["VALID", "NOT_FOUND", "NOT_FOUND", "VALID"]
    # The first server and all of its files are gone now.
    with servers.postgres(tmp_path / "second.log") as second:
        database_restore.restore(second, copy)
        migrate(second, tmp_path / "migrate-again.log")  # as a release would: the schema is current already
        with doors(second, tmp_path / "second") as after:
            assert after.trail() == yesterday
            assert (yesterday["intact"], yesterday["rows"]) == (True, 4)
            assert [after.code(token) for token in (kept, revoked, lost)] == ["VALID", "NOT_FOUND", "NOT_FOUND"]
            # The danger that the runbook's last step is for: what was revoked after the copy opens again, until it is revoked.
            assert after.code(late) == "VALID"
            after.manage("POST", f"/v1/keys/{late_id}/revoke", {})
            assert after.code(late) == "NOT_FOUND"
            # And it goes on from there: a new key, a revocation that the gateway sees, a longer trail.
            new_id, new = after.issue("after the recovery")
            assert after.code(new) == "VALID"
            assert after.manage("POST", f"/v1/keys/{new_id}/revoke", {})["effective"] == "everywhere"
            assert after.code(new) == "NOT_FOUND"
            longer = after.trail()
            assert (longer["intact"], longer["rows"]) == (True, yesterday["rows"] + 3)


def test_a_copy_that_is_cut_short_is_refused_and_leaves_the_database_empty(tmp_path: Path) -> None:
    with servers.postgres(tmp_path / "log") as server:
        migrate(server, tmp_path / "migrate.log")
        copy = tmp_path / "copy.dump"
        database_restore.dump(server, copy)
        copy.write_bytes(copy.read_bytes()[:-2000])
        server.sql(f"DROP DATABASE {servers.DATABASE};\nCREATE DATABASE {servers.DATABASE} OWNER {servers.OWNER_ROLE};")
        with pytest.raises(SandboxError, match="pg_restore failed"):
            database_restore.restore(server, copy)
        assert server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", servers.DATABASE) == "0"
