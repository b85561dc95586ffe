"""Canaries in everything that recipients and submitters send: none appear in logs, metrics, errors, the table or object names."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from gatehouse.observability import Observer, Stream
from gatehouse.sharing.app import create
from gatehouse.sharing.service import NewItem

from tests.runtime.sharing.conftest import BUCKET, TABLE, Sharing

pytestmark = pytest.mark.requirement("SS-13")
ORIGIN = "https://share.test"
#: Where a canary may be stored: the plain metadata of a secret.
METADATA = {"label": "canary-label", "note": "canary-note", "sender": "canary-sender", "recipient": "canary-recipient"}
PASSPHRASE = "canary-passphrase"
FIELDS = ("link", "passphrase", "claim", "csrf", "submission", "text", "item", "secret", "unknown")


async def test_no_canary_is_in_logs_metrics_errors_or_the_table(sharing: Sharing) -> None:
    log = io.BytesIO()
    observer = Observer("sharing", "debug", "test", Stream(log))
    app: Any = create(probes=[], observer=observer, https=True, links=sharing.links, submissions=sharing.submissions)
    secret, [token] = await sharing.create(
        items=[NewItem.of(b"canary-text"), NewItem.of(b"canary-content", "canary-name.txt", "canary/type")],
        label=METADATA["label"],
        note=METADATA["note"],
        sender=METADATA["sender"],
        recipients=(METADATA["recipient"],),
        passphrase=PASSPHRASE,
    )
    values = {name: f"canary-{name}" for name in FIELDS}
    headers = {name: f"canary-{name}" for name in ("User-Agent", "Referer", "X-Api-Key", "Accept-Language", "X-Forwarded-For")}
    headers |= {"Cookie": "__Host-csrf=canary-cookie", "Authorization": "Bearer canary-authorization"}
    templates = [route.path.replace("{item:int}", "0") for route in app._app.routes]
    paths = [template.format(link=token.path, request="canary-request") for template in templates]
    assert len(paths) >= 10
    wrong = {"link": token.url(ORIGIN), "passphrase": "canary-wrong"}
    bodies: list[dict[str, Any]] = [{"json": values}, {"data": values}, {"json": wrong}]
    replies = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=ORIGIN, trust_env=False) as client:
        for path in paths:
            for body in bodies:
                replies.append(await client.post(f"{path}?q=canary-query", headers=headers, **body))
            replies.append(await client.get(f"{path}?q=canary-query", headers=headers))
        errors = [reply for reply in replies if reply.status_code >= 400]
        claim = {"link": token.url(ORIGIN), "passphrase": PASSPHRASE, "claim": "canary-claim"}
        opened = await client.post("/v1/links/open", json=claim)
        assert (opened.status_code, opened.json()["items"][0]["text"]) == (200, "canary-text")
        metrics = (await client.get("/metrics")).text
    assert len(errors) >= 20
    shown = [reply.text for reply in errors]
    # The page of the link shows the sender, and its form repeats the link to the client that sent it.
    assert not [text for text in shown if "canary" in text.replace(METADATA["sender"], "")]
    lines = log.getvalue().decode()
    assert len(lines.splitlines()) >= len(replies)
    assert "canary" not in lines
    assert token.secret not in lines
    assert "canary" not in metrics
    stored = json.dumps(sharing.dynamodb.scan(TableName=TABLE)["Items"], default=str)
    for value in METADATA.values():
        assert value in stored
        stored = stored.replace(value, "")
    assert "canary" not in stored
    assert token.secret not in stored
    versions = sharing.s3.list_object_versions(Bucket=BUCKET)["Versions"]
    contents = [sharing.s3.get_object(Bucket=BUCKET, Key=version["Key"])["Body"].read() for version in versions]
    assert contents
    assert b"canary" not in b"".join(contents)
    assert "canary" not in str(versions)
    assert secret.id in str(versions)
