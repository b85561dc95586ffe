"""Screens of the web UI in headless Chromium that need other services: secret requests and
checkpoints.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gatehouse.client import end_to_end
from gatehouse.core.audit_chain import ECDSA_P256, Checkpoint, signed_bytes
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.audit.service import CheckpointArchive, Checkpointer
from gatehouse.features.sharing.link_token import parse, parse_submission
from gatehouse.features.sharing.service import NewItem
from gatehouse.platform.aws.signing_key import LocalSigner, Signer
from playwright.async_api import Browser, Page, expect

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console
from tests.runtime.features.sharing.conftest import aws, module_services, sharing
from tests.runtime.features.sharing.services import CLIENT, TEXT, Sharing
from tests.runtime.services.console.web_pages import MARKS, origin, page_of, sign_in, violations

__all__ = ["aws", "module_services", "origin", "sharing"]

pytestmark = MARKS
SHARING_URL = "https://sharing.test"
CHECKPOINT_KEY = Ed25519PrivateKey.generate()


class P256Signer:
    """Signs as a key of AWS KMS does."""

    algorithm = ECDSA_P256

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    async def key_id(self) -> str:
        return "arn:aws:kms:eu-central-1:111122223333:key/3f1e"

    async def sign(self, message: bytes) -> bytes:
        return self._key.sign(message, ec.ECDSA(hashes.SHA256()))

    async def public_key(self) -> bytes:
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, form)


@pytest.fixture
async def console(database: Database, sharing: Sharing) -> AsyncIterator[Console]:
    changes = {**sharing.console(SHARING_URL), "signer": LocalSigner(CHECKPOINT_KEY)}
    async with open_console(database, **changes) as started:
        yield started


def change_checkpoints(console: Console, statement: str) -> None:
    console.database.sql(
        f"ALTER TABLE audit_checkpoint DISABLE TRIGGER USER; {statement}; ALTER TABLE "
        f"audit_checkpoint ENABLE TRIGGER USER"
    )


async def shown_value(page: Page, label: str) -> str:
    return await page.get_by_label(label, exact=True).input_value()


@pytest.mark.requirement("SS-12")
async def test_secret_is_requested_submitted_and_opened(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    async with page_of(browser, origin) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await sign_in(page, "/secret-requests")
        await page.get_by_role("link", name="Request a secret").first.click()
        await page.get_by_label("Purpose").fill("Password of the staging database")
        await page.get_by_role("button", name="Request a secret").click()
        await expect(page.get_by_role("heading", name="Secret request created")).to_be_focused()
        submission = parse_submission(await shown_value(page, "Submission link"))
        link = parse(await shown_value(page, "Retrieval link"))
        assert submission is not None
        assert link is not None
        assert not [line for line in sent if link.secret in line]
        assert await violations(page) == []
        await sharing.submissions.submit(submission, [NewItem(TEXT)], "a" * 32, CLIENT)
        await page.get_by_role("button", name="I have stored the retrieval link").click()
        await expect(page.locator(".badge", has_text="Complete")).to_be_visible()
        await expect(page.get_by_role("link", name=link.secret_id)).to_be_visible()
        assert link.secret not in await page.content()
        assert await violations(page) == []
    assert await sharing.text(await sharing.open(link)) == TEXT


@pytest.mark.requirement("SS-12")
async def test_text_is_encrypted_end_to_end_in_the_browser(
    browser: Browser, origin: str, sharing: Sharing
) -> None:
    text = "correct horse battery staple 🐴"
    async with page_of(browser, origin) as page:
        sent: list[str] = []
        page.on("request", lambda request: sent.append(f"{request.url} {request.post_data}"))
        await sign_in(page, "/secrets/new")
        await page.get_by_label("Text", exact=True).fill(text)
        await page.get_by_label("Encrypt end to end").check()
        await page.get_by_label("Sender").fill("Grace")
        assert await violations(page) == []
        await page.get_by_role("button", name="Share a secret").click()
        await expect(page.get_by_role("heading", name="Secret created")).to_be_focused()
        link, key = end_to_end.split_link(await shown_value(page, "Link"))
        assert len(key) == 43
        assert not [line for line in sent if key in line or text in line]
        await page.get_by_role("button", name="I have sent the links").click()
        await expect(page.get_by_text("End to end", exact=True)).to_be_visible()
    token = parse(link)
    assert token is not None
    assert (await sharing.secrets.get(token.secret_id)).sender == "Grace"
    assert end_to_end.decrypt(await sharing.text(await sharing.open(token)), key).decode() == text


async def test_checkpoints_are_verified_with_a_stored_key(
    browser: Browser, origin: str, console: Console
) -> None:
    await console.create()
    signers: list[Signer] = [LocalSigner(CHECKPOINT_KEY), P256Signer()]
    for seq, signer in enumerate(signers, 1):
        unsigned = Checkpoint(
            seq,
            bytes([seq]) * 32,
            1_800_000_000.000125,
            await signer.key_id(),
            signer.algorithm,
            b"",
        )
        signature = await signer.sign(signed_bytes(unsigned))
        assert await AuditRepository(console.pool).add_checkpoint(
            msgspec.structs.replace(unsigned, signature=signature)
        )
    async with page_of(browser, origin) as page:
        await sign_in(page, "/audit/checkpoints")
        key = page.get_by_label("Public key", exact=True)
        await expect(key).to_have_value((await signers[0].public_key()).decode())
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_text("Invalid signatures: 1")).to_be_visible()
        await key.fill("".join([(await signer.public_key()).decode() for signer in signers]))
        await page.get_by_role("button", name="Verify").click()
        await expect(page.get_by_text("Valid signatures: 2")).to_be_visible()
        assert await violations(page) == []
        await key.fill("no key")
        await page.get_by_role("button", name="Verify").click()
        await expect(
            page.get_by_text("The text contains no Ed25519 or P-256 public key.")
        ).to_be_visible()


async def test_overview_shows_the_last_checkpoint_and_the_propagation(
    browser: Browser, origin: str, console: Console, tmp_path: Path
) -> None:
    await console.create()
    change_checkpoints(console, "DELETE FROM audit_checkpoint")
    trail, signer = AuditRepository(console.pool), console.composition.signer
    assert signer is not None
    console.database.sql("DELETE FROM gateway_worker")
    for worker in ("a", "b"):
        values = (
            f"'{worker}', (SELECT max(change_seq) FROM api_key), clock_timestamp() + "  # noqa: S608
            f"interval '1 hour'"
        )
        console.database.sql(
            f"INSERT INTO gateway_worker (id, confirmed_seq, seen_at) VALUES ({values})"  # noqa: S608
        )
    async with page_of(browser, origin) as page:
        await page.clock.install()
        await sign_in(page)
        panel = page.locator(
            "section", has=page.get_by_role("heading", name="Propagation of changes")
        )
        await expect(panel.locator("li", has_text="Gateway workers")).to_contain_text("2")
        await expect(panel.get_by_text("Current", exact=True)).to_be_visible()
        await expect(page.get_by_text("No checkpoint has been created yet.")).to_be_visible()
        archive = CheckpointArchive(f"file:{tmp_path}")
        assert (
            await Checkpointer(trail, signer, archive, console.clock, rows=1, seconds=0).take()
            is not None
        )
        console.database.sql(
            "UPDATE gateway_worker SET confirmed_seq = confirmed_seq - 1 WHERE id = 'a'"
        )
        await page.clock.fast_forward(15_000)
        await expect(panel.get_by_text("In progress")).to_be_visible()
        await expect(page.locator("li", has_text="Signature")).to_contain_text("Valid")
        await page.get_by_role("button", name="Verify chain").press("Enter")
        await expect(page.get_by_text("Chain intact")).to_be_visible()
        assert await violations(page) == []
        change_checkpoints(
            console, "UPDATE audit_checkpoint SET hash = decode(repeat('00', 32), 'hex')"
        )
        console.database.sql("DELETE FROM gateway_worker")
        await page.clock.fast_forward(15_000)
        await expect(page.locator("li", has_text="Signature")).to_contain_text("Invalid")
        await expect(panel.get_by_text("No gateway")).to_be_visible()
    change_checkpoints(console, "DELETE FROM audit_checkpoint")


async def test_audit_trail_is_exported_with_the_filters(
    browser: Browser, origin: str, console: Console
) -> None:
    key_id = (await console.create(name="exported"))["key"]["id"]
    await console.create(name="another")
    async with page_of(browser, origin) as page:
        await sign_in(page, f"/audit?target_id={key_id}")
        exported = {}
        for form in ("NDJSON", "CSV"):
            async with page.expect_download() as download:
                await page.get_by_role("link", name=f"Export {form}").click()
            exported[form] = (await (await download.value).path()).read_text()
    events = (await console.client.get("/v1/audit-events", params={"target_id": key_id})).json()[
        "events"
    ]
    assert [json.loads(line) for line in exported["NDJSON"].splitlines()] == events[::-1]
    assert events
    assert exported["CSV"].count(key_id) == len(exported["CSV"].splitlines()) - 1 == len(events)
