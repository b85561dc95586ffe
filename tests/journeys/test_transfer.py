"""Import and export on AWS: in a task with the console's definition and role, with legacy files and the data bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from tests.journeys.deployed_stack import deployed_stack

STACK = "dev"
ROLE = f"gatehouse-{STACK}-console-task"
LEGACY_BUCKET, LEGACY_FILE = "old-deployment-of-keys", "api_keys.json"
TOKENS = {"token-of-the-nightly-export": {"name": "nightly export"}, "token-of-the-reports-page": {"name": "reports"}}


@dataclass(frozen=True, slots=True)
class Task:
    """A one-off task. bucket: the data bucket of the stack."""

    emulator: Emulator
    environment: Mapping[str, str]
    bucket: str
    logs: Path

    def run(self, *command: str) -> None:
        """Run a command of the runtime. Raises SandboxError with its last output if it fails."""
        log = self.logs / f"{command[0]}.log"
        log.unlink(missing_ok=True)
        child_processes.run(command[0], ("gatehouse", *command), env=self.environment, log=log, timeout_s=90)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Task]:
    logs: Path = tmp_path_factory.mktemp("logs")
    settings = {"legacy_files": [f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}"]}
    with deployed_stack(STACK, logs, settings, prepare=create_legacy_files) as stack:
        yield Task(stack.emulator, stack.environment("console"), str(stack.exports["buckets"]["data"]), logs)


def create_legacy_files(emulator: Emulator) -> None:
    s3 = emulator.client("s3", "eu-west-1")
    s3.create_bucket(Bucket=LEGACY_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key in (LEGACY_FILE, "other.json"):
        s3.put_object(Bucket=LEGACY_BUCKET, Key=key, Body=json.dumps(TOKENS).encode())


def test_console_has_the_legacy_files_of_the_stack(task: Task) -> None:
    assert task.environment["GATEHOUSE_LEGACY_FILES"] == f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}"


@pytest.mark.requirement("CG-18")
def test_import_export_and_restore_with_the_role_of_the_console(task: Task) -> None:
    task.run("import", f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}")
    export = f"s3://{task.bucket}/exports/2030-01-01"
    task.run("export", "--to", export)
    stored = task.emulator.client("s3", "eu-west-1").get_object(Bucket=task.bucket, Key="exports/2030-01-01")
    assert stored["ServerSideEncryption"] == "aws:kms"
    content = stored["Body"].read()
    assert content
    assert not any(token.encode() in content for token in TOKENS)
    task.run("import", export, "--restore")
    assert {"s3:GetObject", "s3:PutObject"} <= task.emulator.permissions.used_actions[ROLE]


@pytest.mark.requirement("CG-18")
@pytest.mark.parametrize(
    "command",
    [
        ("import", f"s3://{LEGACY_BUCKET}/other.json"),
        ("export", "--to", f"s3://{LEGACY_BUCKET}/x"),
        ("export", "--to", "s3://{bucket}/elsewhere/x"),
    ],
)
def test_other_objects_are_denied(task: Task, command: tuple[str, ...]) -> None:
    with pytest.raises(SandboxError, match="role"):
        task.run(*(argument.replace("{bucket}", task.bucket) for argument in command))
