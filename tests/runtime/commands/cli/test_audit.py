"""`gatehouse audit` offline."""

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.core.audit_chain import (
    ECDSA_P256,
    GENESIS,
    AuditRow,
    Checkpoint,
    row_hash,
    signed_bytes,
)
from gatehouse.core.audit_events import AuditEvent
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.schemas import audit_view, checkpoint_view
from gatehouse_client import ConsoleClient

from tests.runtime.commands.cli.conftest import Command

KEY = ec.generate_private_key(ec.SECP256R1())
PROOF = ("--checkpoints", "checkpoints", "--public-key", "key.pem")


def trail(rows: int) -> list[AuditRow]:
    previous, events = GENESIS, []
    for seq in range(1, rows + 1):
        at, fixed = 1_800_000_000.0 + seq, ("key.create", "key", "k", "success", "", "")
        event = AuditEvent(at, "system", "test", *fixed, {"name": "x"})
        digest = row_hash(previous, seq, event)
        events.append(AuditRow(seq, event, previous, digest))
        previous = digest
    return events


def write(folder: Path, rows: list[AuditRow]) -> None:
    (folder / "audit.ndjson").write_text(
        "".join(msgspec.json.encode(audit_view(row)).decode() + "\n" for row in rows)
    )


@pytest.fixture
def offline(bare: Command) -> Command:
    rows = trail(10)
    write(bare.folder, rows)
    (bare.folder / "checkpoints").mkdir()
    for seq in (4, 9):
        unsigned = Checkpoint(seq, rows[seq - 1].hash, 1_800_000_100.0, "key", ECDSA_P256, b"")
        signature = KEY.sign(signed_bytes(unsigned), ec.ECDSA(hashes.SHA256()))
        view = checkpoint_view(msgspec.structs.replace(unsigned, signature=signature))
        (bare.folder / "checkpoints" / f"{seq:020d}.json").write_text(
            msgspec.json.encode(view).decode()
        )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = KEY.public_key().public_bytes(serialization.Encoding.PEM, form)
    (bare.folder / "key.pem").write_bytes(pem)
    return bare


def verify(command: Command, *more: str) -> tuple[int, str]:
    result = command.run("audit", "verify", "--file", "audit.ndjson", *more)
    return result.code, result.out.strip() or result.err.strip()


def test_interrupted_export_leaves_no_file(bare: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    parts: list[bytes] = []

    def stream(*_: object) -> Iterator[bytes]:
        yield from parts
        if not parts:
            yield b"{}"
            raise Unavailable("the download was interrupted")

    def export() -> int:
        console = {"GATEHOUSE_CONSOLE_URL": "https://console.test", "GATEHOUSE_ADMIN_TOKEN": "t"}
        return bare.run("audit", "export", "trail.ndjson", **console).code

    monkeypatch.setattr(ConsoleClient, "stream", stream)
    assert (export(), [*bare.folder.iterdir()]) == (1, [])
    parts += (b"{}\n", b"{}\n")
    assert (export(), export()) == (0, 2)
    [file] = bare.folder.iterdir()
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"{}\n{}\n", 0o600)


def test_unchanged_export_matches_its_checkpoints(offline: Command) -> None:
    code, text = verify(offline, *PROOF)
    assert code == 0
    assert text.startswith("intact: 10 rows")
    assert text.endswith("2 checkpoints match, the last at row 9")


def test_first_changed_row_is_reported(offline: Command) -> None:
    file = offline.folder / "audit.ndjson"
    lines = file.read_text().splitlines()
    changed = [*lines[:5], lines[5].replace('"name":"x"', '"name":"y"'), *lines[6:]]
    for rows in (changed, [*lines[:4], lines[5], lines[4], *lines[6:]]):
        file.write_text("\n".join(rows))
        code, text = verify(offline, *PROOF)
        assert (code, text.startswith("BROKEN at row 6 (of 10)")) == (1, True)


def test_truncation_is_detected_only_with_checkpoints(offline: Command) -> None:
    write(offline.folder, trail(10)[:6])
    assert verify(offline)[0] == 0
    assert verify(offline, *PROOF) == (
        1,
        "BROKEN at row 7 (of 6): rows 7 to 9 are missing: a checkpoint covers them",
    )


def test_changed_checkpoint_is_detected(offline: Command) -> None:
    file = offline.folder / "checkpoints" / f"{9:020d}.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps({**document, "seq": 6}))
    code, text = verify(offline, *PROOF)
    assert (code, text) == (
        1,
        "BROKEN at row 6 (of 10): the checkpoint of this row has no valid signature from a "
        "trusted key",
    )


def test_hostile_files_are_reported(offline: Command) -> None:
    file = offline.folder / "checkpoints" / f"{9:020d}.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "seq": 2**70}))
    code, text = verify(offline, *PROOF)
    assert (code, "contains an invalid checkpoint" in text) == (1, True)
    audit = offline.folder / "audit.ndjson"
    exported = audit.read_text()
    for more in ('"more":1,', '"actor_id":"a",', " "):
        audit.write_text(exported.replace('{"seq"', f'{{{more}"seq"'))
        assert "line 1 of audit.ndjson differs" in verify(offline)[1]
    audit.write_text('{"details":' + "[" * 100_000)
    code, text = verify(offline)
    assert (code, "line 1 of audit.ndjson is not an audit event" in text) == (1, True)


def test_rows_after_the_last_checkpoint_are_reported(offline: Command) -> None:
    result = json.loads(
        offline.run("audit", "verify", "--file", "audit.ndjson", *PROOF, "--json").out
    )
    assert (result["rows"], result["checkpointed_seq"], result["intact"]) == (10, 9, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkpoints", "checkpoints"), "--checkpoints and --public-key must be used together"),
        (
            ("--checkpoints", "checkpoints", "--public-key", "audit.ndjson"),
            "contains no ECDSA P-256 public key",
        ),
        (
            ("--checkpoints", "empty", "--public-key", "key.pem"),
            "--checkpoints empty contains no checkpoint",
        ),
    ],
)
def test_invalid_proof_options_are_usage_errors(
    offline: Command, arguments: tuple[str, ...], message: str
) -> None:
    (offline.folder / "empty").mkdir()
    code, text = verify(offline, *arguments)
    assert (code, message in text) == (2, True)
