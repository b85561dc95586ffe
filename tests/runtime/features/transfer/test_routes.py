"""Imports with the management API: dry run, report, bounds and the audit trail."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gatehouse.core.keys import KeyEnvironment
from gatehouse.core.roles import Role
from gatehouse.core.token import build
from gatehouse.features.transfer.schemas import CONTENT_CHARS_MAX, INVALID_ROWS_MAX, ROWS_MAX

from tests.runtime.console_client import Console

pytestmark = pytest.mark.requirement("CG-09")

CSV = "key,name,owner\nlegacy-token-{0}1,one,billing\nlegacy-token-{0}2,two,billing\n"


async def send(
    console: Console, content: str, file_name: str = "keys.csv", **options: Any
) -> dict[str, Any]:
    reply = await console.client.post(
        "/v1/imports", json={"file_name": file_name, "content": content, **options}
    )
    assert reply.status_code == 200, reply.text
    report: dict[str, Any] = reply.json()
    return report


async def rejected(
    console: Console, content: str, file_name: str = "keys.csv", **options: Any
) -> dict[str, Any]:
    reply = await console.client.post(
        "/v1/imports", json={"file_name": file_name, "content": content, **options}
    )
    assert reply.status_code == 400, reply.text
    problem: dict[str, Any] = reply.json()
    return problem


def counts(report: dict[str, Any]) -> tuple[int, ...]:
    return tuple(report[name] for name in ("rows", "imported", "existing", "invalid"))


def keys(console: Console) -> int:
    return int(console.database.sql("SELECT count(*) FROM api_key"))


async def test_dry_run_reports_what_the_import_then_does(console: Console) -> None:
    content = CSV.format("dry-run-") + "legacy-token-dry-run-1,again,\nshort,bad,\n"
    before = keys(console)
    dry = await send(console, content, dry_run=True)
    assert (dry["dry_run"], dry["effective"], counts(dry)) == (True, None, (4, 2, 0, 2))
    assert dry["invalid_rows"] == [
        {
            "line": 4,
            "problems": [
                {"field": "", "message": "is the same key as line 2", "fix": "remove one of them"}
            ],
        },
        {
            "line": 5,
            "problems": [
                {
                    "field": "",
                    "message": (
                        "has a key that is not 8 to 512 visible ASCII characters without a space"
                    ),
                    "fix": "",
                }
            ],
        },
    ]
    assert keys(console) == before
    problem = await rejected(console, content)
    assert [error["location"] for error in problem["errors"]] == ["line 4", "line 5"]
    assert keys(console) == before

    report = await send(console, content, skip_invalid=True)
    assert (report["dry_run"], report["effective"], counts(report)) == (
        False,
        "everywhere",
        (4, 2, 0, 2),
    )
    assert report["invalid_rows"] == dry["invalid_rows"]
    assert keys(console) == before + 2
    assert counts(await send(console, content, skip_invalid=True, dry_run=True)) == (4, 0, 2, 2)
    assert counts(await send(console, content, skip_invalid=True)) == (4, 0, 2, 2)
    assert counts(await send(console, CSV.format("dry-run-") + "legacy-token-3,three,\n")) == (
        3,
        1,
        2,
        0,
    )


async def test_import_is_recorded_and_its_keys_have_the_requested_scopes(console: Console) -> None:
    await send(
        console,
        '{"legacy-token-scopes": {"name": "scoped", "uses": 3}}',
        "a.json",
        ignore=["uses"],
        scopes=["reports:read"],
    )
    [key] = (await console.client.get("/v1/keys", params={"search": "scoped"})).json()["keys"]
    assert (key["scopes"], key["environment"], key["created_by"][:7]) == (
        ["reports:read"],
        "test",
        "import:",
    )
    [event] = (
        await console.client.get("/v1/audit-events", params={"action": "key.import", "limit": 1})
    ).json()["events"]
    assert (event["actor_id"], event["details"]["source"], event["details"]["imported"]) == (
        "bootstrap",
        "a.json",
        1,
    )
    assert event["source_address"] == "192.0.2.7"


@pytest.mark.parametrize(
    ("file_name", "content", "message"),
    [
        (
            "keys.csv",
            "key\nlegacy-token-1,2\n",
            "line 2 does not have the 1 cells of the first line",
        ),
        ("keys.json", "key,name", "line 1 must be a JSON object or list"),
        ("keys.jsonl", '{"key": "legacy-token-1"}\n{', "line 2 is not valid JSON"),
    ],
)
async def test_malformed_file_is_rejected_with_its_line(
    console: Console, file_name: str, content: str, message: str
) -> None:
    [error] = (await rejected(console, content, file_name, dry_run=True))["errors"]
    assert error == {
        "location": "body.content",
        "message": message,
        "fix": "correct the file, or its extension",
    }


@pytest.mark.bound(
    "transfer.schemas:CONTENT_CHARS_MAX",
    "transfer.routes:BODY_EXTRA_BYTES",
    "transfer.schemas:ROWS_MAX",
    "transfer.schemas:INVALID_ROWS_MAX",
)
async def test_size_of_the_file_and_of_the_report_is_bounded(console: Console) -> None:
    rows = "key\n" + "".join(f"bounded-token-{number}\n" for number in range(ROWS_MAX))
    assert counts(await send(console, rows, dry_run=True)) == (ROWS_MAX, ROWS_MAX, 0, 0)
    [error] = (await rejected(console, rows + "bounded-token-x\n", dry_run=True))["errors"]
    assert (error["location"], error["message"]) == (
        "body.content",
        f"has more than {ROWS_MAX:,} rows",
    )
    short = await send(console, "key\n" + "short\n" * ROWS_MAX, dry_run=True)
    assert (short["invalid"], len(short["invalid_rows"])) == (ROWS_MAX, INVALID_ROWS_MAX)
    long = json.dumps([{"key": "legacy-token-long", "notes": "x" * CONTENT_CHARS_MAX}])
    [error] = (await rejected(console, long, "long.json", dry_run=True))["errors"]
    assert error["location"] == "body.content"
    body = {"file_name": "keys.json", "content": "é" * (3 * CONTENT_CHARS_MAX)}
    assert (await console.client.post("/v1/imports", json=body)).status_code == 413


async def test_text_with_a_token_is_invalid_and_reports_contain_no_token(console: Console) -> None:
    own = build("gtk", KeyEnvironment.TEST, b"i" * 12, b"s" * 32).text
    rows = [
        {"key": "legacy-token-canary-0123456789", "name": "with legacy-token-canary-0123456789"},
        {"key": "legacy-token-2", "notes": f"was {own}"},
        {"key": "legacy-token-3", "metadata": {"token": own}},
        {"key": own},
    ]
    reply = await console.client.post(
        "/v1/imports",
        json={"file_name": "keys.json", "content": json.dumps(rows, indent=0), "dry_run": True},
    )
    problems = [row["problems"][0] for row in reply.json()["invalid_rows"]]
    assert [(problem["field"], problem["message"]) for problem in problems] == [
        ("name", "contains a token"),
        ("notes", "contains a token"),
        ("metadata", "contains a token"),
        ("key", "has the format of this deployment's own keys"),
    ]
    assert "canary" not in reply.text + console.log.getvalue().decode()
    assert own[:40] not in reply.text + console.log.getvalue().decode()


async def test_imported_keys_cannot_manage_keys(console: Console) -> None:
    [error] = (await rejected(console, CSV.format("admin"), scopes=["admin"]))["errors"]
    assert error["message"] == "has a scope that manages keys; create such keys individually"
    report = await send(
        console, '[{"key": "legacy-token-role", "scopes": "role:operator"}]', "a.json", dry_run=True
    )
    assert report["invalid"] == 1


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OPERATOR, 200), (Role.ISSUER, 403), (Role.AUDITOR, 403), (Role.SERVICE, 403)],
)
async def test_only_operators_import_keys(console: Console, role: Role, status: int) -> None:
    token = (await console.create(scopes=[role.scope]))["token"]
    body = {"file_name": "keys.csv", "content": CSV.format(role.value), "dry_run": True}
    assert (
        await console.client.post("/v1/imports", json=body, headers=console.as_(token))
    ).status_code == status
