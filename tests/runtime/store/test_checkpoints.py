"""Checkpoints of the audit trail: signers and vaults by one contract each, when one is due, and what is never signed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.audit.chain import GENESIS
from gatehouse.audit.checkpoint import Checkpoint, disagreement, is_signed, public_keys
from gatehouse.audit.checkpoint_archive import FileCheckpointArchive, S3CheckpointArchive
from gatehouse.audit.checkpoint_ports import CheckpointArchive, Signer
from gatehouse.audit.checkpoint_repository import PostgresCheckpoints
from gatehouse.audit.models import AuditEvent
from gatehouse.audit.repository import PostgresAuditTrail
from gatehouse.audit.service import Checkpointer
from gatehouse.aws.signing_key import KmsSigner, LocalSigner, local_signer
from gatehouse.clock import HandClock
from gatehouse.db import engine as postgres_engine
from gatehouse.errors import SettingsError, Unavailable
from moto import mock_aws

from tests.runtime.conftest import Database

BUCKET = "gatehouse-checkpoints"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield


@pytest.fixture(params=["local", "kms"])
def signer(request: pytest.FixtureRequest, aws: None) -> Signer:
    if request.param == "local":
        return LocalSigner(Ed25519PrivateKey.generate())
    key = boto3.client("kms", "eu-central-1").create_key(KeyUsage="SIGN_VERIFY", KeySpec="ECC_NIST_P256")
    return KmsSigner(key["KeyMetadata"]["Arn"])


@pytest.fixture(params=["folder", "bucket"])
def vault(request: pytest.FixtureRequest, aws: None, tmp_path: Path) -> CheckpointArchive:
    if request.param == "folder":
        return FileCheckpointArchive(tmp_path / "checkpoints")
    boto3.client("s3", "eu-central-1").create_bucket(
        Bucket=BUCKET,
        CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        ObjectLockEnabledForBucket=True,
    )
    return S3CheckpointArchive(BUCKET)


def checkpoint(seq: int, signature: bytes = b"s") -> Checkpoint:
    return Checkpoint(seq, bytes([seq % 256]) * 32, 1_800_000_000.25, "key", "ed25519", signature)


async def test_a_signature_is_found_good_by_its_own_public_key_and_bad_by_another(signer: Signer) -> None:
    made = checkpoint(7)
    made = Checkpoint(made.seq, made.hash, made.taken_at, await signer.key_id(), signer.algorithm, b"")
    made = Checkpoint(made.seq, made.hash, made.taken_at, made.key_id, made.algorithm, await signer.sign(made.signed()))
    assert is_signed(made, public_keys(await signer.public_key()))
    assert not is_signed(made, public_keys(await LocalSigner(Ed25519PrivateKey.generate()).public_key()))
    moved = Checkpoint(8, made.hash, made.taken_at, made.key_id, made.algorithm, made.signature)
    assert not is_signed(moved, public_keys(await signer.public_key()))


async def test_a_vault_gives_back_what_it_was_given_in_the_order_of_the_rows(vault: CheckpointArchive) -> None:
    assert await vault.all() == ()
    for seq in (1000, 7, 20):
        await vault.put(checkpoint(seq))
    assert await vault.all() == (checkpoint(7), checkpoint(20), checkpoint(1000))


async def test_a_vault_never_writes_over_a_checkpoint(vault: CheckpointArchive) -> None:
    await vault.put(checkpoint(7))
    await vault.put(checkpoint(7, signature=b"forged"))
    assert await vault.all() == (checkpoint(7),)


async def test_a_vault_or_key_that_is_not_there_is_told_without_a_foreign_exception(aws: None, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for missing in (S3CheckpointArchive("nowhere"), FileCheckpointArchive(tmp_path / "file" / "below")):
        with pytest.raises(Unavailable):
            await missing.put(checkpoint(1))
    with pytest.raises(Unavailable):
        await KmsSigner("alias/nobody").sign(b"x")


def test_a_key_file_that_others_can_read_or_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text("no key")
    file.chmod(0o644)
    with pytest.raises(SettingsError, match="is readable by other users"):
        local_signer(file)
    file.chmod(0o600)
    with pytest.raises(SettingsError, match="is not an Ed25519 key"):
        local_signer(file)


@dataclass
class Taking:
    checkpointer: Checkpointer
    checkpoints: PostgresCheckpoints
    trail: PostgresAuditTrail
    vault: FileCheckpointArchive
    signer: LocalSigner
    clock: HandClock
    database: Database
    broken: list[int] = field(default_factory=list)

    async def act(self, rows: int) -> None:
        for _ in range(rows):
            await self.trail.append(
                AuditEvent(self.clock.now(), "system", "test", "key.create", "key", "x", "success", "", "", {})
            )

    async def findings(self) -> Any:
        page = await self.trail.page(before=None, size=500, target_id=None, action=None)
        hashes = {row.seq: row.hash for row in page.events}
        return disagreement(hashes, await self.vault.all(), public_keys(await self.signer.public_key()))


@pytest.fixture
async def taking(database: Database, tmp_path: Path) -> AsyncIterator[Taking]:
    database.sql("TRUNCATE audit_event, audit_checkpoint")
    engine = postgres_engine.build(database.app, pool_max=2, application="tests")
    clock, signer, vault = HandClock(), LocalSigner(Ed25519PrivateKey.generate()), FileCheckpointArchive(tmp_path)
    checkpoints, broken = PostgresCheckpoints(engine), list[int]()
    checkpointer = Checkpointer(checkpoints, signer, vault, clock, rows=10, seconds=600, on_broken=broken.append)
    yield Taking(checkpointer, checkpoints, PostgresAuditTrail(engine), vault, signer, clock, database, broken)
    await engine.dispose()


@pytest.mark.requirement("TR-11")
async def test_a_checkpoint_is_due_after_so_many_rows_or_so_much_time_and_never_without_a_row(taking: Taking) -> None:
    taking.clock.move(3600)
    assert await taking.checkpointer.turn() is None
    await taking.act(1)
    first = await taking.checkpointer.turn()
    assert first is not None
    await taking.act(9)
    assert await taking.checkpointer.turn() is None
    await taking.act(1)
    second = await taking.checkpointer.turn()
    await taking.act(1)
    taking.clock.move(600)
    third = await taking.checkpointer.turn()
    assert [one.seq if one else None for one in (first, second, third)] == [1, 11, 12]
    assert await taking.vault.all() == (first, second, third)
    assert await taking.checkpoints.page(after=1, size=10) == (second, third)
    assert await taking.findings() is None


@pytest.mark.requirement("TR-11")
async def test_rows_that_are_cut_off_the_end_are_found_by_the_checkpoint_and_by_the_next_turn(taking: Taking) -> None:
    await taking.act(10)
    await taking.checkpointer.turn()
    taking.database.sql("DELETE FROM audit_event WHERE seq > 7")
    found = await taking.findings()
    assert (found.seq, found.reason) == (8, "rows 8 to 10 are missing at the end: a checkpoint saw them")
    assert await taking.checkpointer.turn() is None
    assert taking.broken == [8]


@pytest.mark.requirement("TR-11")
async def test_a_trail_that_is_written_anew_from_its_first_row_is_found(taking: Taking) -> None:
    await taking.act(10)
    await taking.checkpointer.turn()
    taking.database.sql("TRUNCATE audit_event")
    taking.clock.move(1)
    await taking.act(12)
    assert (await taking.trail.verify())[1] is None
    assert (await taking.findings()).seq == 10
    taking.clock.move(600)
    assert await taking.checkpointer.turn() is None
    assert taking.broken == [11]


async def test_a_broken_chain_is_never_signed(taking: Taking) -> None:
    await taking.act(9)
    taking.database.sql("UPDATE audit_event SET actor_id = 'somebody' WHERE seq = 4")
    await taking.act(3)
    assert await taking.checkpointer.turn() is None
    assert (taking.broken, await taking.vault.all(), await taking.checkpoints.last()) == ([4], (), None)


async def test_a_vault_that_is_away_costs_nothing_but_time(taking: Taking, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    away = FileCheckpointArchive(tmp_path / "file" / "below")
    checkpointer = Checkpointer(taking.checkpoints, taking.signer, away, taking.clock, rows=1, seconds=600)
    await taking.act(2)
    with pytest.raises(Unavailable):
        await checkpointer.turn()
    assert await taking.checkpoints.last() is None
    assert (await taking.checkpointer.take()) is not None


async def test_the_application_cannot_change_or_delete_a_checkpoint(taking: Taking) -> None:
    await taking.act(1)
    await taking.checkpointer.take()
    async with asyncpg.create_pool(**taking.database.app.arguments(), min_size=1, max_size=1) as pool:
        for statement in ("UPDATE audit_checkpoint SET seq = 2", "DELETE FROM audit_checkpoint", "TRUNCATE audit_checkpoint"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await pool.execute(statement)
    assert (await taking.checkpoints.last()) is not None


async def test_a_checkpoint_is_taken_once_when_two_processes_take_it(taking: Taking) -> None:
    await taking.act(3)
    first = await taking.checkpointer.take()
    assert first is not None
    assert not await taking.checkpoints.add(first)
    assert await taking.checkpointer.take() is None
    assert (await taking.checkpoints.stretch(None)).last_hash == first.hash != GENESIS
