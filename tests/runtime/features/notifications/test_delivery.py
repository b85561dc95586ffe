"""Notifications."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from gatehouse.core.clock import Clock
from gatehouse.features.notifications import delivery, repository
from gatehouse.features.notifications.delivery import (
    BACKOFF_S,
    EmailSender,
    NotificationDispatcher,
    SnsTopic,
)
from gatehouse.features.notifications.models import webhook_signature
from gatehouse.features.notifications.reminders import remind, report_credits
from gatehouse.features.notifications.repository import NotificationRepository
from gatehouse.features.verification.repository import CreditRepository
from gatehouse.platform.resolver import SystemResolver
from moto import mock_aws
from moto.ses.models import ses_backends

from tests.certificates import server_context
from tests.runtime.clocks import ManualClock
from tests.runtime.console_client import LOOPBACK, Console, rejected_part
from tests.runtime.waiting import until


@dataclass
class Receiver:
    port: int = 0
    status: int = 200
    end: str = "Content-Length: 0"
    slow: bool = False
    entries: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ") for line in lines)}
            body = await reader.readexactly(int(headers["content-length"]))
            self.entries.append((start, headers, body))
            if self.slow:
                writer.write(b"HTTP/1.1 200 x\r\nx: ")
                await reader.read()  # until the sender closes the connection
                return
            writer.write(f"HTTP/1.1 {self.status} x\r\n{self.end}\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()


@dataclass
class Setup:
    console: Console
    client: httpx.AsyncClient
    repository: NotificationRepository
    clock: ManualClock
    receiver: Receiver

    async def remind(self) -> int:
        return await remind(self.repository, self.clock)

    def dispatcher(
        self,
        *,
        topic: SnsTopic | None = None,
        sender: EmailSender | None = None,
        networks: Any = LOOPBACK,
        **clients: Any,
    ) -> NotificationDispatcher:
        pepper = self.console.pepper
        return NotificationDispatcher(
            self.repository, topic, sender, self.clock, pepper, networks, **clients
        )

    async def follow(self) -> int:
        return await self.repository.follow(now=self.clock.now())

    async def deliver(self) -> int:
        return await self.dispatcher().run_once()

    def advance_days(self, days: float) -> None:
        behind_s = max(0.0, self.console.clock.now() - self.clock.now())
        self.clock.advance(behind_s + days * 86_400)

    async def create_webhook(self, **properties: Any) -> tuple[str, bytes]:
        url = f"http://127.0.0.1:{self.receiver.port}/hook?x=1"
        reply = await self.client.post("/v1/webhooks", json={"url": url, **properties})
        assert reply.status_code == 201, reply.text
        created = reply.json()
        return created["webhook"]["id"], base64.b64decode(created["secret"].removeprefix("whsec_"))

    async def revoke(self) -> str:
        key_id = await self.console.create_id()
        await self.client.post(f"/v1/keys/{key_id}/revoke", json={"reason": "no longer used"})
        return key_id

    async def deliveries(self, state: str = "dead") -> list[dict[str, Any]]:
        deliveries: list[dict[str, Any]] = (
            await self.client.get("/v1/deliveries", params={"state": state})
        ).json()["deliveries"]
        return deliveries


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@pytest.fixture
async def setup(console: Console) -> AsyncIterator[Setup]:
    console.sql("TRUNCATE webhook, delivery, notification_position, key_alert")
    repository, clock = NotificationRepository(console.pool), ManualClock(Clock().now())
    # Events before the first run are not delivered.
    await repository.follow(now=clock.now())
    async with receiving() as receiver, console.connect(webhook_networks=LOOPBACK) as client:
        yield Setup(console, client, repository, clock, receiver)


@pytest.fixture
async def emails(setup: Setup, aws_credentials: None) -> AsyncIterator[list[Any]]:
    """The e-mails that were sent. The console accepts addresses as contacts."""
    console = setup.console.connect(notification_sender="keys@example.com")
    with mock_aws():
        boto3.client("sesv2", "eu-central-1").create_email_identity(EmailIdentity="example.com")
        async with console as setup.client:
            yield ses_backends["123456789012"]["eu-central-1"].sent_messages


async def test_revocation_is_delivered_with_signature(setup: Setup) -> None:
    _, secret = await setup.create_webhook()
    key_id = await setup.revoke()
    assert await setup.deliver() == 1
    start, headers, body = setup.receiver.entries[0]
    document = json.loads(body)
    assert start == "POST /hook?x=1 HTTP/1.1"
    assert (document["type"], document["data"]["key_id"]) == ("key.revoked", key_id)
    assert document["data"]["details"] == {"reason": "no longer used"}
    [event] = (await setup.client.get("/v1/audit-events?limit=1")).json()["events"]
    # After a restore of the database, another event has the same number.
    assert headers["webhook-id"] == f"msg_{event['seq']:012d}{event['hash'][:12]}"
    assert headers["webhook-signature"] == webhook_signature(
        secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body
    )
    assert await setup.deliver() == 0


@pytest.mark.bound("notifications.repository:WEBHOOKS_MAX")
async def test_webhooks_and_the_deliveries_of_a_transaction_are_bounded(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "WEBHOOKS_MAX", 3)
    monkeypatch.setattr(repository, "BATCH_ROWS", 8)
    for events in ([], ["key.rotated"], ["key.revoked"]):
        await setup.create_webhook(events=events)
    reply = await setup.client.post("/v1/webhooks", json={"url": "http://127.0.0.1:1"})
    assert reply.status_code == 409
    await setup.revoke()
    assert await setup.follow() == 2
    assert await setup.deliver() == 2


async def test_failed_delivery_is_retried_then_dead_lettered(setup: Setup) -> None:
    await setup.create_webhook()
    await setup.revoke()
    setup.receiver.status = 500
    dispatcher = setup.dispatcher()
    for wait_s in BACKOFF_S:
        assert await dispatcher.run_once() == 1
        setup.clock.advance(wait_s - 1)
        assert await dispatcher.run_once() == 0
        setup.clock.advance(1)
    assert await setup.deliveries() == []
    assert await dispatcher.run_once() == 1
    delivery = (await setup.deliveries())[0]
    assert (delivery["attempts"], delivery["problem"]) == (len(BACKOFF_S) + 1, "responded with 500")
    assert len({headers["webhook-id"] for _, headers, _ in setup.receiver.entries}) == 1
    setup.clock.advance(10**6)
    assert await dispatcher.run_once() == 0


@pytest.mark.bound("notifications.delivery:TARGET_MAX", "notifications.delivery:FOLLOW_S")
async def test_webhook_that_does_not_respond_does_not_delay_others(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TARGET_MAX": 2, "FOLLOW_S": 0.01}.items():
        monkeypatch.setattr(delivery, name, value)
    setup.receiver.slow = True
    slow = setup.receiver
    for _ in range(3):
        await setup.create_webhook()
    for _ in range(3):
        await setup.revoke()
    await setup.follow()
    setup.clock.advance(1)
    running = asyncio.create_task(setup.deliver())
    await until(lambda: len(slow.entries) >= 6)
    async with receiving() as other:
        await replace(setup, receiver=other).create_webhook()
        for _ in range(6):
            await setup.revoke()
        await until(lambda: len(other.entries) >= 6)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert (len(slow.entries), len(other.entries)) == (6, 6)


@pytest.mark.bound("notifications.delivery:TIMEOUT_S")
async def test_delivery_without_a_response_in_time_is_retried(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT_S", 0.01)
    setup.receiver.slow = True
    await setup.create_webhook()
    await setup.revoke()
    assert await setup.deliver() == 1
    (waiting,) = await setup.deliveries("waiting")
    assert waiting["problem"].startswith("no response within")


async def test_retried_dead_letter_is_delivered(setup: Setup) -> None:
    await setup.create_webhook()
    await setup.revoke()
    setup.console.sql("TRUNCATE delivery")
    await setup.revoke()
    dispatcher = setup.dispatcher()
    setup.receiver.status = 400
    for wait_s in (*BACKOFF_S, 0):
        await dispatcher.run_once()
        setup.clock.advance(wait_s)
    delivery = (await setup.deliveries())[0]
    assert delivery["next_at"] is None
    setup.receiver.status = 204
    retry_path = f"/v1/deliveries/{delivery['notification_id']}/{delivery['destination']}/retry"
    assert (await setup.client.post(retry_path)).status_code == 204
    setup.clock.advance(3600)
    assert await dispatcher.run_once() == 1
    delivered = await setup.deliveries("delivered")
    assert [item["notification_id"] for item in delivered] == [delivery["notification_id"]]
    assert (await setup.client.post(retry_path)).status_code == 204
    assert (await setup.client.post(retry_path)).status_code == 404  # is queued
    assert await dispatcher.run_once() == 1
    assert await dispatcher.prune() == 0
    setup.clock.advance(30 * 86_400 + 1)
    assert await dispatcher.prune() == 2


async def test_webhook_is_changed_tested_and_gets_another_secret(setup: Setup) -> None:
    id, first = await setup.create_webhook(events=["key.rotated"])
    await setup.create_webhook()
    path, headers = f"/v1/webhooks/{id}", {"If-Match": '"1"'}
    changes = {"events": ["key.revoked", "key.revoked"]}
    changed = await setup.client.patch(path, json=changes, headers=headers)
    assert (changed.json()["events"], changed.headers["etag"]) == (["key.revoked"], '"2"')
    assert (await setup.client.patch(path, json=changes, headers=headers)).status_code == 412
    rotated = (await setup.client.post(f"{path}/rotate-secret", json={"overlap_s": 60})).json()
    assert rotated["webhook"]["overlap_ends_at"] > rotated["webhook"]["created_at"]
    second = base64.b64decode(rotated["secret"].removeprefix("whsec_"))
    for signing in ([second, first], [second]):
        assert (await setup.client.post(f"{path}/test")).status_code == 204
        assert await setup.deliver() == 1
        _, headers, body = setup.receiver.entries[-1]
        document = json.loads(body)
        assert (document["type"], document["data"]["webhook_id"]) == ("webhook.test", id)
        message, timestamp = headers["webhook-id"], int(headers["webhook-timestamp"])
        signatures = [webhook_signature(secret, message, timestamp, body) for secret in signing]
        assert headers["webhook-signature"].split(" ") == signatures
        # The console has rotated the secret, and its clock is ahead of that of the dispatcher.
        setup.advance_days(61 / 86_400)


async def test_delivery_of_a_killed_process_is_resumed(setup: Setup) -> None:
    await setup.create_webhook()
    await setup.revoke()
    await setup.follow()
    claim = setup.repository.claim(now=setup.clock.now(), each=5, busy=(), lease_s=60)
    assert len(await claim) == 1
    assert await setup.deliver() == 0
    setup.clock.advance(60)
    assert await setup.deliver() == 1
    assert len(setup.receiver.entries) == 1


async def test_concurrent_processes_deliver_each_event_once(setup: Setup) -> None:
    await setup.create_webhook()
    for _ in range(6):
        await setup.revoke()
    counts = await asyncio.gather(*(setup.deliver() for _ in range(3)))
    assert sum(counts) + await setup.deliver() == len(setup.receiver.entries) == 6


class Names(SystemResolver):
    """A name server with these addresses for every name."""

    def __init__(self, *found: str) -> None:
        super().__init__()
        self.found = found

    async def addresses(self, host: str, port: int) -> tuple[str, ...] | None:
        return self.found or None


PRIVATE = "not sent: the URL resolves to an address that is not public"


@pytest.mark.parametrize(
    ("networks", "found", "problem"),
    [
        ((), ["127.0.0.1"], PRIVATE),
        (LOOPBACK, ["127.0.0.1", "10.0.0.1"], PRIVATE),
        (LOOPBACK, ["169.254.169.254", "127.0.0.1"], PRIVATE),
        (LOOPBACK, [], "not reached: the host name cannot be looked up"),
    ],
)
async def test_host_name_with_an_address_that_is_not_allowed_is_not_called(
    setup: Setup, networks: Any, found: list[str], problem: str
) -> None:
    await setup.create_webhook(url=f"http://hooks.test:{setup.receiver.port}/")
    await setup.revoke()
    dispatcher = setup.dispatcher(networks=networks, resolver=Names(*found))
    assert await dispatcher.run_once() == 1
    assert setup.receiver.entries == []
    assert [each["problem"] for each in await setup.deliveries("waiting")] == [problem]


async def test_webhook_is_called_at_the_checked_address(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    setup.receiver.end = "Content-Length: 99999999999"
    await setup.create_webhook(url=f"http://hooks.test:{setup.receiver.port}?x=%2f/a//b")
    await setup.revoke()
    assert await setup.dispatcher(resolver=Names("127.0.0.1")).run_once() == 1
    [(start, headers, _)] = setup.receiver.entries
    assert start == "POST /?x=%2f/a//b HTTP/1.1"
    assert headers["host"] == f"hooks.test:{setup.receiver.port}"
    assert len(await setup.deliveries("delivered")) == 1


async def test_redirect_is_not_followed(setup: Setup) -> None:
    async with receiving() as other:
        setup.receiver.status = 307
        setup.receiver.end = f"Location: http://127.0.0.1:{other.port}/\r\nContent-Length: 0"
        await setup.create_webhook()
        await setup.revoke()
        assert await setup.deliver() == 1
    assert other.entries == []
    assert (await setup.deliveries("waiting"))[0]["problem"] == "responded with 307"


@pytest.mark.parametrize(("certified", "count"), [("hooks.test", 1), ("other.test", 0)])
async def test_certificate_of_a_webhook_has_the_host_name(
    setup: Setup, tmp_path: Path, certified: str, count: int
) -> None:
    server, names = server_context(tmp_path, certified), list[str | None]()
    server.sni_callback = lambda _, name, __: names.append(name)
    trusted = ssl.create_default_context(cafile=tmp_path / "certificate.pem")
    async with receiving(server) as receiver:
        await setup.create_webhook(url=f"https://hooks.test:{receiver.port}/")
        await setup.revoke()
        dispatcher = setup.dispatcher(resolver=Names("127.0.0.1"), tls=trusted)
        assert await dispatcher.run_once() == 1
    assert (names, len(receiver.entries)) == (["hooks.test"], count)
    assert len(await setup.deliveries("delivered" if count else "waiting")) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "https://127.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/x",
        "https://user:pass@hooks.example.com/",
        "https://2130706433/",
        "https://hooks.example.com/x#y",
        "https://hooks.example.com\\@127.0.0.1/",
        "ftp://hooks.example.com/",
        "https://hooks.example.com:0/",
        "nonsense",
    ],
)
async def test_invalid_webhook_url_is_rejected(console: Console, url: str) -> None:
    reply = await console.post("/v1/webhooks", json={"url": url})
    assert rejected_part(reply) == (400, "body.url")


async def test_webhook_is_listed_without_secret_and_deleted(setup: Setup) -> None:
    webhook_id, secret = await setup.create_webhook(events=["key.revoked"])
    listed = await setup.client.get("/v1/webhooks")
    [webhook] = listed.json()["webhooks"]
    assert (webhook["id"], webhook["url"]) == (
        webhook_id,
        f"http://127.0.0.1:{setup.receiver.port}",
    )
    assert base64.b64encode(secret).decode() not in listed.text
    elsewhere = await setup.client.post("/v1/webhooks", json={"url": "https://10.0.0.1/"})
    assert rejected_part(elsewhere) == (400, "body.url")
    await setup.revoke()
    await setup.follow()
    assert (await setup.client.delete(f"/v1/webhooks/{webhook_id}")).status_code == 204
    assert await setup.deliver() == 0
    assert (await setup.client.delete(f"/v1/webhooks/{webhook_id}")).status_code == 404
    actions = {event["action"] for event in await setup.console.events()}
    assert {"webhook.create", "webhook.delete"} <= actions


async def test_expiry_is_announced_30_7_and_1_days_before(setup: Setup) -> None:
    setup.console.sql("DELETE FROM api_key")
    await setup.create_webhook(events=["key.expires_soon"])
    key_id = await setup.console.create_id(ttl_s=90 * 86_400)
    setup.advance_days(0)
    dispatcher = setup.dispatcher()
    expected = []
    for days in (0, 61, 1, 22, 1, 3, 1):
        setup.clock.advance(days * 86_400)
        expected.append([await setup.remind(), await setup.remind()])
    assert expected == [[0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [0, 0], [1, 0]]
    await dispatcher.run_once()
    reminders = [json.loads(body)["data"] for _, _, body in setup.receiver.entries]
    assert sorted((item["key_id"], item["details"]["within_days"]) for item in reminders) == [
        (key_id, 1),
        (key_id, 7),
        (key_id, 30),
    ]


async def test_expiries_of_many_keys_are_announced_at_once(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "BATCH_ROWS", 2)
    setup.console.sql("DELETE FROM api_key")
    for _ in range(5):
        await setup.console.create(ttl_s=90 * 86_400)
    setup.advance_days(89.5)
    assert await setup.remind() == 5


async def test_changed_expiry_is_announced_again(setup: Setup) -> None:
    setup.console.sql("DELETE FROM api_key")
    key_id = await setup.console.create_id(ttl_s=90 * 86_400)
    setup.advance_days(89.5)
    assert (await setup.remind(), await setup.remind()) == (1, 0)
    setup.console.sql(
        f"UPDATE api_key SET expires_at = expires_at + interval '10 hours' WHERE id = '{key_id}'"  # noqa: S608
    )
    assert (await setup.remind(), await setup.remind()) == (1, 0)


@pytest.mark.parametrize(
    ("ttl", "days", "state"), [(90, 89.5, "disabled"), (90, 91, "active"), (1.5, 0, "active")]
)
async def test_expiry_of_a_short_lived_or_not_usable_key_is_not_announced(
    setup: Setup, ttl: float, days: float, state: str
) -> None:
    setup.console.sql("DELETE FROM api_key")
    await setup.console.create(ttl_s=int(ttl * 86_400))
    setup.console.sql(f"UPDATE api_key SET state = '{state}'")  # noqa: S608
    setup.advance_days(days)
    assert await setup.remind() == 0


@pytest.mark.bound("notifications.delivery:_AWS_TIMEOUT_S")
async def test_delivery_to_a_silent_sns_is_retried(
    setup: Setup, silent_port: int, monkeypatch: pytest.MonkeyPatch, aws_credentials: None
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent_port}")
    monkeypatch.setattr(delivery, "_AWS_TIMEOUT_S", 0.1)
    await setup.revoke()
    async with asyncio.timeout(60):
        topic = SnsTopic("arn:aws:sns:eu-central-1:123456789012:notifications")
        await setup.dispatcher(topic=topic).run_once()
    assert [item["problem"] for item in await setup.deliveries("waiting")] == [
        "not sent: SNS ReadTimeoutError"
    ]


async def test_sns_publication_is_retried_if_topic_is_missing(
    setup: Setup, aws_credentials: None
) -> None:
    with mock_aws():
        sns, sqs = boto3.client("sns", "eu-central-1"), boto3.client("sqs", "eu-central-1")
        arn = sns.create_topic(Name="notifications")["TopicArn"]
        queue = sqs.create_queue(QueueName="notifications")["QueueUrl"]
        named = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        endpoint = named["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=endpoint)
        key_id = await setup.revoke()
        await setup.dispatcher(topic=SnsTopic(arn)).run_once()
        message = json.loads(sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"])
        assert json.loads(message["Message"])["data"]["key_id"] == key_id
        assert message["MessageAttributes"]["event"]["Value"] == "key.revoked"
        await setup.revoke()
        await setup.dispatcher(topic=SnsTopic(f"{arn}-gone")).run_once()
        (waiting,) = await setup.deliveries("waiting")
        assert waiting["problem"].startswith("not sent: SNS NotFound")


@pytest.mark.parametrize("owner", ["key", "customer"])
async def test_holder_is_told_by_email_that_the_key_was_rotated(
    setup: Setup, emails: list[Any], owner: str
) -> None:
    """The contact of the customer counts if the key has none."""
    body: dict[str, Any] = {"name": "invoices", "contact": "holder@example.org"}
    if owner == "customer":
        customer = {"id": "contacted", "contact": body.pop("contact")}
        assert (await setup.client.post("/v1/customers", json=customer)).is_success
        body["customer_id"] = customer["id"]
    created = (await setup.client.post("/v1/keys", json=body)).json()
    path = f"/v1/keys/{created['key']['id']}/rotate"
    rotated = (await setup.client.post(path, json={"grace_s": 3600, "reason": "yearly"})).json()
    dispatcher = setup.dispatcher(sender=EmailSender("keys@example.com"))
    assert await dispatcher.run_once() == 1
    (message,) = emails
    assert message.source == "keys@example.com"
    assert message.destinations["ToAddresses"] == ["holder@example.org"]
    assert message.subject == f"Gatehouse: API key {created['key']['id']} was rotated"
    for part in (rotated["previous"]["expires_at"], rotated["key"]["id"], "invoices", "yearly"):
        assert part in message.body
    for token in (created["token"], rotated["token"]):
        assert token not in message.body
    # A delivery reads the contact of the key when it is sent: a purged key has none.
    await setup.client.post(path.replace("rotate", "revoke"), json={})
    purge = {"confirm": created["key"]["id"]}
    assert (await setup.client.post(path.replace("rotate", "purge"), json=purge)).is_success
    assert await dispatcher.run_once() == 0
    assert len(emails) == 1


async def test_email_that_ses_rejects_is_retried(setup: Setup, emails: list[Any]) -> None:
    body = {"name": "n", "contact": "holder@example.org"}
    key = (await setup.client.post("/v1/keys", json=body)).json()["key"]
    await setup.client.post(f"/v1/keys/{key['id']}/revoke", json={})
    await setup.dispatcher(sender=EmailSender("keys@other.example")).run_once()
    (waiting,) = await setup.deliveries("waiting")
    assert (waiting["destination"], waiting["problem"]) == (
        "email",
        "not sent: SES MessageRejected MessageRejected",
    )
    assert emails == []


async def test_contact_only_webhook_receives_the_events_of_its_keys(setup: Setup) -> None:
    webhook_id, _ = await setup.create_webhook(contact_only=True)
    await setup.revoke()
    key_id = await setup.console.create_id(contact=webhook_id)
    reply = await setup.client.post(f"/v1/keys/{key_id}/rotate", json={})
    assert await setup.deliver() == 1
    ((_, _, body),) = setup.receiver.entries
    data = json.loads(body)["data"]
    assert (data["key_id"], data["details"]["successor_id"]) == (key_id, reply.json()["key"]["id"])


async def test_used_up_credits_are_reported_once_between_refills(setup: Setup) -> None:
    await setup.create_webhook(events=["customer.credits_used_up"])
    credits = {"remaining": 3, "refill": {"amount": 3, "every": "month"}}
    for id in ("used-up", "left", "off"):
        reply = await setup.client.post("/v1/customers", json={"id": id, "credits": credits})
        assert reply.status_code == 201, reply.text
    store = CreditRepository(setup.console.pool)
    for id in ("used-up", "off"):
        assert await store.spend([f"@{id}"], 3) is not None
    await setup.client.post("/v1/customers/off/disable", json={})
    assert [await report_credits(setup.repository, setup.clock) for _ in range(2)] == [1, 0]
    assert await setup.deliver() == 1
    data = json.loads(setup.receiver.entries[-1][2])["data"]
    assert data["customer_id"] == "used-up"
    setup.console.sql("UPDATE key_credit SET refilled_at = refilled_at - interval '40 days'")
    assert await store.spend(["@used-up"], 3) is not None  # after the refill that was due
    assert await report_credits(setup.repository, setup.clock) == 1


@pytest.mark.parametrize("contact_only", [False, True])
async def test_webhook_receives_events_of_customers(setup: Setup, contact_only: bool) -> None:
    webhook_id, _ = await setup.create_webhook(contact_only=contact_only)
    contacts = {"": "other", webhook_id: "acme"}
    await setup.client.post("/v1/plans", json={"name": f"plan-{contact_only}".lower()})
    for contact, name in contacts.items():
        path = f"/v1/customers/{name}-{contact_only}"
        body = {"id": path.rpartition("/")[2], "contact": contact}
        assert (await setup.client.post("/v1/customers", json=body)).status_code == 201
        for action in ("disable", "disable", "enable"):
            assert (await setup.client.post(f"{path}/{action}", json={})).status_code == 200
        renamed = await setup.client.patch(path, json={"name": name}, headers={"If-Match": "*"})
        assert renamed.status_code == 200
        assert (await setup.client.request("DELETE", path, json={})).status_code == 200
        assert (await setup.client.post(f"{path}/restore", json={})).status_code == 200
    changed = await setup.client.patch(
        f"/v1/plans/plan-{contact_only}".lower(), json={"ttl_s": 7}, headers={"If-Match": "*"}
    )
    assert changed.status_code == 200
    await setup.deliver()
    bodies = [json.loads(body) for _, _, body in setup.receiver.entries]
    received = sorted(
        (body["type"], body["data"].get("customer_id") or body["data"]["plan"]) for body in bodies
    )
    customers = ["acme-True"] if contact_only else ["acme-False", "other-False"]
    names = ("created", "deleted", "disabled", "enabled", "restored", "updated")
    events = [f"customer.{name}" for name in names]
    plans = [] if contact_only else [("plan.updated", "plan-false")]
    assert received == [*((event, customer) for event in events for customer in customers), *plans]


async def test_customer_with_the_id_of_a_key_sends_no_email(
    setup: Setup, emails: list[Any]
) -> None:
    body = {"name": "n", "contact": "holder@example.com"}
    key_id = (await setup.client.post("/v1/keys", json=body)).json()["key"]["id"]
    customer = {"id": key_id, "contact": "acme@example.com"}
    assert (await setup.client.post("/v1/customers", json=customer)).status_code == 201
    disabled = await setup.client.post(f"/v1/customers/{key_id}/disable", json={})
    assert disabled.status_code == 200
    assert await setup.dispatcher(sender=EmailSender("keys@example.com")).run_once() == 0
    assert emails == []


@pytest.mark.parametrize(
    "contact",
    [
        "aaaaaaaaaaaa",
        "holder@example.org",  # no sender is set
        "https://hooks.example.com",
        "a@b.example\r\nBcc: c@d.example",
        "a@b.example,c@d.example",
    ],
)
async def test_contact_that_cannot_be_told_is_rejected(console: Console, contact: str) -> None:
    reply = await console.post("/v1/keys", json={"name": "n", "contact": contact})
    assert rejected_part(reply) == (400, "body.contact")
    key_id = await console.create_id()
    changed = await console.patch(
        f"/v1/keys/{key_id}", json={"contact": contact}, headers={"If-Match": "*"}
    )
    assert rejected_part(changed) == (400, "body.contact")


async def test_end_of_a_grace_period_is_announced_if_the_key_is_in_use(setup: Setup) -> None:
    setup.console.sql("DELETE FROM api_key")
    old, unused = [await setup.console.create_id() for _ in range(2)]
    for key_id in (old, unused):
        await setup.client.post(f"/v1/keys/{key_id}/rotate", json={"grace_s": 3 * 86_400})
    columns = "(key_id, last_used_at)"
    setup.console.sql(f"INSERT INTO key_activity {columns} VALUES ('{old}', now())")  # noqa: S608
    setup.advance_days(2.5)
    assert (await setup.remind(), await setup.remind()) == (1, 0)
