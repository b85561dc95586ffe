"""Canaries in all that senders, recipients and submitters send: in no log, metric, error, table or
name.
"""

import base64
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
from gatehouse.commands.cli import retrieval_links
from gatehouse.features.secret_requests.routes import ENDPOINTS as REQUEST_ENDPOINTS
from gatehouse.features.secrets.routes import ENDPOINTS as SECRET_ENDPOINTS
from gatehouse.features.secrets.schemas import NewFile, OpenLink
from gatehouse.features.secrets.service import NewItem
from gatehouse.features.secrets.worker import SecretWorker
from gatehouse.platform.observability import Observer, Stream
from gatehouse.platform.tracing.tracer import FinishedSpan, Tracer
from gatehouse.platform.web.examples import example as shape_example
from gatehouse.services.sharing.submitted_form import FIELDS as FORM_FIELDS

from tests.runtime.conftest import Database
from tests.runtime.console_client import open_console
from tests.runtime.features.secret_requests.test_service import request
from tests.runtime.features.secrets.services import BUCKET, ORIGIN, TABLE, Sharing

#: Where a canary may be stored: the plain metadata of a secret.
METADATA = {
    "label": "canary-label",
    "sender": "canary-sender",
    "recipient": "canary-recipient",
    "purpose": "canary-purpose",
}
PASSPHRASE = "canary-passphrase"
#: Fields of the bodies and forms of the sharing service.
FIELDS = sorted({*OpenLink.__struct_fields__, *FORM_FIELDS, "unknown"})
HEADERS = {
    name: f"canary-{name}"
    for name in ("User-Agent", "Referer", "X-Api-Key", "Accept-Language", "X-Forwarded-For")
}
#: Fields of the console that are stored in plain text, for the owner or for everyone with the link.
PLAIN = [f"canary-{field}" for field in ("label", "sender", "recipients", "purpose", "requester")]


async def test_no_canary_is_in_logs_metrics_errors_or_the_table(sharing: Sharing) -> None:
    log = io.BytesIO()
    observer, spans = Observer("sharing", "debug", "test", Stream(log)), list[FinishedSpan]()
    observer.tracer = Tracer(spans.append, 100.0)
    app: Any = sharing.app(observer=observer)
    secret, [token] = await sharing.create(
        items=[
            NewItem(b"canary-text"),
            NewItem(b"canary-content", "canary-name.txt", "canary/type"),
        ],
        label=METADATA["label"],
        sender=METADATA["sender"],
        recipients=(METADATA["recipient"],),
        passphrase=PASSPHRASE,
    )
    values = {name: f"canary-{name}" for name in FIELDS}
    headers = HEADERS | {
        "Cookie": "__Host-csrf=canary-cookie",
        "Authorization": "Bearer canary-authorization",
    }
    templates = [template.replace("{item}", "0") for template in app.routes.templates]
    paths = [template.format(link=token.path, request="canary-request") for template in templates]
    assert len(paths) >= 10
    wrong = {"link": token.url(ORIGIN), "passphrase": "canary-wrong"}
    bodies: list[dict[str, Any]] = [{"json": values}, {"data": values}, {"json": wrong}]
    replies = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url=ORIGIN, trust_env=False
    ) as client:
        for path in paths:
            for body in bodies:
                replies.append(await client.post(f"{path}?q=canary-query", headers=headers, **body))
            replies.append(await client.get(f"{path}?q=canary-query", headers=headers))
            replies.append(
                await client.request(
                    "canary-method-longer-than-methods", f"{path}?q=canary-query", headers=headers
                )
            )
        errors = [reply for reply in replies if reply.status_code >= 400]
        claim = {
            "link": token.url(ORIGIN),
            "passphrase": PASSPHRASE,
            "claim": "canary-claim-000000000",
        }
        opened = await client.post("/v1/links/open", json=claim)
        assert (opened.status_code, opened.json()["items"][0]["text"]) == (200, "canary-text")
        _, submission, retrieval = await request(sharing, purpose=METADATA["purpose"])
        for name in ("canary-name/", "canary-name"):  # the first name is not allowed
            parts: list[Any] = [
                ("link", (None, submission.url(ORIGIN))),
                ("text", (None, "canary-text")),
                ("file", (name, b"canary-file", "canary/type")),
            ]
            replies.append(await client.post("/v1/requests/submit", files=parts))
        assert [reply.status_code for reply in replies[-2:]] == [400, 200]
        metrics = (await client.get("/metrics")).text
    assert len(errors) >= 20
    shown = [reply.text for reply in errors]
    # The page of the link shows the sender, and its form repeats the link to the client that sent
    # it.
    assert not [text for text in shown if "canary" in text.replace(METADATA["sender"], "")]
    lines = log.getvalue().decode()
    assert len(lines.splitlines()) >= len(replies)
    assert "canary" not in lines.lower()
    for text in (token.secret, submission.secret, submission.path):
        assert text not in lines
    assert "canary" not in metrics
    assert len(spans) >= len(replies)
    assert {"POST /v1/links/open", "DynamoDB update_item"} <= {span.name for span in spans}
    assert "canary" not in repr(spans)
    assert token.secret not in repr(spans)
    stored = json.dumps(sharing.dynamodb.scan(TableName=TABLE)["Items"], default=str)
    assert not [value for value in METADATA.values() if value not in stored]
    stored = without(stored, *METADATA.values())
    for text in ("canary", token.secret, submission.secret, retrieval.secret):
        assert text not in stored
    versions = sharing.s3.list_object_versions(Bucket=BUCKET)["Versions"]
    contents = [
        sharing.s3.get_object(Bucket=BUCKET, Key=version["Key"])["Body"].read()
        for version in versions
    ]
    assert contents
    assert b"canary" not in b"".join(contents)
    assert "canary" not in str(versions)
    assert secret.id in str(versions)


def without(text: str, *parts: str) -> str:
    for part in parts:
        text = text.replace(part, "")
    return text


def _bodies(example: dict[str, Any], fields: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Bodies of an endpoint: the example with a canary in one field or in the files."""
    for field in (*fields, "unknown"):
        for value in (f"canary-{field}", [f"canary-{field}"]):
            link = retrieval_links.parameters(retrieval_links.create())
            own = {"retrieval_link": link} if "retrieval_link" in example else {}
            yield {**example, **own, field: value}
    for field in NewFile.__struct_fields__:
        yield {**example, "files": [{**NewFile.example, field: f"canary-{field}"}]}
    encoded = base64.b64encode(b"canary-file").decode()
    yield {
        **example,
        "files": [{"name": "canary-name", "media_type": "canary/type", "content_base64": encoded}],
    }


async def test_no_canary_sent_to_the_console_is_in_logs_metrics_errors_or_tables(
    database: Database, sharing: Sharing
) -> None:
    sent = errors = 0
    async with open_console(database, **sharing.console(ORIGIN)) as console:
        secret, _ = await sharing.create(owner="bootstrap")
        for endpoint in (*SECRET_ENDPOINTS, *REQUEST_ENDPOINTS):
            fields = () if endpoint.body is None else endpoint.body.__struct_fields__
            example = {} if endpoint.body is None else shape_example(endpoint.body, complete=False)
            assert endpoint.secret_fields <= {*fields, *NewFile.__struct_fields__, "passphrase"}
            # Without a body, the IDs in the path are the only input.
            bodies = [{}] if endpoint.method == "GET" else [*_bodies(example, fields)]
            for path_id, sent_bodies in ((secret.id, bodies), ("canary-id", bodies[:1])):
                path = endpoint.path.format(secret=path_id, link="canary-link")
                for body in sent_bodies:
                    sharing.clock.advance(60)  # the number of creations per minute is limited
                    headers = HEADERS | {"If-Match": "*", "Idempotency-Key": f'"canary-key-{sent}"'}
                    content: dict[str, Any] = {} if endpoint.method == "GET" else {"json": body}
                    reply = await console.request(endpoint.method, path, headers=headers, **content)
                    sent += 1
                    errors += reply.status_code >= 400
                    shown = without(reply.text, *(PLAIN if reply.status_code < 400 else ()))
                    assert (reply.status_code < 500, "canary" in shown) == (True, False), (
                        path,
                        body,
                        reply.text,
                    )
        worker = SecretWorker(sharing.backend, console.pool, None, console.composition.observer)
        while await worker.run_once():
            pass
        metrics = (await console.get("/metrics")).text
        assert len(console.log.entries) >= sent > errors > 50
        assert "canary" not in json.dumps(console.log.entries) + metrics
        assert "canary" not in console.database.dump()
    stored = json.dumps(sharing.dynamodb.scan(TableName=TABLE)["Items"], default=str)
    assert not [text for text in PLAIN if text not in stored]
    assert "canary" not in without(stored, *PLAIN, *METADATA.values())
    assert "canary" not in str(sharing.s3.list_object_versions(Bucket=BUCKET)["Versions"])
