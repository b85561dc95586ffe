"""A secret is created at the console, opened once at the sharing service, deleted and recorded,
with IAM enforced.
"""

from __future__ import annotations

import json

import httpx
import pytest
from gatehouse.client import retrieval_links

from tests.journeys.conftest import Running

TEXT = "correct horse battery staple"


@pytest.mark.requirement("SS-01", "SS-02")
def test_secret_is_opened_once_deleted_and_recorded(running: Running) -> None:
    secret_id, link = running.share(TEXT)
    opened = running.open_link(link)
    assert opened.status_code == 200, opened.text
    assert [item["text"] for item in opened.json()["items"]] == [TEXT]
    again = running.open_link(link)
    assert (again.status_code, again.json()["code"]) == (404, "link_not_found")
    assert running.open_link(link, "acknowledge", claim=opened.json()["claim"]).status_code == 204

    secret = running.purged(secret_id)
    assert (secret["state"], secret["versions"]) == ("purged", [])
    recorded = running.recorded(secret_id, until="secret.purge")
    assert (recorded[0], recorded[-1]) == ("secret.create", "secret.purge")
    assert {"link.claim", "link.denied", "link.acknowledge", "secret.end"} <= set(recorded)

    receipt = running.manage("GET", f"/v1/secrets/{secret_id}/receipt")
    assert receipt.status_code == 200, receipt.text
    deletion = receipt.json()["deletion"]
    (deleted,) = json.loads(deletion["statement"])["objects"]
    assert deleted["key"].startswith(f"secrets/{secret_id}/")
    assert deleted["version_id"]
    assert deletion["signature"]


@pytest.mark.requirement("SS-01")
def test_secret_is_requested_submitted_and_opened_by_the_requester(running: Running) -> None:
    retrieval = retrieval_links.create()
    body = {
        "purpose": "Database password",
        "retrieval_link": retrieval_links.parameters(retrieval),
    }
    created = running.manage("POST", "/v1/secret-requests", body)
    assert created.status_code == 201, created.text
    link, request_id = created.json()["submission_link"], created.json()["request"]["id"]
    form = {"link": (None, link), "text": (None, TEXT), "file": ("key.bin", b"\x00" * 100_000)}
    submitted = httpx.post(f"{running.sharing}/v1/requests/submit", files=form, timeout=30)
    assert submitted.status_code == 200, submitted.text
    again = httpx.post(
        f"{running.sharing}/v1/requests/submit",
        files={"link": (None, link), "text": (None, TEXT)},
        timeout=30,
    )
    assert (again.status_code, again.json()["code"]) == (404, "link_not_found")
    opened = running.open_link(retrieval.url(running.sharing))
    assert opened.status_code == 200, opened.text
    assert [item.get("text") for item in opened.json()["items"]] == [TEXT, None]
    assert running.recorded(request_id, until="request.denied") == [
        "request.create",
        "request.submit",
        "request.denied",
    ]
