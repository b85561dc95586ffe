"""docs/runbooks/recovery.md: the region is lost, and the stack is restored in the second region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.local import lambda_functions, servers
from sandbox.local.ecs_task import Aws, Credentials
from tests.components.program import write_stack
from tests.journeys.local_services import dump, migrate, restore, running_services

HOME, SECOND, THIRD = "eu-west-1", "eu-central-1", "eu-west-3"


@dataclass(frozen=True, slots=True)
class Deployed:
    """A deployed stack. pepper: the value that its rotation function created."""

    exports: dict[str, Any]
    pepper: str


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
    return str(emulator.client("secretsmanager", region).get_secret_value(SecretId=f"gatehouse/{stack}/pepper")["SecretString"])


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


@pytest.mark.requirement("ECS-11", "ECS-13")
def test_stack_in_the_second_region_verifies_the_keys_of_the_lost_region(emulator: Emulator, tmp_path: Path) -> None:
    home = deploy(emulator, tmp_path, "dev", {"second_region": SECOND, "recovery.stack": "devdr"})
    with servers.postgres(tmp_path / "home.log") as database:
        migrate(database, tmp_path / "migrate.log")
        with running_services(database, home.pepper, tmp_path / "home") as services:
            _, active = services.issue("active")
            revoked_id, revoked = services.issue("revoked")
            services.manage("POST", f"/v1/keys/{revoked_id}/revoke", {})
            verified = services.audit_verification()
            assert [services.code(token) for token in (active, revoked)] == ["VALID", "NOT_FOUND"]
        # RDS replicates snapshots and transaction logs. Here, a dump of the local server contains the same rows.
        dump(database, tmp_path / "database.dump")

    emulator.lost_regions.add(HOME)
    with pytest.raises(ClientError):
        pepper(emulator, HOME, "dev")

    changes = {
        "region": SECOND,
        "second_region": THIRD,
        "network.zones": [f"{SECOND}a", f"{SECOND}b"],
        "existing_resources.zone_id": home.exports["zoneId"],
        "recovery.restore": home.exports["recovery"],
    }
    restored = deploy(emulator, tmp_path, "devdr", changes)
    assert restored.pepper == home.pepper, "the rotation function copies the replica"
    assert emulator.permissions.denied == []
    assert restored.exports["urls"] == home.exports["urls"]
    rds = emulator.client("rds", SECOND)
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier="gatehouse-devdr-main")["DBInstances"]
    assert (instance["DBName"], instance["MasterUsername"]) == ("gatehouse", "gatehouse_owner")
    assert instance["KmsKeyId"] == home.exports["recovery"]["database_key_arn"]

    with servers.postgres(tmp_path / "second.log") as database:
        restore(database, tmp_path / "database.dump")
        migrate(database, tmp_path / "migrate-again.log")
        with running_services(database, restored.pepper, tmp_path / "second") as services:
            assert [services.code(token) for token in (active, revoked)] == ["VALID", "NOT_FOUND"]
            assert services.audit_verification() == verified
            _, new = services.issue("created in the second region")
            assert services.code(new) == "VALID"
            longer = services.audit_verification()
            assert (longer["intact"], longer["rows"]) == (True, verified["rows"] + 1)
