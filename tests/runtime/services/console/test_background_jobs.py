"""Background jobs of the console, as configured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.core.audit_chain import find_contradiction, public_keys
from gatehouse.core.errors import SettingsError
from gatehouse.features.audit.service import CheckpointArchive
from gatehouse.platform.aws.signing_key import Signer
from gatehouse.platform.background import PeriodicJob
from gatehouse.platform.settings import Settings, load
from gatehouse.services.console import app

from tests.runtime.console_client import Console


def settings(console: Console, **more: str) -> Settings:
    return load(
        {"GATEHOUSE_ENVIRONMENT": "dev", "GATEHOUSE_DATABASE_URL": console.database.app_url, **more}
    )


def checkpoint_jobs(
    settings: Settings, console: Console, signer: Signer | None
) -> list[PeriodicJob]:
    return replace(console.composition, settings=settings, signer=signer).checkpoint_jobs()


async def test_configured_console_creates_checkpoints(console: Console, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    form = serialization.PrivateFormat.PKCS8
    pem = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, form, serialization.NoEncryption()
    )
    key.touch(0o600)
    key.write_bytes(pem)
    configured = settings(
        console,
        GATEHOUSE_CHECKPOINT_KEY=f"file:{key}",
        GATEHOUSE_CHECKPOINT_ARCHIVE=f"file:{tmp_path}/checkpoints",
        GATEHOUSE_CHECKPOINT_INTERVAL_EVENTS="1",
    )
    signer = app.checkpoint_signer(configured)
    assert signer is not None
    jobs = checkpoint_jobs(configured, console, signer)
    await console.create()
    await jobs[0].action()
    events = (await console.client.get("/v1/audit-events", params={"limit": 200})).json()["events"]
    hashes = {event["seq"]: bytes.fromhex(event["hash"]) for event in events}
    created = await CheckpointArchive(f"file:{tmp_path}/checkpoints").all()
    assert [item.seq for item in created] == [max(hashes)]
    assert find_contradiction(hashes, created, public_keys(await signer.public_key())) is None


def test_console_without_signing_key_creates_no_checkpoint(console: Console) -> None:
    assert app.checkpoint_signer(settings(console)) is None
    assert checkpoint_jobs(settings(console), console, None) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"GATEHOUSE_CHECKPOINT_KEY": "alias/x"},
            "GATEHOUSE_CHECKPOINT_KEY and GATEHOUSE_CHECKPOINT_ARCHIVE must be set together",
        ),
        (
            {"GATEHOUSE_CHECKPOINT_ARCHIVE": "bucket"},
            "GATEHOUSE_CHECKPOINT_ARCHIVE: must be s3://bucket/prefix/ or file:/path",
        ),
    ],
)
def test_invalid_checkpoint_settings_are_named(
    console: Console, more: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(console, **more)
