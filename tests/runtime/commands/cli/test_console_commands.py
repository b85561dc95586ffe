"""Commands against a running console."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from gatehouse.features.keys.fields import KeySettings
from gatehouse.features.keys.schemas import RevokedKey, RotatedKey
from gatehouse.features.secrets.schemas import CreatedSecret, SecretView
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.fields import View
from gatehouse_client import ConsoleClient
from gatehouse_client._sync.client import Client

from tests.runtime.commands.cli.conftest import (
    BOOTSTRAP,
    Command,
    importer_command,
    running_console,
)
from tests.runtime.commands.cli.conftest import key_id as token_id
from tests.runtime.conftest import Database
from tests.runtime.rows import contact_row, key_row, request_row


def _option(name: str, value: object) -> str:
    end = "es" if name == "addresses" else "s" if isinstance(value, list) else ""
    return f"--{name.removesuffix(end).removesuffix('_id').replace('_', '-')}"


@pytest.mark.parametrize("command", ["create", "update"])
def test_every_setting_has_an_option_and_is_shown(
    operator: Command, database: Database, command: str
) -> None:
    database.sql(contact_row())
    operator.run("customers", "create", "--id", "acme")
    example = KeySettings.example
    options = [
        f"{_option(name, value)}={text}"
        for name, value in example.items()
        for text in _texts(value)
    ]
    target = () if command == "create" else (operator.create_key(),)
    done = operator.run("keys", command, *target, *options)
    key_id = target[0] if target else token_id(done.out.strip())
    shown = operator.show_key(key_id)
    assert {name: shown[name] for name in example} == example
    properties = operator.run("keys", "show", key_id).out
    assert [
        text for value in example.values() for text in _texts(value) if text not in properties
    ] == []


def _texts(value: Any) -> list[str]:
    return (
        [value]
        if isinstance(value, str)
        else [f"{name}={text}" for name, text in value.items()]
        if isinstance(value, dict)
        else value
    )


def test_keys_that_match_filters_are_changed(
    operator: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = ("--create-customer", "--customer")
    ids = [operator.create_key(*customer, "bulk") for _ in range(3)]
    other = operator.create_key(*customer, "another")
    operator.run("keys", "disable", ids[1])
    assert operator.run("keys", "revoke").code == 2
    listed = operator.run("keys", "revoke", "--customer", "bulk", "--dry-run", "--json")
    assert {key["id"] for key in json.loads(listed.out)} == {*ids}
    refused = operator.run("keys", "revoke", "--customer", "bulk")
    assert (refused.code, "3 keys would be changed" in refused.err) == (2, True)

    send = httpx.Client.send

    def interrupt(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(client, request, **options)
        if request.method == "POST":
            raise KeyboardInterrupt  # Ctrl-C after the console has made the change
        return response

    with monkeypatch.context() as patched:
        patched.setattr(httpx.Client, "send", interrupt)
        interrupted = operator.run("keys", "revoke", "--customer", "bulk", "--yes")
    assert (interrupted.code, "Revoked" in interrupted.err) == (130, False)
    continued = operator.run("keys", "revoke", "--customer", "bulk", "--yes")
    assert (continued.code, continued.err.count("Revoked")) == (0, 2)
    states = [operator.show_key(id)["state"] for id in (*ids, other)]
    assert states == [*3 * ["revoked"], "active"]


def test_webhook_is_created_and_shown(operator: Command) -> None:
    created = operator.run("webhooks", "create", "--url", "https://hooks.example.com/a?b")
    assert created.out.startswith("whsec_")
    webhook_id = operator.run("webhooks", "list").out.partition("\t")[0]
    shown = operator.run("webhooks", "show", webhook_id).out
    assert {f"id\t{webhook_id}", "url\thttps://hooks.example.com"} < {*shown.splitlines()}


def test_key_is_found_by_its_token(
    operator: Command, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported, own = "a-token-of-another-system", operator.run("keys", "create", "--name", "own")
    importer = importer_command(operator.folder, database.app_url, b"p" * 32)
    (importer.folder / "api_keys.json").write_text(json.dumps({imported: {"name": "imported"}}))
    assert importer.run("import", "api_keys.json").code == 0
    addresses: list[str] = []
    send = httpx.Client.send

    def record(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        addresses.append(str(request.url))
        return send(client, request, **options)

    monkeypatch.setattr(httpx.Client, "send", record)
    for token, name in ((imported, "imported"), (own.out.strip(), "own")):
        found = operator.run("keys", "list", "--search", token, "--json")
        assert [key["name"] for key in json.loads(found.out)] == [name]
        assert len(addresses) > 0
        assert token not in "".join(addresses)


def test_limits_of_a_key_return_to_the_default(operator: Command) -> None:
    default = operator.show_key(operator.create_key())["limits"]
    key_id = operator.create_key("--limit", "9/1h:3", "--limit", "daily=50/1d")
    assert len(operator.show_key(key_id)["limits"]) == 2
    assert operator.run("keys", "update", key_id, "--limit", "default").code == 0
    assert operator.show_key(key_id)["limits"] == default


def test_sign_in_link_starts_a_session(operator: Command, console_url: str) -> None:
    url = operator.run("sessions", "link").out.strip()
    assert url.startswith(f"{console_url}/#sign-in=")
    headers = {"Authorization": f"Bearer {url.partition('=')[2]}"}
    reply = httpx.post(f"{console_url}/v1/sessions", headers=headers, timeout=60)
    assert reply.status_code == 201


@pytest.mark.parametrize(
    ("command", "shape"),
    [
        ("keys revoke 3fGh82kLmQ0a", RevokedKey),
        ("keys rotate 3fGh82kLmQ0a", RotatedKey),
        ("secrets revoke 5tRw0aB9xK2m7HqYc1dZ8e", SecretView),
        ("secrets create", CreatedSecret),
    ],
)
def test_answers_of_a_console_do_not_control_the_terminal(
    operator: Command, monkeypatch: pytest.MonkeyPatch, command: str, shape: type[View]
) -> None:
    answer = json.dumps(example(shape))
    for name in ("id", "url", "token"):
        answer = answer.replace(f'"{name}": "', f'"{name}": "\\u001b\\u202e')
    monkeypatch.setattr(Client, "_send", lambda *_, **__: httpx.Response(200, text=answer))
    shown = operator.run(*command.split(), stdin="secret")
    assert (shown.code, "\\x1b\\u202e" in shown.out) == (0, True)
    assert {"\x1b", "\u202e"}.isdisjoint(shown.out)


def test_validation_error_is_one_line_with_a_fix(operator: Command) -> None:
    result = operator.run("keys", "create", "--name", "x", "--scope", "NO")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("gatehouse: --scope must be 1 to 64 lowercase letters")


def test_denied_credential_is_not_printed(operator: Command) -> None:
    result = operator.run("keys", "list", GATEHOUSE_ADMIN_TOKEN="wr0ng")
    assert (result.code, result.err) == (1, "gatehouse: The bearer token is invalid.\n")


def test_use_of_limits_and_of_the_week_before(operator: Command, database: Database) -> None:
    key_id = operator.create_key("--limit", "10/1d", "--credits", "1:4/month")
    database.sql(
        f"INSERT INTO key_activity VALUES ('{key_id}', now()); "  # noqa: S608
        f"INSERT INTO usage_count SELECT 3600, '{key_id}', date_trunc('hour', now() "
        "- interval '1 hour' - day * interval '1 day'), '', 'VALID', 9 - day "
        "FROM unnest(ARRAY[0, 7]) AS day"
    )
    near = operator.run("keys", "limits", "--percent", "76", "--key", key_id)
    assert (key_id in near.out, "credits" in near.out, near.err) == (True, False, "1 limit\n")
    usage = operator.run("usage", "--compare", "--key", key_id)
    assert "In complete buckets: 9 until " in usage.err
    assert ", 2 one week earlier" in usage.err


def test_text_is_found_and_tokens_are_read_from_standard_input(operator: Command) -> None:
    token = operator.run("keys", "create", "--name", "found").out.strip()
    found = operator.run("find", stdin=f"curl -H 'X-API-Key: {token}'\n")
    assert (found.out, found.err) == (f"key\t{token[9:21]}\tfound\n", "1 result\n")
    assert operator.run("find", token[9:21]).out == found.out
    assert operator.run("find", "no such name").err == "0 results\n"
    argument = operator.run("find", token)
    assert (argument.code, token in argument.err) == (2, False)
    listed = operator.run("keys", "list", "--search", f"gtk_admin_{'a' * 43}")
    assert listed.err == "gatehouse: no key has this token; the text was not searched\n"


def test_denied_requests_are_listed(operator: Command, database: Database) -> None:
    database.sql(key_row("ON CONFLICT DO NOTHING", id="'3fGh82kLmQ0a'"))
    database.sql(
        request_row(
            "FROM unnest(ARRAY[1, 30]) AS hours",
            began_at="now() - hours * interval '1 hour'",
            key_id="'3fGh82kLmQ0a'",
            code="'RATE_LIMITED'",
            failed_check="'limit'",
            detail="'requests'",
            path="'/cores/docs/a'",
            status="429",
            duration_us="1260",
            request_id="'req_' || hours",
            count="2",
        )
    )
    found = operator.run("requests", "--key", "3fGh82kLmQ0a")
    assert found.out.split("\t")[1:] == [
        *("Rate limited", "requests", "GET", "/cores/docs/a", "429", "1.3", "3fGh82kLmQ0a", "docs"),
        *("192.0.2.7", "2", "req_1\n"),
    ]
    assert found.err == "2 requests, Rate limited 2\n"
    older = operator.run("requests", "--request", "req_30", "--last", "7d", "--output", "json")
    assert [each["request_id"] for each in json.loads(older.out)] == ["req_30"]
    assert operator.run("requests", "--check", "token").err == "0 requests\n"


def test_totals_of_requests_are_read_with_the_first_page(
    operator: Command, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql(key_row("ON CONFLICT DO NOTHING", id="'manyRequests'"))
    database.sql(
        request_row(
            "FROM generate_series(1, 130) AS number",
            began_at="now() - number * interval '1 second'",
            key_id="'manyRequests'",
            request_id="'req_' || number",
        )
    )
    sent, send = list[str](), ConsoleClient.get

    def get(self: ConsoleClient, shape: Any, path: str, **query: Any) -> Any:
        sent.append(path)
        return send(self, shape, path, **query)

    monkeypatch.setattr(ConsoleClient, "get", get)
    for options, shown, pages in (((), 30, 1), (("--limit", "120"), 120, 2), (("--all",), 130, 2)):
        sent.clear()
        found = operator.run("requests", "--key", "manyRequests", *options)
        lines = found.out.splitlines()
        ids = [line.split("\t")[-1] for line in lines]
        assert ids == [f"req_{number}" for number in range(1, shown + 1)]
        assert "130 requests" in found.err
        assert len(sent) == pages, options


@pytest.mark.parametrize("form", ["table", "json"])
def test_requests_are_followed(database: Database, tmp_path: Path, form: str) -> None:
    """Each is printed once, on one line, until the command is ended."""

    def add(number: int) -> None:
        database.sql(
            request_row(
                began_at="now() + interval '1 hour'",  # later than the start of the command
                core=f"'{core}'",
                code="'VALID'",
                failed_check="''",
                path="'/a'",
                status="200",
                duration_us="1260",
                address="''",
                request_id=f"'req_{number}'",
                count=f"{number}",
            )
        )

    core = f"followed-{form}"
    add(1)
    with running_console(database, tmp_path) as url:
        options = ["--core", core, "--console", url, *(["--json"] if form == "json" else [])]
        words = ["gatehouse", "requests", "--follow", *options]
        with subprocess.Popen(
            [str(Path(sys.executable).parent / words[0]), *words[1:]],
            env={
                **os.environ,
                "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP,
                "HOME": str(tmp_path),
                "PYTHONUNBUFFERED": "",
            },
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(120, process.kill)  # else a failure would never end
            timer.start()
            found = [process.stdout.readline()]
            for number in (2, 3):
                add(number)
                found.append(process.stdout.readline())
            process.terminate()  # a process in the background ignores SIGINT
            rest = process.stdout.read()
            timer.cancel()
    if form == "json":
        requests = [json.loads(line) for line in found]
        assert [(each["request_id"], each["count"], each["ms"]) for each in requests] == [
            (f"req_{number}", number, 1.26) for number in (1, 2, 3)
        ]
    else:
        assert [line.split(" ", 3)[3].rstrip() for line in found] == [
            "Allowed GET /a 200 1.3 ms req_1",
            "Allowed GET /a 200 1.3 ms req_2 x2",
            "Allowed GET /a 200 1.3 ms req_3 x3",
        ]
    assert rest == ""
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    "given",
    [
        ["--since", "10:00"],
        ["--until", "2026-11-30"],
        ["--last", "2h"],
        ["--order", "oldest"],
        ["--limit", "30"],  # the default
        ["-n", "1", "--all"],
    ],
    ids=" ".join,
)
def test_option_that_does_not_apply_to_followed_requests_is_an_error(
    operator: Command, given: list[str]
) -> None:
    found = operator.run("requests", "--follow", *given)
    names = [each.replace("-n", "--limit") for each in given]
    assert found.code == 2
    assert all(each in found.err for each in names if each.startswith("--")), found.err


def test_logs_are_searched(database: Database, tmp_path: Path) -> None:
    with running_console(database, tmp_path, GATEHOUSE_LOGS=f"file:{tmp_path}") as url:
        operator = Command(
            tmp_path, {"GATEHOUSE_CONSOLE_URL": url, "GATEHOUSE_ADMIN_TOKEN": BOOTSTRAP}
        )
        key_id = operator.create_key()
        while "/v1/keys" not in (log := (tmp_path / "log").read_text()):
            time.sleep(0.02)
        (tmp_path / "console.log").write_text(log)
        found = operator.run("logs", "search", "--search", "/v1/keys", "--last", "10m")
        assert ("POST" in found.out, found.err) == (True, "1 line\n")
        assert operator.run("logs", "search", "--key", key_id).err == "0 lines\n"
        lines = json.loads(operator.run("logs", "search", "-n", "3", "--json").out)
        assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
        assert len(lines) == 3
        wrong = operator.run("logs", "search", "--search", 'a"b')
        assert (wrong.code, wrong.err.startswith("gatehouse: ")) == (2, True)


def test_token_is_read_from_standard_input(operator: Command) -> None:
    result = operator.run(
        "keys", "list", "--json", "--token", "-", stdin=f"{BOOTSTRAP}\n", GATEHOUSE_ADMIN_TOKEN=""
    )
    assert result.code == 0


def test_console_of_make_up_is_the_default(operator: Command, console_url: str) -> None:
    folder = operator.folder / ".gatehouse"
    folder.mkdir()
    (folder / "up.json").write_text(json.dumps({"console": console_url, "admin_token": BOOTSTRAP}))
    assert Command(operator.folder, {}).run("keys", "list").code == 0


def test_proxy_of_the_environment_gets_no_token_of_this_machine(operator: Command) -> None:
    assert operator.run("keys", "list", http_proxy="http://127.0.0.1:9").code == 0
    remote = ("--console", "https://console.test", "--token", "t")
    refused = operator.run("keys", "list", *remote, https_proxy="ftp://proxy.test")
    assert (refused.code, "for proxies or certificates is not valid" in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("+500", (1470, "1000/month")),
        ("-70", (900, "1000/month")),
        (":2000/week", (970, "2000/week")),
        ("+30:none", (1000, "")),
        ("500", (500, "1000/month")),
        ("500:7/day", (500, "7/day")),
    ],
)
def test_credits_are_changed_while_requests_consume_them(
    operator: Command, database: Database, form: str, expected: tuple[int, str]
) -> None:
    key_id = operator.create_key("--credits", "1000:1000/month")
    database.sql(f"UPDATE key_credit SET remaining = 970 WHERE family_id = '{key_id}'")  # noqa: S608 - fixed text
    changed = operator.run("keys", "update", key_id, "--credits", form)
    assert (changed.code, changed.err) == (0, "")
    credits = operator.show_key(key_id)["credits"]
    refill = credits["refill"] and f"{credits['refill']['amount']}/{credits['refill']['every']}"
    assert (credits["remaining"], refill or "") == expected
