"""A secret is created, opened, deleted and recorded under IAM."""

import json

from tests.journeys.conftest import Running

TEXT = "correct horse battery staple"


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
