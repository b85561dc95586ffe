"""docs/runbooks/recovery.md: the region and its database are lost. A stack in the second region
serves a dump of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from gatehouse_policies.program.runner import run

from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import lambda_functions, servers
from sandbox.local.ecs_task import Aws, Credentials
from tests.components.program import write_stack
from tests.journeys.local_services import Services, dump, migrate, restore, running_services

HOME, SECOND, THIRD = "eu-west-1", "eu-central-1", "eu-west-3"

pytestmark = pytest.mark.requirement("ECS-11", "ECS-13")


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployed stack. pepper: the value that its rotation function created."""

    exports: dict[str, Any]
    pepper: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The lost stack, the dump of its database, and the verification of the audit trail before the
    dump.

    tokens: of the keys `active`, `revoked`, `late` (revoked after the dump) and `new` (created
        after the dump).
    late_id: the ID of the key `late`.
    """

    stack: Deployed
    dump: Path
    verified: dict[str, Any]
    tokens: dict[str, str]
    late_id: str


def deploy(emulator: Emulator, folder: Path, stack: str, changes: dict[str, Any]) -> Deployed:
    """Deploy a stack with the settings of dev, and run its rotation function with its role."""
    write_stack(stack, folder, environment="dev", changes={"environment": "dev", **changes})
    emulator.permissions.enforce(False)
    exports = run(folder, stack, emulator, preview=False).exports
    region = str(exports["region"])
    aws = Aws(emulator.endpoint, region, Credentials(*emulator.credentials))
    emulator.permissions.enforce(True)
    lambda_functions.rotate_secrets(aws, exports["rotation"], folder / f"{stack}.log")
    return Deployed(exports, pepper(emulator, region, stack))


def pepper(emulator: Emulator, region: str, stack: str) -> str:
    return str(
        emulator.client("secretsmanager", region).get_secret_value(
            SecretId=f"gatehouse/{stack}/pepper"
        )["SecretString"]
    )


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recovery")


@pytest.fixture(scope="module")
def lost(emulator: Emulator, folder: Path) -> Lost:
    """The stack in the home region, whose keys are used until the region and the database server
    are lost.
    """
    home = deploy(emulator, folder, "dev", {"second_region": SECOND, "recovery.stack": "devdr"})
    file = folder / "database.dump"
    with servers.postgres(folder / "home.log") as database:
        migrate(database, folder / "migrate.log")
        with running_services(database, home.pepper, folder / "home") as services:
            _, active = services.issue("active")
            revoked_id, revoked = services.issue("revoked")
            services.manage("POST", f"/v1/keys/{revoked_id}/revoke", {})
            late_id, late = services.issue("revoked after the dump")
            verified = services.audit_verification()
            # RDS replicates snapshots and transaction logs. Here, a dump of the local server
            # contains the same rows.
            dump(database, file)
            _, new = services.issue("created after the dump")
            services.manage("POST", f"/v1/keys/{late_id}/revoke", {})
            tokens = {"active": active, "revoked": revoked, "late": late, "new": new}
            codes = {name: services.code(token) for name, token in tokens.items()}
    assert codes == {"active": "VALID", "revoked": "NOT_FOUND", "late": "NOT_FOUND", "new": "VALID"}
    assert (verified["intact"], verified["rows"]) == (True, 4)
    emulator.lost_regions.add(HOME)
    return Lost(home, file, verified, tokens, late_id)


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[servers.Postgres]:
    """An empty database on a second server."""
    with servers.postgres(folder / "second.log") as server:
        yield server


def test_truncated_dump_is_rejected(lost: Lost, database: servers.Postgres, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.dump"
    truncated.write_bytes(lost.dump.read_bytes()[:-2000])
    with pytest.raises(SandboxError, match="pg_restore failed"):
        restore(database, truncated)
    assert (
        database.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", servers.DATABASE)
        == "0"
    )


def test_stack_in_the_second_region_has_the_keys_and_the_audit_trail_of_the_dump(
    emulator: Emulator, lost: Lost, database: servers.Postgres, folder: Path
) -> None:
    with pytest.raises(ClientError):
        pepper(emulator, HOME, "dev")
    restored = deploy_in_second_region(emulator, folder, lost.stack)
    restore(database, lost.dump)
    migrate(database, folder / "migrate-again.log")  # as in a release; the schema is up to date
    with running_services(database, restored.pepper, folder / "second") as services:
        codes = {name: services.code(token) for name, token in lost.tokens.items()}
        # A key revoked after the dump is valid until it is revoked again (step 6 of the runbook).
        assert codes == {
            "active": "VALID",
            "revoked": "NOT_FOUND",
            "late": "VALID",
            "new": "NOT_FOUND",
        }
        assert services.audit_verification() == lost.verified
        revoke_and_issue(services, lost)
        longer = services.audit_verification()
        assert (longer["intact"], longer["rows"]) == (True, lost.verified["rows"] + 3)


def deploy_in_second_region(emulator: Emulator, folder: Path, home: Deployed) -> Deployed:
    changes = {
        "region": SECOND,
        "second_region": THIRD,
        "network.zones": [f"{SECOND}a", f"{SECOND}b"],
        "existing_resources.zone_id": home.exports["zoneId"],
        "recovery.restore": home.exports["recovery"],
    }
    restored = deploy(emulator, folder, "devdr", changes)
    assert restored.pepper == home.pepper, "the rotation function copies the replica"
    assert emulator.permissions.denied == []
    assert restored.exports["urls"] == home.exports["urls"]
    rds = emulator.client("rds", SECOND)
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier="gatehouse-devdr-main")[
        "DBInstances"
    ]
    assert (instance["DBName"], instance["MasterUsername"]) == ("gatehouse", "gatehouse_owner")
    assert instance["KmsKeyId"] == home.exports["recovery"]["database_key_arn"]
    return restored


def revoke_and_issue(services: Services, lost: Lost) -> None:
    services.manage("POST", f"/v1/keys/{lost.late_id}/revoke", {})
    assert services.code(lost.tokens["late"]) == "NOT_FOUND"
    created_id, created = services.issue("created after the restore")
    assert services.code(created) == "VALID"
    assert services.manage("POST", f"/v1/keys/{created_id}/revoke", {})["effective"] == "everywhere"
    assert services.code(created) == "NOT_FOUND"
