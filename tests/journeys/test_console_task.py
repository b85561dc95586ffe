"""Processes with the task definition and role of the deployed console: import and export in a
one-off task, and a console that signs checkpoints of the audit trail with KMS and stores them in
the locked bucket.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
import pytest
from gatehouse.core.audit_chain import Checkpoint, signed_bytes
from gatehouse.features.audit.schemas import CheckpointView, checkpoint_of

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.errors import SandboxError
from sandbox.local import services
from tests.journeys.deployed_stack import DeployedStack, deployed_stack

STACK = "dev"
ROLE = f"gatehouse-{STACK}-console-task"
LEGACY_BUCKET, LEGACY_FILE = "old-deployment-of-keys", "api_keys.json"
TOKENS = {
    "token-of-the-nightly-export": {"name": "nightly export"},
    "token-of-the-reports-page": {"name": "reports"},
}
INTERVAL_S = 10
"""The shortest checkpoint interval that the runtime accepts."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def stack(logs: Path) -> Iterator[DeployedStack]:
    settings = {"legacy_files": [f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}"]}
    with deployed_stack(STACK, logs, settings, prepare=create_legacy_files) as deployed:
        yield deployed


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
        child_processes.run(
            command[0], ("gatehouse", *command), env=self.environment, log=log, timeout_s=90
        )


@pytest.fixture
def task(stack: DeployedStack, logs: Path) -> Task:
    return Task(
        stack.emulator, stack.environment("console"), str(stack.exports["buckets"]["data"]), logs
    )


def create_legacy_files(emulator: Emulator) -> None:
    s3 = emulator.client("s3", "eu-west-1")
    s3.create_bucket(
        Bucket=LEGACY_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    for key in (LEGACY_FILE, "other.json"):
        s3.put_object(Bucket=LEGACY_BUCKET, Key=key, Body=json.dumps(TOKENS).encode())


def test_console_has_the_legacy_files_of_the_stack(task: Task) -> None:
    assert task.environment["GATEHOUSE_LEGACY_FILES"] == f"s3://{LEGACY_BUCKET}/{LEGACY_FILE}"


@pytest.mark.requirement("CG-18")
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


@dataclass(frozen=True, slots=True)
class Archive:
    """The checkpoint archive in the emulator. denied: calls of the console that IAM denied until
    the first checkpoint.
    """

    emulator: Emulator
    bucket: str
    prefix: str
    denied: list[str] = field(default_factory=list)

    def keys(self) -> list[str]:
        page = self.emulator.client("s3", "eu-west-1").list_objects_v2(
            Bucket=self.bucket, Prefix=self.prefix
        )
        return [row["Key"] for row in page.get("Contents", [])]

    def first(self) -> tuple[str, Checkpoint]:
        """Object key and content of the first checkpoint."""
        key = self.keys()[0]
        body = (
            self.emulator.client("s3", "eu-west-1")
            .get_object(Bucket=self.bucket, Key=key)["Body"]
            .read()
        )
        return key, checkpoint_of(msgspec.json.decode(body, type=CheckpointView))


@pytest.fixture(scope="module")
def archive(stack: DeployedStack, logs: Path) -> Iterator[Archive]:
    """The archive after the first checkpoint of a running console, which imports no legacy
    files.
    """
    with ExitStack() as cleanup:
        env = {
            **stack.environment("console"),
            "GATEHOUSE_CHECKPOINT_INTERVAL_S": str(INTERVAL_S),
            "GATEHOUSE_LEGACY_FILES": "",
        }
        denied = len(stack.emulator.permissions.denied)
        console = child_processes.start(
            "console", stack.tasks["console"].command, env=env, log=logs / "console.log"
        )
        cleanup.callback(console.stop)
        services.wait_ready(console, stack.contract, stack.local)
        bucket, _, prefix = env["GATEHOUSE_CHECKPOINT_ARCHIVE"].removeprefix("s3://").partition("/")
        archive = Archive(stack.emulator, bucket, prefix)
        headers = {"Authorization": f"Bearer {env['GATEHOUSE_BOOTSTRAP_TOKEN'].strip()}"}
        url = f"{stack.local.url('console')}/v1/keys"
        response = httpx.post(
            url, json={"name": "one event"}, headers=headers, timeout=30, trust_env=False
        )
        assert response.status_code == 201, response.text
        child_processes.wait_until(
            console, lambda: bool(archive.keys()), "storing a checkpoint", 90
        )
        archive.denied.extend(
            call for call in stack.emulator.permissions.denied[denied:] if "console-task" in call
        )
        yield archive


@pytest.mark.requirement("TR-11", "CG-18")
def test_task_role_is_sufficient(archive: Archive) -> None:
    used = archive.emulator.permissions.used_actions[ROLE]
    assert {"kms:Sign", "kms:GetPublicKey", "s3:PutObject"} <= used
    assert archive.denied == []


@pytest.mark.requirement("TR-11")
def test_checkpoint_is_signed_by_the_audit_key(archive: Archive) -> None:
    _, checkpoint = archive.first()
    kms = archive.emulator.client("kms", "eu-west-1")
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


@pytest.mark.requirement("TR-11", "CG-16")
def test_checkpoint_is_under_object_lock(archive: Archive) -> None:
    s3 = archive.emulator.client("s3", "eu-west-1")
    key, _ = archive.first()
    stored = s3.head_object(Bucket=archive.bucket, Key=key)
    assert stored["ObjectLockMode"] == "GOVERNANCE"
    assert stored["ObjectLockRetainUntilDate"].timestamp() > time.time()
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=archive.bucket, Key=key, VersionId=stored["VersionId"])
