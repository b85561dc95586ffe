"""Moving in and out on AWS: as a task of the console, under its role alone, with the old files and the stack's data bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.engine.project import load
from sandbox.errors import SandboxError
from sandbox.local import rotation, servers, services
from sandbox.local.ecs_task import Aws, Contract, Credentials
from sandbox.local.ports import free_port
from sandbox.paths import REPOSITORY

STACK = "dev"
ROLE = f"gatehouse-{STACK}-console-task"
OLD, KEY = "old-deployment-of-keys", "api_keys.json"
TOKENS = {"token-of-the-nightly-export": {"name": "nightly export"}, "token-of-the-reports-page": {"name": "reports"}}


@dataclass(frozen=True, slots=True)
class Task:
    """A one-off task with the console's definition. bucket: the stack's data bucket."""

    emulator: Emulator
    environment: Mapping[str, str]
    bucket: str
    logs: Path

    def run(self, *command: str) -> str:
        """What it says; raises SandboxError, with its last words, when it ends with another status than 0."""
        log = self.logs / f"{command[0]}.log"
        log.unlink(missing_ok=True)
        child_processes.run(command[0], ("gatehouse", *command), env=self.environment, log=log, timeout_s=90)
        return log.read_text()


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Task]:
    logs: Path = tmp_path_factory.mktemp("logs")
    contract = Contract.read(REPOSITORY / "runtime" / "contract.toml")
    settings = json.loads(load(REPOSITORY, STACK).config["gatehouse:settings"])
    settings["legacy_files"] = [f"s3://{OLD}/{KEY}"]
    with ExitStack() as cleanup:
        emulator = Emulator.start()
        cleanup.callback(emulator.stop)
        config = {"gatehouse:settings": json.dumps(settings)}
        exports = run(REPOSITORY, STACK, emulator, preview=False, config=config).exports
        aws = Aws(emulator.endpoint, str(exports["region"]), Credentials(*emulator.credentials, ""))
        s3 = emulator.client("s3", aws.region)
        s3.create_bucket(Bucket=OLD, CreateBucketConfiguration={"LocationConstraint": aws.region})
        for key in (KEY, "other.json"):
            s3.put_object(Bucket=OLD, Key=key, Body=json.dumps(TOKENS).encode())
        database = cleanup.enter_context(servers.postgres(logs / "postgres.log"))
        redis_url = cleanup.enter_context(servers.redis(logs / "redis.log"))
        place = services.Place(database, redis_url, {door: free_port() for door in contract.ports})
        emulator.enforce_iam(True)
        rotation.first_values(aws, exports["rotation"], services.base_environment(aws), logs / "rotation.log")
        database.set_password(*services.master_password(aws, exports))
        tasks = services.tasks(aws, exports, contract)
        services.migrate(tasks["migrate"], services.environment(aws, tasks["migrate"], contract, place), logs / "migrate.log")
        environment = services.environment(aws, tasks["console"], contract, place)
        yield Task(emulator, environment, str(exports["buckets"]["data"]), logs)


def test_the_console_of_a_stack_knows_its_old_files(task: Task) -> None:
    assert task.environment["GATEHOUSE_LEGACY_FILES"] == f"s3://{OLD}/{KEY}"


@pytest.mark.requirement("CG-18")
def test_keys_are_imported_from_the_old_file_and_exported_and_restored_under_the_role_of_the_console(task: Task) -> None:
    task.run("import", f"s3://{OLD}/{KEY}")
    export = f"s3://{task.bucket}/exports/2030-01-01"
    task.run("export", "--to", export)
    sealed = task.emulator.client("s3", "eu-west-1").get_object(Bucket=task.bucket, Key="exports/2030-01-01")
    assert sealed["ServerSideEncryption"] == "aws:kms"
    content = sealed["Body"].read()
    assert content
    assert not any(token.encode() in content for token in TOKENS)
    task.run("import", export, "--restore")
    assert {"s3:GetObject", "s3:PutObject"} <= task.emulator.used_actions[ROLE]


@pytest.mark.requirement("CG-18")
def test_no_other_file_of_the_old_bucket_is_read(task: Task) -> None:
    with pytest.raises(SandboxError, match="the role in use may not"):
        task.run("import", f"s3://{OLD}/other.json")


@pytest.mark.requirement("CG-18")
def test_an_export_goes_nowhere_but_to_its_own_part_of_the_data_bucket(task: Task) -> None:
    for place in (f"s3://{task.bucket}/elsewhere/x", f"s3://{OLD}/x"):
        with pytest.raises(SandboxError, match="the role in use may not"):
            task.run("export", "--to", place)
