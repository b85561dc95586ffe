"""A stack in the emulator with local servers. Its console imports and exports keys, and signs
checkpoints with KMS, under IAM enforcement. Then the region and its database are lost, and a stack
in the second region serves a dump (docs/runbooks/recovery.md).
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from botocore.exceptions import ClientError
from gatehouse.core.audit_chain import Checkpoint, signed_bytes
from gatehouse.features.audit.schemas import CheckpointView, checkpoint_of
from pulumi_local.runner import run

from components import contract
from components.contract import Contract
from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import servers, services
from sandbox.local.ecs_task import Aws, Credentials, EcsTask
from sandbox.local.functions import lambda_functions
from sandbox.ports import free_port
from tests.components.program import write_stack
from tests.journeys.local_services import Services, dump, migrate, restore, running_services

STACK, SECOND_STACK = "dev", "devdr"
HOME, SECOND, THIRD = "eu-west-1", "eu-central-1", "eu-west-3"
ROLE = f"gatehouse-{STACK}-console-task"
LEGACY_BUCKET, LEGACY_FILE = "old-deployment-of-keys", "api_keys.json"
TOKENS = {
    "token-of-the-nightly-export": {"name": "nightly export"},
    "token-of-the-reports-page": {"name": "reports"},
}
INTERVAL_S = 10
"""The shortest checkpoint interval that the runtime accepts."""


@dataclass(frozen=True)
class Deployed:
    exports: dict[str, Any]
    pepper: str
    session_key: str


@dataclass(frozen=True)
class HomeStack:
    emulator: Emulator
    deployed: Deployed
    aws: Aws
    contract: Contract
    local: services.LocalServers
    tasks: Mapping[str, EcsTask]

    def environment(self, process: str) -> dict[str, str]:
        return services.task_environment(self.aws, self.tasks[process], self.contract, self.local)

    def client(self, service: str) -> Any:
        return self.emulator.client(service, HOME)


def deploy(
    emulator: Emulator, folder: Path, stack: str, changes: dict[str, Any]
) -> tuple[Deployed, Aws]:
    write_stack(stack, folder, environment="dev", changes={"environment": "dev", **changes})
    emulator.permissions.enforce(False)
    exports = run(folder, stack, emulator, preview=False).exports
    region = str(exports["region"])
    aws = Aws(emulator.endpoint, region, Credentials(*emulator.credentials))
    emulator.permissions.enforce(True)
    lambda_functions.rotate_secrets(aws, exports["rotation"], folder / f"{stack}.log")
    values = (secret(emulator, region, stack, name) for name in ("pepper", "session-key"))
    return Deployed(exports, *values), aws


def secret(emulator: Emulator, region: str, stack: str, name: str) -> str:
    client, secret_id = emulator.client("secretsmanager", region), f"gatehouse/{stack}/{name}"
    return str(client.get_secret_value(SecretId=secret_id)["SecretString"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("deployed")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator.start() as started:
        yield started


@pytest.fixture(scope="module")
def home(emulator: Emulator, folder: Path) -> Iterator[HomeStack]:
    declared = contract.read(optional_variables=None)
    create_legacy_files(emulator)
    deployed, aws = deploy(
        emulator,
        folder,
        STACK,
        {
            "legacy_files": [f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}"],
            "second_region": SECOND,
            "recovery.stack": SECOND_STACK,
        },
    )
    with (
        servers.postgres(folder / "home.log") as database,
        servers.redis(folder / "redis.log") as redis_url,
    ):
        ports = {service: free_port() for service in declared.services}
        local = services.LocalServers(database, redis_url, ports)
        database.set_password(*services.master_credentials(aws, deployed.exports))
        tasks = services.deployed_tasks(aws, deployed.exports, declared)
        stack = HomeStack(emulator, deployed, aws, declared, local, tasks)
        services.migrate(tasks["migrate"], stack.environment("migrate"), folder / "migrate.log")
        database.set_password(servers.OWNER_ROLE, database.owner_password)
        yield stack


@dataclass(frozen=True)
class Task:
    emulator: Emulator
    environment: Mapping[str, str]
    bucket: str
    logs: Path

    def run(self, *command: str) -> None:
        """Run a command of the runtime. Raises SandboxError with its last output if it fails."""
        log = self.logs / f"{command[0]}.log"
        log.unlink(missing_ok=True)
        child_processes.run(
            command[0], ("gatehouse", *command), env=self.environment, log=log, timeout_s=90
        )


@pytest.fixture
def task(home: HomeStack, folder: Path) -> Task:
    bucket = str(home.deployed.exports["buckets"]["data"])
    return Task(home.emulator, home.environment("console"), bucket, folder)


def create_legacy_files(emulator: Emulator) -> None:
    s3 = emulator.client("s3", "eu-west-1")
    s3.create_bucket(
        Bucket=LEGACY_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    for key in (LEGACY_FILE, "other.json"):
        s3.put_object(Bucket=LEGACY_BUCKET, Key=key, Body=json.dumps(TOKENS).encode())


def test_import_export_and_restore_with_the_role_of_the_console(task: Task) -> None:
    task.run("import", f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}")
    export = f"s3://{task.bucket}/exports/2030-01-01"
    task.run("export", "--to", export)
    stored = task.emulator.client("s3", "eu-west-1").get_object(
        Bucket=task.bucket, Key="exports/2030-01-01"
    )
    assert stored["ServerSideEncryption"] == "aws:kms"
    content = stored["Body"].read()
    assert content
    assert not any(token.encode() in content for token in TOKENS)
    task.run("import", export, "--restore")
    assert {"s3:GetObject", "s3:PutObject"} <= task.emulator.permissions.used_actions[ROLE]


@pytest.mark.parametrize(
    "command",
    [
        ("import", f"s3://{LEGACY_BUCKET}/other.json"),
        ("export", "--to", "s3://{bucket}/elsewhere/x"),
    ],
)
def test_other_objects_are_denied(task: Task, command: tuple[str, ...]) -> None:
    with pytest.raises(SandboxError, match="role"):
        task.run(*(argument.replace("{bucket}", task.bucket) for argument in command))


@dataclass(frozen=True)
class Archive:
    bucket: str
    key: str
    checkpoint: Checkpoint
    denied: list[str]


@pytest.fixture(scope="module")
def archive(home: HomeStack, folder: Path) -> Archive:
    """Start a console, which imports no legacy files, until it stores a checkpoint."""
    env = {
        **home.environment("console"),
        "GATEHOUSE_CHECKPOINT_INTERVAL_S": str(INTERVAL_S),
        "GATEHOUSE_LEGACY_FILES": "",
    }
    bucket, _, prefix = env["GATEHOUSE_CHECKPOINT_ARCHIVE"].removeprefix("s3://").partition("/")
    denied, s3 = len(home.emulator.permissions.denied), home.client("s3")

    def stored() -> list[dict[str, Any]]:
        return list(s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []))

    console = child_processes.start(
        "console", home.tasks["console"].command, env=env, log=folder / "console.log"
    )
    try:
        services.wait_ready(console, f"{home.local.url('console')}/readyz")
        headers = {"Authorization": f"Bearer {env['GATEHOUSE_BOOTSTRAP_TOKEN'].strip()}"}
        url = f"{home.local.url('console')}/v1/keys"
        response = httpx.post(
            url, json={"name": "one event"}, headers=headers, timeout=60, trust_env=False
        )
        assert response.status_code == 201, response.text
        child_processes.wait_until(console, lambda: bool(stored()), "storing a checkpoint", 90)
    finally:
        console.stop()
    key = stored()[0]["Key"]
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    checkpoint = checkpoint_of(msgspec.json.decode(body, type=CheckpointView))
    calls = home.emulator.permissions.denied[denied:]
    return Archive(bucket, key, checkpoint, [call for call in calls if "console-task" in call])


def test_task_role_is_sufficient(home: HomeStack, archive: Archive) -> None:
    used = home.emulator.permissions.used_actions[ROLE]
    assert {"kms:Sign", "kms:GetPublicKey", "s3:PutObject"} <= used
    assert archive.denied == []


def test_checkpoint_is_signed_by_the_audit_key(home: HomeStack, archive: Archive) -> None:
    checkpoint, kms = archive.checkpoint, home.client("kms")
    alias = f"alias/gatehouse-{STACK}-audit"
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]
    # GetPublicKey returns the ARN of the key on AWS and its ID in the emulator.
    assert key["Arn"].endswith(checkpoint.key_id)
    assert (key["KeyUsage"], key["KeySpec"]) == ("SIGN_VERIFY", "ECC_NIST_P256")
    signature = {
        "Signature": checkpoint.signature,
        "SigningAlgorithm": "ECDSA_SHA_256",
        "MessageType": "RAW",
    }
    assert kms.verify(KeyId=alias, Message=signed_bytes(checkpoint), **signature)["SignatureValid"]


def test_checkpoint_is_under_object_lock(home: HomeStack, archive: Archive) -> None:
    s3, place = home.client("s3"), {"Bucket": archive.bucket, "Key": archive.key}
    stored = s3.head_object(**place)
    assert stored["ObjectLockMode"] == "GOVERNANCE"
    assert stored["ObjectLockRetainUntilDate"].timestamp() > time.time()
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(**place, VersionId=stored["VersionId"])


@dataclass(frozen=True)
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


@pytest.fixture(scope="module")
def lost(home: HomeStack, folder: Path) -> Lost:
    """The home stack, whose keys are used until the region and the database server are lost."""
    file, database = folder / "database.dump", home.local.database
    secrets = home.deployed.pepper, folder / "home", home.deployed.session_key
    with running_services(database, *secrets) as services:
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
    assert verified["intact"]
    assert verified["rows"] >= 4
    home.emulator.lost_regions.add(HOME)
    return Lost(home.deployed, file, verified, tokens, late_id)


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[servers.Postgres]:
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
        secret(emulator, HOME, STACK, "pepper")
    restored = deploy_in_second_region(emulator, folder, lost.stack)
    restore(database, lost.dump)
    # As in a release; the schema is up to date. The stack has other settings than the lost one.
    second = {"GATEHOUSE_ENVIRONMENT": SECOND_STACK}
    definition = restored.exports["migration"]["taskDefinition"]
    task = emulator.client("ecs", SECOND).describe_task_definition(taskDefinition=definition)
    (container,) = task["taskDefinition"]["containerDefinitions"]
    name = "GATEHOUSE_REPLACED_ENVIRONMENT"
    replaced = {
        row["name"]: row["value"] for row in container["environment"] if row["name"] == name
    }
    migrate(database, folder / "migrate-again.log", **second, **replaced)
    secrets = restored.pepper, folder / "second", restored.session_key
    with running_services(database, *secrets, GATEHOUSE_ENVIRONMENT=SECOND_STACK) as services:
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
    denied = len(emulator.permissions.denied)
    restored, _ = deploy(emulator, folder, SECOND_STACK, changes)
    assert restored.pepper == home.pepper, "the rotation function copies the replica"
    assert emulator.permissions.denied[denied:] == []
    assert restored.exports["urls"] == home.exports["urls"]
    rds = emulator.client("rds", SECOND)
    (instance,) = rds.describe_db_instances(DBInstanceIdentifier=f"gatehouse-{SECOND_STACK}-main")[
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
