"""What users paste is recognized and found."""

import json
from pathlib import Path
from typing import Any

import pytest
from gatehouse.core.audit_events import AuditAction
from gatehouse.core.clock import rfc3339

from tests.runtime.conftest import Database
from tests.runtime.console_client import BOOTSTRAP, Console, open_console
from tests.runtime.core_records import register
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.rows import request_row

#: Times at which requests end: in the first minute, in the first hour, and later.
ENDS_S = (2, 1800, 7200)
#: An ID of a customer that could be a secret.
LONG_ID = f"org_{'4f9b' * 8}"
IMPORTED, REQUEST_ID, OTHER_ID = "a-token-of-another-system", f"req_{7:026x}", f"req_{8:026x}"


async def look_up(console: Console, text: str, **options: Any) -> tuple[list[str], str | None]:
    reply = await console.post("/v1/lookup", json={"text": text, "logs": True}, **options)
    assert reply.status_code == 200, reply.text
    document = reply.json()
    return [f"{each['kind']} {each['id']}" for each in document["found"]], document["search"]


def wrapped(text: str, width: int) -> str:
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


async def test_everything_that_is_pasted_is_found(
    database: Database, sharing: Sharing, tmp_path: Path
) -> None:
    async with open_console(
        database, **sharing.console("https://share.test"), logs=f"file:{tmp_path}"
    ) as console:
        for body in ({"id": "billing", "name": "Invoices Ltd"}, {"id": LONG_ID}):
            assert (await console.post("/v1/customers", json=body)).status_code == 201
        created = await console.create(name="nightly export", customer_id="billing", tags=["batch"])
        revoked = await console.create()
        await console.post(f"/v1/keys/{revoked['key']['id']}/revoke")
        token, key = created["token"], f"key {created['key']['id']}"
        imported = f"key {await console.import_key(IMPORTED)}"
        console.sql(
            request_row(key_id=f"'{created['key']['id']}'", core="''", request_id=f"'{REQUEST_ID}'")
        )
        await register(console, "documents")
        shared = (await console.post("/v1/secrets", json={"text": "a", "label": "door"})).json()
        secret, link = f"secret {shared['secret']['id']}", shared["links"][0]["url"]
        event = (await console.get("/v1/audit-events?limit=1")).json()["events"][0]["request_id"]
        line = {"event": "request", "request_id": OTHER_ID, "key_id": key[4:], "status": 403}
        # Requests without a record, by the time of their lines after their start.
        day_ago = int(console.clock.now() - 86_400)
        allowed, slow, ended_late = lines = {
            f"req_{(day_ago + n) * 1000 << 60:026x}": day_ago + s for n, s in enumerate(ENDS_S)
        }
        (tmp_path / "gateway.log").write_text(
            "".join(
                f'{{"level":"info","event":"request","request_id":"{name}",'
                f'"key_id":"{key[4:]}","ts":"{rfc3339(at)}"}}\n'
                for name, at in lines.items()
            )
        )
        of_request = [key, f"requests {REQUEST_ID}", f"logs {REQUEST_ID}"]
        cases: list[tuple[str, list[str], bool]] = [
            # text, what is found, and whether the text can be a secret
            *((form, [key], True) for form in forms(token)),
            (wrapped(token, 9), [key], True),
            (token[:-7], [key], True),
            (created["key"]["start"], [key], False),
            (key[4:], [key], False),
            (revoked["token"], [f"key {revoked['key']['id']}"], True),
            *((form, [imported], True) for form in forms(IMPORTED)),
            (wrapped(IMPORTED, 9), [imported], True),
            (REQUEST_ID, of_request, False),
            (f'{{"detail": "denied", "request_id": "{REQUEST_ID}"}}', of_request, False),
            (json.dumps(line), [key, f"logs {OTHER_ID}"], False),
            (allowed, [key, f"logs {allowed}"], False),
            (f'{{"code": "VALID", "request_id": "{slow}"}}', [key, f"logs {slow}"], False),
            (ended_late, [f"logs {ended_late}"], False),
            (event, [f"events {event}", f"logs {event}"], False),
            *((text, [key], False) for text in ("Nightly", "batch")),
            *((text, ["customer billing", key], False) for text in ("billing", "invoices l")),
            (LONG_ID, [f"customer {LONG_ID}"], False),
            (f"{LONG_ID}x", [], True),
            (secret[7:], [secret], False),
            ("Door", [secret], False),
            ("bootstrap", [secret], False),
            (link, [secret], True),
            (link.partition("#")[0], [secret], False),
            ("docum", ["core documents"], False),
            (
                "key.rev",
                [f"events {action}" for action in AuditAction if "key.rev" in action],
                False,
            ),
            ("no such name", [], False),
            (f"{IMPORTED}x", [], False),
            (token[-49:][:40], [], True),
            (BOOTSTRAP, [], True),
            (wrapped(BOOTSTRAP, 9), [], True),
            ("", [], False),
        ]
        results = {text: await look_up(console, text) for text, _, _ in cases}
        assert results == {
            text: (found, None if is_secret else text.strip()) for text, found, is_secret in cases
        }
        searched = (
            await console.post("/v1/lookup", json={"text": ended_late, "logs": True})
        ).json()
        issuer = console.as_((await console.create(scopes=["role:issuer"]))["token"])
        assert await look_up(console, "door", headers=issuer) == ([], "door")
        assert await look_up(console, "bootstrap", headers=issuer) == ([], "bootstrap")
        ended_at = day_ago + 2
        assert (searched["logs_since"], searched["logs_until"]) == (
            rfc3339(ended_at - 5, "milliseconds"),
            rfc3339(ended_at + 3600.001, "milliseconds"),
        )
        logged = console.log.getvalue().decode()
        for text in (token, IMPORTED, BOOTSTRAP, link.partition("#")[2]):
            assert text not in logged


def forms(token: str) -> list[str]:
    return [
        token,
        f'  "{token}",',
        f"Bearer {token}",
        f"Authorization: Bearer {token}",
        f"X-API-Key:{token}",
        f"curl -sS -H 'X-API-Key: {token}' https://gateway.test/cores/docs/",
        f'{{"token": "{token}", "cost": 0}}',
        f"export TOKEN={token}",
    ]


@pytest.mark.parametrize(
    ("role", "found"), [("issuer", []), ("auditor", ["core documents"]), ("service", None)]
)
async def test_roles_limit_what_is_found(
    console: Console, role: str, found: list[str] | None
) -> None:
    await register(console, "documents")
    caller = console.as_((await console.create(scopes=[f"role:{role}"]))["token"])
    reply = await console.post("/v1/lookup", json={"text": "documents"}, headers=caller)
    assert reply.status_code == (403 if found is None else 200)
    if found is not None:
        assert (await look_up(console, "documents", headers=caller))[0] == found
