"""The deployed console signs checkpoints of the audit trail with KMS and stores them in the locked bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec
import pytest
from gatehouse.audit.chain import signed_bytes
from gatehouse.audit.models import Checkpoint
from gatehouse.audit.schemas import CheckpointView, checkpoint_of

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.local import services
from tests.journeys.deployed_stack import deployed_stack

STACK = "dev"
INTERVAL_S = 10
"""The shortest checkpoint interval that the runtime accepts."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The checkpoint archive in the emulator."""

    emulator: Emulator
    bucket: str
    prefix: str

    def keys(self) -> list[str]:
        page = self.emulator.client("s3", "eu-west-1").list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
        return [row["Key"] for row in page.get("Contents", [])]

    def first(self) -> tuple[str, Checkpoint]:
        """Object key and content of the first checkpoint."""
        key = self.keys()[0]
        body = self.emulator.client("s3", "eu-west-1").get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return key, checkpoint_of(msgspec.json.decode(body, type=CheckpointView))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """The archive after the first checkpoint of a running console."""
    logs: Path = tmp_path_factory.mktemp("logs")
    with deployed_stack(STACK, logs) as stack, ExitStack() as cleanup:
        env = {**stack.environment("console"), "GATEHOUSE_CHECKPOINT_INTERVAL_S": str(INTERVAL_S)}
        console = child_processes.start("console", stack.tasks["console"].command, env=env, log=logs / "console.log")
        cleanup.callback(console.stop)
        services.wait_ready(console, stack.contract, stack.local)
        bucket, _, prefix = env["GATEHOUSE_CHECKPOINT_ARCHIVE"].removeprefix("s3://").partition("/")
        archive = Archive(stack.emulator, bucket, prefix)
        headers = {"Authorization": f"Bearer {env['GATEHOUSE_BOOTSTRAP_TOKEN'].strip()}"}
        url = f"{stack.local.url('console')}/v1/keys"
        response = httpx.post(url, json={"name": "one event"}, headers=headers, timeout=30, trust_env=False)
        assert response.status_code == 201, response.text
        child_processes.wait_until(console, lambda: bool(archive.keys()), "storing a checkpoint", 90)
        yield archive


@pytest.mark.requirement("TR-11", "CG-18")
def test_task_role_is_sufficient(archive: Archive) -> None:
    used = archive.emulator.permissions.used_actions[f"gatehouse-{STACK}-console-task"]
    assert {"kms:Sign", "kms:GetPublicKey", "s3:PutObject"} <= used
    assert [call for call in archive.emulator.permissions.denied if "console-task" in call] == []


@pytest.mark.requirement("TR-11")
def test_checkpoint_is_signed_by_the_audit_key(archive: Archive) -> None:
    _, checkpoint = archive.first()
    kms = archive.emulator.client("kms", "eu-west-1")
    alias = f"alias/gatehouse-{STACK}-audit"
    key = kms.describe_key(KeyId=alias)["KeyMetadata"]
    # GetPublicKey returns the ARN of the key on AWS and its ID in the emulator.
    assert key["Arn"].endswith(checkpoint.key_id)
    assert (key["KeyUsage"], key["KeySpec"]) == ("SIGN_VERIFY", "ECC_NIST_P256")
    signature = {"Signature": checkpoint.signature, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
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
