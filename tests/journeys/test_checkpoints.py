"""The deployed console, under its own role, has its audit trail signed by KMS and kept in the locked bucket."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gatehouse.audit.checkpoint import Checkpoint
from gatehouse.audit.schemas import CheckpointView, checkpoint_of

from sandbox import child_processes
from sandbox.emulator.server import Emulator
from sandbox.engine.program import run
from sandbox.local import rotation, servers, services
from sandbox.local.ecs_task import Aws, Contract, Credentials
from sandbox.local.ports import free_port
from sandbox.paths import REPOSITORY

STACK = "dev"
SOON_S = 10
"""A checkpoint is due ten minutes after the first row; the shortest that the runtime takes is enough here."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The emulator, where checkpoints lie, and the console's answer about them."""

    emulator: Emulator
    bucket: str
    prefix: str
    console: str
    token: str

    def objects(self) -> list[str]:
        listed = self.emulator.client("s3", "eu-west-1").list_objects_v2(Bucket=self.bucket, Prefix=self.prefix)
        return [row["Key"] for row in listed.get("Contents", [])]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    logs: Path = tmp_path_factory.mktemp("logs")
    contract = Contract.read(REPOSITORY / "runtime" / "contract.toml")
    with ExitStack() as cleanup:
        emulator = Emulator.start()
        cleanup.callback(emulator.stop)
        exports = run(REPOSITORY, STACK, emulator, preview=False).exports
        aws = Aws(emulator.endpoint, str(exports["region"]), Credentials(*emulator.credentials, ""))
        database = cleanup.enter_context(servers.postgres(logs / "postgres.log"))
        redis_url = cleanup.enter_context(servers.redis(logs / "redis.log"))
        place = services.Place(database, redis_url, {door: free_port() for door in contract.ports})
        emulator.enforce_iam(True)
        rotation.first_values(aws, exports["rotation"], services.base_environment(aws), logs / "rotation.log")
        database.set_password(*services.master_password(aws, exports))
        tasks = services.tasks(aws, exports, contract)
        migrate, console = tasks["migrate"], tasks["console"]
        services.migrate(migrate, services.environment(aws, migrate, contract, place), logs / "migrate.log")
        env = services.environment(aws, console, contract, place)
        child = services.serve(console, {**env, "GATEHOUSE_CHECKPOINT_INTERVAL_S": str(SOON_S)}, logs / "console.log")
        cleanup.callback(child.stop)
        services.wait_ready(child, contract, place)
        bucket, _, prefix = env["GATEHOUSE_CHECKPOINT_ARCHIVE"].removeprefix("s3://").partition("/")
        found = Kept(emulator, bucket, prefix, place.url("console"), env["GATEHOUSE_BOOTSTRAP_TOKEN"].strip())
        headers = {"Authorization": f"Bearer {found.token}"}
        made = httpx.post(f"{found.console}/v1/keys", json={"name": "one act"}, headers=headers, timeout=30, trust_env=False)
        assert made.status_code == 201, made.text
        child_processes.wait_until(child, lambda: bool(found.objects()), "a checkpoint in the vault", 90)
        yield found


def held(kept: Kept) -> tuple[str, Checkpoint]:
    """Key of the first checkpoint in the vault, and what it says."""
    key = kept.objects()[0]
    body = kept.emulator.client("s3", "eu-west-1").get_object(Bucket=kept.bucket, Key=key)["Body"].read()
    return key, checkpoint_of(CheckpointView.model_validate_json(body))


@pytest.mark.requirement("TR-11", "CG-18")
def test_the_console_took_it_with_no_other_power_than_its_roles(kept: Kept) -> None:
    used = kept.emulator.used_actions[f"gatehouse-{STACK}-console-task"]
    assert {"kms:Sign", "kms:GetPublicKey", "s3:PutObject"} <= used
    assert [refusal for refusal in kept.emulator.permissions.denied if "console-task" in refusal] == []


@pytest.mark.requirement("TR-11")
def test_it_is_signed_by_the_stacks_audit_key(kept: Kept) -> None:
    _, said = held(kept)
    kms = kept.emulator.client("kms", "eu-west-1")
    alias = f"alias/gatehouse-{STACK}-audit"
    audit = kms.describe_key(KeyId=alias)["KeyMetadata"]
    # AWS answers GetPublicKey with the key's ARN, the emulator with its id.
    assert audit["Arn"].endswith(said.key_id)
    assert (audit["KeyUsage"], audit["KeySpec"]) == ("SIGN_VERIFY", "ECC_NIST_P256")

    checked = {"KeyId": alias, "Signature": said.signature, "SigningAlgorithm": "ECDSA_SHA_256", "MessageType": "RAW"}
    assert kms.verify(Message=said.signed(), **checked)["SignatureValid"]


@pytest.mark.requirement("TR-11", "CG-16")
def test_it_lies_under_object_lock_and_cannot_be_deleted(kept: Kept) -> None:
    s3 = kept.emulator.client("s3", "eu-west-1")
    key, _ = held(kept)
    found = s3.head_object(Bucket=kept.bucket, Key=key)
    assert found["ObjectLockMode"] == "GOVERNANCE"
    assert found["ObjectLockRetainUntilDate"].timestamp() > time.time()
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=kept.bucket, Key=key, VersionId=found["VersionId"])
