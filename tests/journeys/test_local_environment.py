"""Verification, logs and IAM of the services of `make up`."""

import secrets
import stat
import time
from collections.abc import Iterator
from typing import Any

import boto3
import httpx
import pytest

from tests.journeys.conftest import PURGE_S_MAX, ROOT, STACK, Running, sandbox

FILE = "Berichte 2026/Übersicht für März.txt"
FILE_ENCODED = "/files/Berichte%202026/%C3%9Cbersicht%20f%C3%BCr%20M%C3%A4rz.txt"


def test_file_name_with_spaces_and_umlauts(running: Running) -> None:
    _, token = running.key()
    response = running.open(token, FILE_ENCODED)
    assert response.status_code == 200
    assert response.content == (ROOT / "examples" / "core-files" / FILE).read_bytes()


def test_key_of_the_sample_core_has_no_denied_requests(running: Running) -> None:
    key_id = sample_core_key(running)
    assert (
        running.manage("GET", f"/v1/requests?outcome=denied&key={key_id}").json()["requests"] == []
    )


def sample_core_key(running: Running) -> str:
    (key,) = running.manage("GET", "/v1/keys?search=Core%20docs&state=active").json()["keys"]
    return str(key["id"])


def test_update_restores_what_was_changed_by_hand(running: Running) -> None:
    key_id = sample_core_key(running)
    revoked = running.manage("POST", f"/v1/keys/{key_id}/revoke", {"reason": "by hand"})
    assert revoked.status_code == 200, revoked.text
    (used,) = running.manage("GET", "/v1/keys?customer=globex&state=active").json()["keys"]
    disabled = running.manage("POST", f"/v1/keys/{used['id']}/disable", {"reason": "by hand"})
    assert disabled.status_code == 200, disabled.text
    headers = {"Authorization": f"Bearer {running.admin_token}", "If-Match": "*"}
    customer = f"{running.console}/v1/customers/globex"
    changed = httpx.patch(customer, json={"notes": "by hand"}, headers=headers, timeout=60)
    assert changed.status_code == 200, changed.text
    updated = sandbox(running.home, "up", "--env", STACK)
    assert updated.returncode == 0, updated.stdout + updated.stderr
    assert running.manage("GET", "/v1/customers/globex").json()["notes"] == ""
    assert sample_core_key(running) != key_id
    # The disabled key does not show when the new Core is healthy.
    _, token = running.key(cores=["docs"])
    assert 200 in (running.open(token).status_code for _ in range(500))
    # A key that somebody has disabled stays disabled.
    enabled = running.manage("POST", f"/v1/keys/{used['id']}/enable", {"reason": "by hand"})
    assert enabled.status_code == 200, enabled.text


def test_tokens_of_the_samples_are_private(running: Running) -> None:
    files = sorted((running.home / "tokens").iterdir())
    assert [file.name for file in files] == ["docs.token", "globex.token", "initech.token"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert list((ROOT / "examples" / "keys-as-code").glob("*.token")) == []


def test_logs_metrics_and_audit_events_have_no_tokens_and_no_content(running: Running) -> None:
    _, token = running.key()
    running.open(token)
    content = f"canary-{secrets.token_hex(16)}"
    secret_id, link = running.share(content)
    link_token = link.rpartition("#")[2]
    assert content in running.open_link(link).text
    for url in (running.gateway, running.console, running.sharing):
        for path in (f"/{token}", f"/cores/docs/{token}?key={token}", f"/v1/links?x={link_token}"):
            httpx.get(url + path, headers={"X-Note": token, "User-Agent": token}, timeout=60)
        httpx.post(f"{url}/v1/keys/verify", json={token: content, "link": link}, timeout=60)
        httpx.post(f"{url}/v1/keys/{token}/disable", json={"reason": content}, timeout=60)
    texts = [path.read_text(errors="replace") for path in (running.home / "logs").glob("*.log")]
    texts += [
        httpx.get(url + "/metrics", timeout=60).text for url in (running.gateway, running.console)
    ]
    texts += [
        running.manage("GET", path).text
        for path in (
            "/v1/log-lines?limit=100",
            "/v1/audit-events?limit=100",
            "/v1/keys",
            f"/v1/secrets/{secret_id}",
        )
    ]
    assert len(texts) > 6
    samples = [file.read_text()[-40:-6] for file in (running.home / "tokens").iterdir()]
    for text in texts:
        for canary in (token[-40:-6], content, link_token[-24:], running.admin_token, *samples):
            assert canary not in text


def test_log_line_of_a_request_is_found(running: Running) -> None:
    key_id, token = running.key()
    request_id = running.open(token).headers["x-request-id"]
    path = f"/v1/log-lines?request_id={request_id}&key={key_id}"
    # The line is written shortly after the response.
    pages = (running.manage("GET", path).json()["lines"] for _ in range(200))
    assert [line["service"] for line in next(filter(None, pages))] == ["gateway"]


def test_iam_is_enforced_while_services_are_ready(running: Running) -> None:
    unauthenticated = boto3.client(
        "dynamodb",
        endpoint_url=running.emulator,
        region_name="eu-west-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wrong",
    )
    with pytest.raises(unauthenticated.exceptions.ClientError):
        unauthenticated.list_tables()
    for url in (running.gateway, running.console):
        assert httpx.get(url + "/readyz", timeout=60).status_code == 200


@pytest.fixture
def ses(running: Running) -> Iterator[Any]:
    """Amazon SES. The console has a sender, as an update of the stack configures it."""
    update = ("up", "--env", STACK)
    updated = sandbox(running.home, *update, "--set", "notifications.email_sender=keys@example.com")
    assert updated.returncode == 0, updated.stdout + updated.stderr
    names = {name.lower(): value for name, value in running.aws.items() if "KEY" in name}
    options: dict[str, Any] = {
        "endpoint_url": running.emulator,
        "region_name": running.aws["AWS_REGION"],
        **names,
    }
    boto3.client("sesv2", **options).create_email_identity(EmailIdentity="example.com")
    yield boto3.client("ses", **options)
    assert sandbox(running.home, *update).returncode == 0


def test_holder_receives_an_email_with_the_permissions_of_the_task(
    running: Running, ses: Any
) -> None:
    key_id, _ = running.key(contact="holder@example.org")
    assert running.manage("POST", f"/v1/keys/{key_id}/rotate", {}).status_code == 201
    deadline, states = time.monotonic() + PURGE_S_MAX, list[str]()
    while states != ["delivered"] and time.monotonic() < deadline:
        deliveries = running.manage("GET", "/v1/deliveries").json()["deliveries"]
        states = [row["state"] for row in deliveries if row["destination"] == "email"]
    assert states == ["delivered"]
    assert ses.get_send_quota()["SentLast24Hours"] == 1
