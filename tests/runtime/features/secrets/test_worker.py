"""Background work on secrets."""

import asyncio
import io
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gatehouse.commands.cli.common.output import local_times
from gatehouse.core.clock import rfc3339
from gatehouse.core.errors import Unavailable
from gatehouse.features.audit.repository import AuditRepository
from gatehouse.features.notifications.models import TOPIC
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.secrets import backend as backend_module
from gatehouse.features.secrets import repository
from gatehouse.features.secrets import worker as worker_module
from gatehouse.features.secrets.backend import ContentStore
from gatehouse.features.secrets.deletion_receipt import ObjectVersion
from gatehouse.features.secrets.denials import LinkNotFound
from gatehouse.features.secrets.link_token import LinkToken
from gatehouse.features.secrets.models import CLAIM_S, VERSIONS_MAX, EndReason, SecretState
from gatehouse.features.secrets.repository import SecretEventRepository
from gatehouse.features.secrets.schemas import ClaimView, Receipt, UpdateSecret, receipt_view
from gatehouse.features.secrets.service import NewItem
from gatehouse.features.secrets.worker import (
    BATCH,
    ORPHAN_AGE_S,
    RETRY_S_MAX,
    RETRY_S_MIN,
    SecretWorker,
)
from gatehouse.platform.aws.signing_key import KmsSigner
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.observability import Observer, Stream
from msgspec import DecodeError

from tests.runtime.clocks import ManualClock
from tests.runtime.commands.cli.conftest import Command, Result
from tests.runtime.conftest import Database, opened
from tests.runtime.features.secret_requests.test_service import LIFETIME_S, request, submit
from tests.runtime.features.secrets.services import (
    ACTOR,
    BUCKET,
    CLIENT,
    REGION,
    TABLE,
    TEXT,
    Sharing,
)


@dataclass(frozen=True)
class Work:
    sharing: Sharing
    pool: Pool
    signer: KmsSigner
    log: io.BytesIO = field(default_factory=io.BytesIO)

    def worker(
        self, content: ContentStore | None = None, clock: ManualClock | None = None
    ) -> SecretWorker:
        backend = self.sharing.backend
        backend = replace(backend, content=content or backend.content, clock=clock or backend.clock)
        observer = Observer("console", "info", "test", Stream(self.log), namespace="Gatehouse/test")
        return SecretWorker(backend, self.pool, self.signer, observer)

    @property
    def clock(self) -> ManualClock:
        return self.sharing.clock

    async def revoke(self, secret_id: str) -> None:
        await self.sharing.secrets.revoke(secret_id, ACTOR)

    async def state(self, secret_id: str) -> SecretState:
        return (await self.sharing.secrets.get(secret_id)).state

    async def run(self) -> None:
        for _ in range(50):
            if not await self.worker().run_once():
                return
        raise AssertionError("secrets remain due")

    async def reported_s(self, worker: SecretWorker) -> float:
        await worker.report()
        line = json.loads(self.log.getvalue().splitlines()[-1])
        assert line["Service"] == "console"
        return float(line["DueSecretsSeconds"])

    async def actions(self, secret_id: str) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT action FROM audit_event WHERE target_id = $1 ORDER BY seq", secret_id
        )
        return [row["action"] for row in rows]

    def objects(self, secret_id: str) -> list[str]:
        return [key for key in self.sharing.object_versions() if f"/{secret_id}/" in key]


@pytest.fixture
async def work(database: Database, sharing: Sharing) -> AsyncIterator[Work]:
    kms: Any = boto3.client("kms", region_name=REGION)
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
    async with opened(database.app, size_max=6) as pool:
        work = Work(sharing, pool, KmsSigner(key))
        await work.run()  # what earlier tests left
        yield work


async def test_events_that_are_added_during_a_run_are_recorded_in_it(work: Work) -> None:
    secret, _ = await work.sharing.create()
    await work.revoke(secret.id)
    await work.worker().run_once()  # which adds an event, as other processes do
    assert await work.actions(secret.id) == ["secret.create", "secret.revoke", "secret.purge"]
    assert (await work.sharing.backend.table.with_events(secret.id) or (None, None))[1] == []


async def test_ids_of_recorded_events_are_kept_for_30_days(work: Work) -> None:
    """An event without its ID would be recorded again."""
    await work.pool.execute(
        "INSERT INTO sharing_event (id, recorded_at) SELECT 'event' || days, "
        "now() - days * interval '1 day' FROM unnest(ARRAY[29, 31]) AS days"
    )
    await SecretEventRepository(work.pool).prune()
    rows = await work.pool.fetch("SELECT id FROM sharing_event WHERE id LIKE 'event%'")
    assert [row["id"] for row in rows] == ["event29"]


async def test_events_reach_the_audit_trail_and_the_receipt_once(work: Work) -> None:
    sharing = work.sharing
    secret, (token, _) = await sharing.create(recipients=["Grace", "Alan"])
    opened_secret = await sharing.open(token)
    sharing.clock.advance(2)
    await sharing.links.acknowledge(token, opened_secret.claim_id, CLIENT)
    with pytest.raises(LinkNotFound):
        await sharing.open(token)
    await asyncio.gather(*(work.worker().run_once() for _ in range(4)))
    await work.run()
    assert await work.actions(secret.id) == [
        "secret.create",
        "link.claim",
        "link.acknowledge",
        "link.denied",
    ]
    events, now = SecretEventRepository(work.pool), sharing.clock.now()
    denied = await events.denied_attempts(secret.id)
    grace, alan = receipt_view(await sharing.secrets.get(secret.id), denied, now).links
    assert [grace.recipient, grace.denied_attempts] == ["Grace", 1]
    assert (alan.claims, alan.denied_attempts) == ([], 0)
    assert grace.claims == [ClaimView(rfc3339(now - 2), rfc3339(now))]
    checked = await AuditRepository(work.pool).uncheckpointed(None)
    assert (checked.rows >= 3, checked.broken) == (True, None)


@pytest.mark.bound("secrets.repository:COUNTED_MAX")
async def test_number_of_counted_denied_attempts_is_bounded(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "COUNTED_MAX", 3)
    secret, [token] = await work.sharing.create()
    for _ in range(5):
        with pytest.raises(LinkNotFound):
            await work.sharing.open(LinkToken(token.path, "A" * 43))
    await work.run()
    denied = await SecretEventRepository(work.pool).denied_attempts(secret.id)
    assert denied == {token.link_id: 3}


@pytest.mark.bound("secrets.deletion_receipt:LISTED_MAX")
async def test_statement_about_many_object_versions_is_bounded(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "LISTED_MAX", 7)
    secret, _ = await work.sharing.create()
    items = [NewItem(TEXT, f"file-{number}") for number in range(9)]
    for _ in range(VERSIONS_MAX):
        current = await work.sharing.secrets.replace_content(secret.id, items, None, ACTOR)
    keys = [item.key for version in current.versions for item in version.items]
    count = len(work.objects(secret.id))
    await work.revoke(secret.id)
    workers = [work.worker() for _ in range(3)]  # of which one deletes the versions
    while await work.state(secret.id) != SecretState.PURGED:
        for worker in workers:
            await worker.run_once()
    receipt = (await work.sharing.secrets.get(secret.id)).receipt
    assert receipt is not None
    statement = json.loads(receipt["statement"])
    assert statement["object_versions"] == count > len(keys)
    assert [each["key"] for each in statement["objects"]] == keys[:7]


async def test_purge_deletes_every_version_and_leaves_a_signed_receipt(
    work: Work, tmp_path: Path
) -> None:
    # A statement of more than 4096 bytes, the limit of KMS.
    secret, (token,) = await work.sharing.create(
        items=[NewItem(b"x", f"file-{number}") for number in range(30)]
    )
    await work.sharing.secrets.replace_content(
        secret.id, [NewItem(TEXT, f"new-{n}") for n in range(10)], None, ACTOR
    )
    objects = work.objects(secret.id)
    await work.revoke(secret.id)
    await work.run()

    assert (len(objects), work.objects(secret.id)) == (40, [])
    purged = await work.sharing.secrets.get(secret.id)
    assert (purged.state, purged.end_reason, purged.versions) == (
        SecretState.PURGED,
        EndReason.REVOKED,
        (),
    )
    assert [link.wrapped_keys for link in purged.links.values()] == [{}]
    with pytest.raises(LinkNotFound):
        await work.sharing.open(token)
    assert (await work.actions(secret.id))[-2:] == ["secret.revoke", "secret.purge"]

    receipt = purged.receipt
    assert receipt is not None
    assert purged.delete_at == int(work.clock.now()) + 30 * 86_400
    statement = json.loads(receipt["statement"])
    assert sorted(item["key"] for item in statement["objects"]) == sorted(objects)
    assert (statement["secret"], statement["reason"], len(receipt["statement"]) > 4096) == (
        secret.id,
        "revoked",
        True,
    )
    trusted = await work.signer.public_key()
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    pem = other.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    changed = receipt["statement"].replace("revoked", "expired")
    cases: list[tuple[dict[str, str] | None, bytes]] = [
        (receipt, trusted),
        (receipt, pem + trusted),
        (receipt, pem),
        ({**receipt, "statement": changed}, trusted),
        ({"statement": receipt["statement"]}, trusted),
        (None, trusted),
    ]
    views = [
        (receipt_view(msgspec.structs.replace(purged, receipt=stored), {}, 0), keys)
        for stored, keys in cases
    ]
    verified = [_verify(tmp_path, view, keys) for view, keys in views]
    assert [result.code for result in verified] == [0, 0, 1, 1, 1, 1]
    assert (
        verified[0].out == f"valid: 40 object versions of secret {secret.id} deleted at "
        f"{local_times(statement['deleted_at'])}\n"
    )


def _verify(folder: Path, receipt: Receipt, public_keys: bytes) -> Result:
    (folder / "receipt.json").write_bytes(msgspec.json.encode(receipt))
    (folder / "keys.pem").write_bytes(public_keys)
    return Command(folder, {}).run(
        "secrets", "verify-receipt", "receipt.json", "--public-key", "keys.pem"
    )


@pytest.mark.parametrize("reason", [EndReason.EXPIRED, EndReason.USED])
async def test_ended_secret_is_purged(work: Work, reason: EndReason) -> None:
    secret, (token,) = await work.sharing.create()
    if reason is EndReason.EXPIRED:
        work.clock.advance(3600)
    else:
        await work.sharing.open(token)
        await work.run()
        assert work.objects(secret.id) != []  # the recipient can still repeat the claim
        work.clock.advance(CLAIM_S)
    await work.run()
    purged = await work.sharing.secrets.get(secret.id)
    assert (purged.state, purged.end_reason, work.objects(secret.id)) == (
        SecretState.PURGED,
        reason,
        [],
    )


class FailingContentStore(ContentStore):
    def __init__(self, *secret_ids: str) -> None:
        super().__init__(BUCKET)
        self.failing = set(secret_ids)

    async def delete_all(
        self, secret_id: str, known: Sequence[ObjectVersion] = ()
    ) -> tuple[int, list[ObjectVersion]]:
        if secret_id in self.failing:
            raise Unavailable("S3 is not available")
        return await super().delete_all(secret_id, known)


async def test_a_full_batch_of_failures_does_not_starve_other_secrets(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = 3
    monkeypatch.setattr(worker_module, "BATCH", batch)
    secrets = [(await work.sharing.create())[0] for _ in range(batch + 1)]
    for secret in secrets:
        await work.revoke(secret.id)
        work.clock.advance(0.001)
    worker = work.worker(content=FailingContentStore(*(secret.id for secret in secrets[:-1])))
    with pytest.raises(Unavailable):
        await worker.run_once()
    await worker.run_once()
    assert await work.state(secrets[-1].id) == SecretState.PURGED
    work.clock.advance(RETRY_S_MIN)
    await work.run()
    assert {await work.state(secret.id) for secret in secrets} == {SecretState.PURGED}


async def test_an_unreadable_item_does_not_delay_other_secrets(work: Work) -> None:
    broken, _ = await work.sharing.create()
    other, _ = await work.sharing.create()
    work.sharing.dynamodb.update_item(
        TableName=TABLE,
        Key={"id": {"S": broken.id}},
        UpdateExpression="SET secret = :content",
        ExpressionAttributeValues={":content": {"B": b"no secret"}},
    )
    with pytest.raises(DecodeError):
        await work.worker().run_once()
    assert await work.actions(other.id) == ["secret.create"]
    work.sharing.dynamodb.delete_item(TableName=TABLE, Key={"id": {"S": broken.id}})
    await work.sharing.backend.content.delete_all(broken.id)


async def test_repeated_failures_are_retried_less_often_and_reported(work: Work) -> None:
    secret, _ = await work.sharing.create()
    await work.revoke(secret.id)
    revoked_at = work.clock.now()
    content = FailingContentStore(secret.id)
    worker = work.worker(content=content)
    assert await work.reported_s(worker) == 0
    attempts = []
    while work.clock.now() < revoked_at + 1000:
        try:
            assert await worker.run_once() == 0
        except Unavailable:
            attempts.append(work.clock.now() - revoked_at)
        assert await work.reported_s(worker) == work.clock.now() - revoked_at
        work.clock.advance(5)
    assert attempts == [0, 5, 10, 20, 40, 80, 160, 320, 560, 800]
    assert {
        later - earlier for earlier, later in zip(attempts[-3:], attempts[-2:], strict=False)
    } == {RETRY_S_MAX}

    # A hanging worker is visible too.
    hanging = work.worker()
    work.clock.advance(120)
    assert await work.reported_s(hanging) == 120
    restarted = work.worker(content=content)
    with pytest.raises(Unavailable):
        await _after(work, restarted)
    assert await work.reported_s(restarted) > 1000
    content.failing.clear()
    await _after(work, restarted)
    await work.run()
    await restarted.run_once()
    assert await work.state(secret.id) == SecretState.PURGED
    assert await work.reported_s(restarted) == 0


async def _after(work: Work, worker: SecretWorker) -> None:
    work.clock.advance(RETRY_S_MAX)
    await worker.run_once()


async def test_objects_without_a_secret_are_deleted_when_they_are_old(work: Work) -> None:
    """Also those that a replacement writes while the secret is purged."""
    _, (token,) = await work.sharing.create()
    purged, _ = await work.sharing.create()
    await work.revoke(purged.id)
    await work.run()
    orphans = ("0" * 22, purged.id)
    for secret_id in orphans:
        await work.sharing.backend.content.write(ContentStore.key(secret_id, 2, 0), b"ciphertext")
    written_at = min(
        entry["LastModified"].timestamp()
        for entry in work.sharing.s3.list_object_versions(Bucket=BUCKET)["Versions"]
    )
    await work.worker(clock=ManualClock(written_at)).remove_orphans()
    assert all(map(work.objects, orphans))
    later = ManualClock(time.time() + ORPHAN_AGE_S)
    assert await work.worker(clock=later).remove_orphans() == len(orphans)
    assert not any(map(work.objects, orphans))
    assert await work.sharing.read(token) == TEXT


async def test_used_secret_to_which_its_owner_adds_uses_does_not_end(work: Work) -> None:
    secret, (token,) = await work.sharing.create()
    await work.sharing.read(token)
    await work.run()
    work.clock.advance(CLAIM_S)
    loop, events = asyncio.get_running_loop(), work.sharing.backend.table._client.meta.events

    def add_uses(**_: Any) -> None:
        events.unregister("before-call.dynamodb.UpdateItem", add_uses)
        update = work.sharing.secrets.update(secret.id, UpdateSecret(uses=2), None, ACTOR)
        asyncio.run_coroutine_threadsafe(update, loop).result(60)

    # Between the decision of the worker and its first write.
    events.register("before-call.dynamodb.UpdateItem", add_uses)
    await work.run()
    assert await work.state(secret.id) == SecretState.ACTIVE
    assert await work.sharing.read(token) == TEXT


async def test_receivers_are_notified_of_openings_denials_and_deletions(work: Work) -> None:
    notifications, clock = NotificationRepository(work.pool), work.clock
    while await notifications.follow(now=clock.now(), services=[TOPIC]):
        pass
    secret, (token,) = await work.sharing.create()
    opened_secret = await work.sharing.open(token)
    with pytest.raises(LinkNotFound):
        await work.sharing.open(token)
    await work.revoke(secret.id)
    await work.run()
    with pytest.raises(LinkNotFound):
        await work.sharing.text(opened_secret)
    await notifications.follow(now=clock.now(), services=[TOPIC])
    waiting, _ = await notifications.page(state="waiting", after=None, size=100)
    bodies = [json.loads(delivery.body) for delivery in waiting]
    own = [body for body in bodies if body["data"].get("secret_id") == secret.id]
    assert Counter(body["type"] for body in own) == {
        "secret.opened": 1,
        "secret.denied": 1,
        "secret.purged": 1,
    }
    assert token.secret not in json.dumps(own)


async def test_link_of_a_secret_that_is_purged_while_it_is_opened_is_not_found(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, (token,) = await work.sharing.create()
    change = work.sharing.backend.table.change

    async def purge_first(*arguments: Any) -> Any:
        monkeypatch.setattr(work.sharing.backend.table, "change", change)
        await work.revoke(secret.id)
        await work.run()
        return await change(*arguments)

    monkeypatch.setattr(work.sharing.backend.table, "change", purge_first)
    with pytest.raises(LinkNotFound):
        await work.sharing.open(token)


async def test_submission_is_audited_and_purged(work: Work) -> None:
    created, token, link = await request(work.sharing)
    await submit(work.sharing, token)
    with pytest.raises(LinkNotFound):
        await submit(work.sharing, LinkToken(token.path, "A" * 43))
    await work.run()
    assert await work.actions(created.id) == ["request.create", "request.submit", "request.denied"]
    opened = await work.sharing.open(link, claim="a" * 32)
    await work.sharing.links.acknowledge(link, opened.claim_id, CLIENT)
    await work.run()
    assert work.objects(link.secret_id) == []
    rows = await work.pool.fetch(
        "SELECT actor_type, details::text AS details FROM audit_event WHERE target_id = $1",
        created.id,
    )
    assert {row["actor_type"] for row in rows} == {"key", "submitter", "recipient", "system"}
    assert not [
        row for row in rows if token.secret in row["details"] or link.secret in row["details"]
    ]


async def test_request_without_submission_ends_and_is_purged(work: Work) -> None:
    created, token, _ = await request(work.sharing)
    work.clock.advance(LIFETIME_S)
    await work.run()
    assert await work.state(created.id) == "purged"
    assert await work.actions(created.id) == ["request.create", "secret.end", "secret.purge"]
    with pytest.raises(LinkNotFound):
        await submit(work.sharing, token)
    await work.run()
    due = await work.sharing.backend.table.due(work.clock.now() + 86_400, BATCH)
    assert not [item_id for item_id, _ in due if item_id == created.id]
