"""Background jobs of the console, as configured."""

from pathlib import Path

import msgspec
from gatehouse.core.audit_chain import find_contradiction, public_keys
from gatehouse.core.clock import Clock
from gatehouse.features.audit.schemas import CheckpointView, checkpoint_of
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.settings import Settings, load
from gatehouse.services.console import jobs

from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import Console
from tests.runtime.features.audit.test_checkpoints import aws, kms_signer

__all__ = ["aws"]


def settings(console: Console, **more: str) -> Settings:
    return load(
        {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": console.database.app_url, **more}
    )


def checkpoint_jobs(
    settings: Settings, console: Console, signer: KmsSigner | None, clock: Clock
) -> list[PeriodicJob]:
    composition = console.composition
    return jobs.checkpoint_jobs(settings, composition.pool, composition.observer, clock, signer)


async def test_configured_console_creates_checkpoints(
    aws: None, console: Console, tmp_path: Path
) -> None:
    configured = settings(
        console,
        GATEHOUSE_CHECKPOINT_KEY="alias/audit",
        GATEHOUSE_CHECKPOINT_ARCHIVE=f"file:{tmp_path}/checkpoints",
    )
    signer = kms_signer()
    clock = ManualClock()
    jobs = checkpoint_jobs(configured, console, signer, clock)
    await console.create()
    clock.advance(600)
    await jobs[0].action()
    events = await console.events(limit=100)
    hashes = {event["seq"]: bytes.fromhex(event["hash"]) for event in events}
    files = (tmp_path / "checkpoints").glob("*.json")
    views = [msgspec.json.decode(file.read_bytes(), type=CheckpointView) for file in files]
    created = [checkpoint_of(view) for view in views]
    assert [item.seq for item in created] == [max(hashes)]
    assert find_contradiction(hashes, created, public_keys(await signer.public_key())) is None
