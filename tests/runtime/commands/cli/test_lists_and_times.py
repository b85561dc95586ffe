"""Lists end after 30 entries, times are local, and each range of time is typed in the same ways."""

import json
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gatehouse.commands.cli.common import output
from gatehouse.commands.cli.common.lists import LIMIT
from gatehouse.commands.cli.common.options import instant

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command
from tests.runtime.commands.cli.test_messages import console_commands

#: Groups of lists that are read page by page, with a command that fills one.
RANGES = [
    (words, {option for each in command.params for option in each.opts})
    for words, command in console_commands()
    if {"--since", "--last"} & {option for each in command.params for option in each.opts}
]


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_each_range_has_the_same_options() -> None:
    assert len(RANGES) >= 5
    for words, options in RANGES:
        assert {"--since", "--until", "--last"} <= options, words


@pytest.mark.parametrize("words", [words for words, _ in RANGES], ids=" ".join)
def test_each_range_is_typed_in_the_same_ways(operator: Command, words: tuple[str, ...]) -> None:
    now = datetime.now().astimezone() - timedelta(minutes=5)
    forms = (f"{now:%H:%M}", f"{now:%Y-%m-%d}", f"{now:%Y-%m-%d %H:%M}", now.isoformat())
    for option in (*(("--since", form) for form in forms), ("--last", "2h")):
        arguments = ("missing/file",) if words == ("audit", "export") else ()
        result = operator.run(*words, *arguments, *option)
        expected = {0, 2} if arguments else {0, 1}  # the console has no logs
        assert result.code in expected, result.err
        assert "--since" not in result.err
    both = operator.run(*words, *arguments, "--since", "10:00", "--last", "2h")
    assert (both.code, "mutually exclusive" in both.err) == (2, True)
    for wrong in ("yesterday", "25:00", "2026-13-01", "2026-11-30T10", ""):
        result = operator.run(*words, *arguments, "--since", wrong)
        assert (result.code, "--since must be a time such as 10:00" in result.err) == (2, True)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("2026-07-01", "2026-06-30T22:00:00"),
        ("2026-07-01 10:00", "2026-07-01T08:00:00"),
        ("2026-12-01T9:30:15", "2026-12-01T08:30:15"),
        ("2026-12-01T09:30:15Z", "2026-12-01T09:30:15Z"),
        ("2026-12-01T09:30:15.5+09:00", "2026-12-01T00:30:15.5"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_typed_time_is_in_the_local_zone(typed: str, expected: str) -> None:
    assert instant("--since", typed).startswith(expected)


@pytest.mark.usefixtures("berlin")
def test_time_without_a_date_is_the_last_one() -> None:
    now = datetime.now().astimezone()
    for minutes in (-10, 10):
        typed = f"{now + timedelta(minutes=minutes):%H:%M}"
        found = datetime.fromisoformat(instant("--since", typed))
        assert now - timedelta(days=1, minutes=1) < found <= now


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.usefixtures("berlin")
def test_times_are_local_and_on_one_line(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(output, "_form", "table")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    item = SimpleNamespace(at="2026-07-01T22:59:57.286507Z", name="x" * 300, detail="y " * 90)
    output.print_items([item], "name", ("time", lambda each: each.at), "detail")
    output.note(f"Expires at {item.at}.")
    shown = capsys.readouterr()
    assert "2026-07-02 00:59:57 CEST" in shown.out
    assert shown.err.splitlines()[0 - 1] == "Expires at 2026-07-02 00:59:57 CEST."
    assert ".286507" not in shown.out + shown.err


@pytest.fixture
def many(operator: Command) -> Command:
    have = len(json.loads(operator.run("keys", "list", "--all", "--json").out))
    for _ in range(LIMIT + 5 - have):
        operator.create_key()
    return operator


def test_list_ends_after_30_entries_with_their_number(many: Command) -> None:
    total = len(json.loads(many.run("keys", "list", "--all", "--json").out))
    assert total > LIMIT
    for options, shown in (((), LIMIT), (("--limit", "3"), 3), (("--all",), total)):
        result = many.run("keys", "list", *options)
        assert len(result.out.splitlines()) == shown
        rest = f"{shown} of {total} keys; for more: --limit N or --all\n"
        assert result.err == (rest if shown < total else f"{total} keys\n")
    as_json = many.run("keys", "list", "--json")
    assert len(json.loads(as_json.out)) == LIMIT
    assert as_json.err.startswith(f"{LIMIT} of {total} keys")
    events = many.run("audit", "list", "--limit", "2")
    assert (len(events.out.splitlines()), events.err[:5]) == (2, "2 of ")


def test_rows_are_printed_before_the_next_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> Iterator[Any]:
        yield SimpleNamespace(id="one")
        assert capsys.readouterr().out == "one\n"
        yield SimpleNamespace(id="two")

    output.print_items(read(), "id")
    assert capsys.readouterr().out == "two\n"


def test_version_is_an_option(bare: Command) -> None:
    assert bare.run("--version") == bare.run("version")
    assert bare.run("--version").out.startswith("gatehouse ")


def test_whoami_names_credential_roles_and_environment(operator: Command, console_url: str) -> None:
    shown = json.loads(operator.run("whoami", "--json").out)
    assert shown == {
        **{"console": console_url, "actor_type": "bootstrap", "actor_id": "bootstrap"},
        **{"roles": ["owner"], "environment": "dev"},
    }
    token = operator.run("keys", "create", "--name", "a", "--scope", "role:auditor").out.strip()
    other = operator.run("whoami", GATEHOUSE_ADMIN_TOKEN=token).out
    assert re.search(rf"{token.split('_')[2][:12]}[\s\S]*auditor", other)
    assert BOOTSTRAP not in other


def test_status_reads_the_health_of_both_services(operator: Command, console_url: str) -> None:
    result = operator.run("status", "--json")
    shown = json.loads(result.out)
    [console] = shown["services"]
    # No gateway has reported.
    assert (result.code, shown["health"]["state"]) == (1, "unavailable")
    assert (console["service"], console["url"], console["checks"]["database"]) == (
        "console",
        console_url,
        "ok",
    )
    result = operator.run("status", "--gateway", "http://127.0.0.1:1")
    lines = result.out.splitlines()
    assert (result.code, lines[1]) == (1, "gateway\tUnavailable\tresponse=none\thttp://127.0.0.1:1")
    assert operator.run("status", "--gateway", "nope").code == 2
