"""Checkpoints of the audit trail."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import boto3
import msgspec
import pytest
from gatehouse.core.actor import Actor
from gatehouse.core.audit_chain import (
    ECDSA_P256,
    GENESIS,
    Checkpoint,
    find_contradiction,
    is_signed,
    public_keys,
    signed_bytes,
)
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.repository import AuditRepository, UncheckpointedRange
from gatehouse.features.audit.schemas import CheckpointView, checkpoint_of
from gatehouse.features.audit.service import CheckpointArchive, Checkpointer
from gatehouse.platform.aws import object_storage, signing_key
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.db.pool import Pool
from moto import mock_aws

from sandbox.errors import SandboxError
from tests.runtime.clocks import ManualClock
from tests.runtime.conftest import Database
from tests.runtime.console_client import open_console

BUCKET = "gatehouse-checkpoints"


@pytest.fixture
def aws(aws_credentials: None) -> Iterator[None]:
    with mock_aws():
        yield


def kms_signer() -> KmsSigner:
    kms = boto3.client("kms", "eu-central-1")
    key = kms.create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    return KmsSigner(key["KeyMetadata"]["Arn"])


@pytest.fixture(params=["directory", "bucket"])
def archive(request: pytest.FixtureRequest, aws: None, tmp_path: Path) -> CheckpointArchive:
    if request.param == "directory":
        return CheckpointArchive(f"file:{tmp_path}/checkpoints")
    boto3.client("s3", "eu-central-1").create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    return CheckpointArchive(f"s3://{BUCKET}/checkpoints/")


def stored(archive: CheckpointArchive) -> tuple[Checkpoint, ...]:
    folder = archive.prefix.removeprefix("file:")
    if folder == archive.prefix:
        s3 = boto3.client("s3", "eu-central-1")
        entries = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        names = [f"s3://{BUCKET}/{entry['Key']}" for entry in entries]
    else:
        names = [str(path) for path in Path(folder).glob("*.json")]
    texts = [object_storage.read(name, 1 << 20)[0] for name in sorted(names)]
    return tuple(checkpoint_of(msgspec.json.decode(text, type=CheckpointView)) for text in texts)


def checkpoint(seq: int, signature: bytes = b"s") -> Checkpoint:
    return Checkpoint(seq, bytes([seq % 256]) * 32, 1_800_000_000.25, "key", ECDSA_P256, signature)


async def test_only_the_signing_key_verifies_a_signature(aws: None) -> None:
    signer = kms_signer()
    unsigned = msgspec.structs.replace(
        checkpoint(7), key_id=await signer.key_id(), algorithm=signer.algorithm
    )
    created = msgspec.structs.replace(unsigned, signature=await signer.sign(signed_bytes(unsigned)))
    assert is_signed(created, public_keys(await signer.public_key()))
    assert not is_signed(created, public_keys(await kms_signer().public_key()))
    assert not is_signed(
        msgspec.structs.replace(created, seq=8), public_keys(await signer.public_key())
    )


async def test_archive_returns_checkpoints_in_order_of_rows(archive: CheckpointArchive) -> None:
    assert stored(archive) == ()
    for seq in (1000, 7, 20):
        await archive.put(checkpoint(seq))
    assert stored(archive) == (checkpoint(7), checkpoint(20), checkpoint(1000))


async def test_archive_does_not_overwrite_a_checkpoint(archive: CheckpointArchive) -> None:
    await archive.put(checkpoint(7))
    await archive.put(checkpoint(7, signature=b"forged"))
    assert stored(archive) == (checkpoint(7),)


async def test_archive_contains_checkpoints_from_before_and_after_a_restore(
    archive: CheckpointArchive,
) -> None:
    lost, new = checkpoint(7), msgspec.structs.replace(checkpoint(7), hash=b"r" * 32)
    for each in (lost, new):
        await archive.put(each)
    assert stored(archive) == (lost, new)


async def test_missing_archive_or_key_is_unavailable(aws: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for location in ("s3://nowhere", f"file:{tmp_path}/file/below"):
        with pytest.raises(Unavailable):
            await CheckpointArchive(location).put(checkpoint(1))
    with pytest.raises(Unavailable):
        await KmsSigner("alias/nobody").sign(b"x")


@dataclass
class Setup:
    checkpointer: Checkpointer
    trail: AuditRepository
    archive: CheckpointArchive
    signer: KmsSigner
    clock: ManualClock
    database: Database
    broken: list[int]

    async def append(self, rows: int) -> None:
        for _ in range(rows):
            await self.trail.append(
                Actor("system", "test").event(
                    AuditAction.KEY_CREATE, target_id="x", at=self.clock.now(), details={}
                )
            )

    async def findings(self, other_keys: bytes = b"") -> Any:
        rows, _ = await self.trail.page(after=None, size=500)
        hashes = {row.seq: row.hash for row in rows}
        keys = public_keys(await self.signer.public_key() + other_keys)
        return find_contradiction(hashes, stored(self.archive), keys)


@pytest.fixture
def setup(database: Database, module_pool: Pool, aws: None, tmp_path: Path) -> Setup:
    database.sql("TRUNCATE audit_event, audit_checkpoint")
    clock, signer, archive = ManualClock(), kms_signer(), CheckpointArchive(f"file:{tmp_path}")
    trail, broken = AuditRepository(module_pool), list[int]()
    checkpointer = Checkpointer(trail, signer, archive, clock, 600, broken.append)
    return Setup(checkpointer, trail, archive, signer, clock, database, broken)


async def test_checkpoint_is_due_by_the_age_of_the_last_one(setup: Setup) -> None:
    setup.clock.advance(600)
    assert await setup.checkpointer.run_once() is None
    await setup.append(1)
    first = await setup.checkpointer.run_once()
    assert first is not None
    await setup.append(2)
    setup.clock.advance(599)
    assert await setup.checkpointer.run_once() is None
    setup.clock.advance(1)
    second = await setup.checkpointer.run_once()
    setup.clock.correct(-3600)
    assert await setup.checkpointer.run_once() is None
    await setup.append(1)
    third = await setup.checkpointer.run_once()
    assert [item.seq if item else None for item in (first, second, third)] == [1, 3, 4]
    assert stored(setup.archive) == (first, second, third)
    assert await setup.trail.last_checkpoint() == third
    assert await setup.findings() is None


async def test_truncated_trail_is_detected(setup: Setup) -> None:
    await setup.append(10)
    await setup.checkpointer.take()
    setup.database.sql("DELETE FROM audit_event WHERE seq > 7")
    result = await setup.findings()
    assert (result.seq, result.reason) == (8, "rows 8 to 10 are missing: a checkpoint covers them")
    assert await setup.checkpointer.run_once() is None
    assert setup.broken == [8]


async def test_rewritten_trail_is_detected(setup: Setup) -> None:
    await setup.append(10)
    await setup.checkpointer.take()
    setup.database.sql("TRUNCATE audit_event")
    setup.clock.advance(1)
    await setup.append(12)
    assert (await setup.trail.uncheckpointed(None)).broken is None
    assert (await setup.findings()).seq == 10
    setup.clock.advance(600)
    assert await setup.checkpointer.run_once() is None
    assert setup.broken == [11]


async def test_broken_chain_is_not_signed(setup: Setup) -> None:
    await setup.append(9)
    setup.database.sql("UPDATE audit_event SET actor_id = 'somebody' WHERE seq = 4")
    await setup.append(3)
    setup.clock.advance(600)
    assert await setup.checkpointer.run_once() is None
    setup.clock.advance(60)
    assert setup.checkpointer.delay_s == 60
    assert (setup.broken, stored(setup.archive), await setup.trail.last_checkpoint()) == (
        [4],
        (),
        None,
    )


class RecordingTrail(AuditRepository):
    read: ClassVar[list[Checkpoint | None]] = []

    async def uncheckpointed(self, last: Checkpoint | None) -> UncheckpointedRange:
        self.read.append(last)
        return await super().uncheckpointed(last)


async def test_key_is_replaced(setup: Setup) -> None:
    await setup.append(2)
    assert await setup.checkpointer.take()
    signer, trail = kms_signer(), RecordingTrail(setup.trail._pool)
    checkpointer = Checkpointer(trail, signer, setup.archive, setup.clock, 600)
    assert [await checkpointer.run_once() for _ in range(3)] == [None] * 3
    setup.clock.advance(90)
    assert (trail.read, checkpointer.delay_s) == ([None], 90)
    await setup.append(1)
    assert await checkpointer.run_once()
    assert checkpointer.delay_s == 0
    assert await setup.findings(await signer.public_key()) is None


async def test_unavailable_archive_delays_the_checkpoint(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    unavailable = CheckpointArchive(f"file:{tmp_path}/file/below")
    checkpointer = Checkpointer(setup.trail, setup.signer, unavailable, setup.clock, 0)
    await setup.append(2)
    with pytest.raises(Unavailable):
        await checkpointer.run_once()
    setup.clock.advance(90)
    assert checkpointer.delay_s == 90
    assert await setup.trail.last_checkpoint() is None
    assert (await setup.checkpointer.take()) is not None
    assert await checkpointer.run_once() is None
    assert checkpointer.delay_s == 0


@pytest.mark.bound("aws.signing_key:_TIMEOUT_S")
async def test_silent_kms_delays_the_checkpoint(
    setup: Setup, silent_port: int, monkeypatch: pytest.MonkeyPatch, aws_credentials: None
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent_port}")
    monkeypatch.setattr(signing_key, "_TIMEOUT_S", 0.1)
    silent = Checkpointer(
        setup.trail, KmsSigner("alias/checkpoints"), setup.archive, setup.clock, 0
    )
    await setup.append(2)
    async with asyncio.timeout(60):
        with pytest.raises(Unavailable) as error:
            await silent.run_once()
    assert error.value.detail == "KMS ReadTimeoutError"
    assert await setup.trail.last_checkpoint() is None
    assert (await setup.checkpointer.take()) is not None


async def test_application_role_cannot_change_checkpoints(setup: Setup) -> None:
    await setup.append(1)
    await setup.checkpointer.take()
    async with asyncpg.create_pool(setup.database.app_url, min_size=1, max_size=1) as pool:
        for statement in (
            "UPDATE audit_checkpoint SET seq = 2",
            "DELETE FROM audit_checkpoint",
            "TRUNCATE audit_checkpoint",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)
    assert (await setup.trail.last_checkpoint()) is not None


@pytest.mark.parametrize("seq", [2, 3])
async def test_only_a_signed_checkpoint_postpones_the_next_one(setup: Setup, seq: int) -> None:
    await setup.append(3)
    forged = await setup.trail.uncheckpointed(None)
    await setup.trail.add_checkpoint(
        Checkpoint(seq, forged.last_hash, setup.clock.now(), "key", ECDSA_P256, b"forged")
    )
    await setup.checkpointer.run_once()
    assert [each.seq for each in stored(setup.archive)] == [3]
    setup.clock.advance(90)
    assert setup.checkpointer.delay_s == (90 if seq == 3 else 0)
    assert await setup.findings() is None


@pytest.mark.parametrize(
    "value", ["seq = 0", "taken_at = '10000-01-01Z'", "taken_at = '-infinity'"]
)
async def test_application_role_cannot_insert_an_unreadable_checkpoint(
    setup: Setup, value: str
) -> None:
    await setup.append(1)
    taken = await setup.checkpointer.take()
    with pytest.raises(SandboxError, match="check constraint"):
        setup.database.sql(f"UPDATE audit_checkpoint SET {value}")  # noqa: S608
    assert await setup.trail.last_checkpoint() == taken


async def test_concurrent_checkpoint_is_stored_once(setup: Setup) -> None:
    await setup.append(3)
    first = await setup.checkpointer.take()
    assert first is not None
    assert not await setup.trail.add_checkpoint(first)
    assert await setup.checkpointer.take() is None
    assert (await setup.trail.uncheckpointed(None)).last_hash == first.hash != GENESIS


async def test_status_shows_the_last_checkpoint(
    database: Database, aws: None, tmp_path: Path
) -> None:
    signer = kms_signer()
    async with open_console(database, signer=signer) as console:
        await console.create()
        archive, trail = CheckpointArchive(f"file:{tmp_path}"), AuditRepository(console.pool)
        taken = await Checkpointer(trail, signer, archive, console.clock, 0).take()
        assert taken is not None
        await console.create()
        shown = (await console.get("/v1/audit-status")).json()
        assert (shown["enabled"], shown["checkpoint"]["seq"], shown["newest_seq"]) == (
            True,
            taken.seq,
            taken.seq + 1,
        )
        assert is_signed(taken, public_keys(shown["public_key"].encode()))
    async with open_console(database) as console:
        assert (await console.get("/v1/audit-status")).json()["enabled"] is False
