"""`gatehouse sessions`, `log-level`, `features` and `cores` against a running console."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command
from tests.runtime.conftest import Database


def sign_in(console_url: str) -> str:
    """Signs in like a browser and returns the session ID."""
    headers = {"Authorization": f"Bearer {BOOTSTRAP}", "User-Agent": "a browser"}
    reply = httpx.post(f"{console_url}/v1/sessions", headers=headers, timeout=60)
    assert reply.status_code == 201, reply.text
    session: str = reply.json()["session"]["id"]
    return session


@pytest.mark.requirement("TR-14")
def test_log_level_is_set_shown_and_reset(operator: Command) -> None:
    assert operator.run("log-level").out == "info (configured)\n"
    done = operator.run("log-level", "debug", "--for", "10m")
    assert (
        done.code,
        done.out.startswith("debug until 20"),
        done.out.endswith("; configured: info\n"),
    ) == (0, True, True)
    shown = json.loads(operator.run("log-level", "--json").out)
    assert (shown["level"], shown["configured"], shown["set_by"]) == ("debug", "info", "bootstrap")
    assert operator.run("log-level", "--reset").out == "info (configured)\n"


@pytest.mark.requirement("TR-02")
def test_features_are_listed(operator: Command) -> None:
    assert "use a session cookie" in operator.run("features").out
    features = json.loads(operator.run("features", "--json").out)
    assert [
        (feature["service"], feature["enabled"])
        for feature in features
        if feature["name"] == "proxy"
    ] == [("gateway", True)]


@pytest.mark.requirement("CG-13")
def test_sign_in_link_starts_a_session(operator: Command, console_url: str) -> None:
    url = operator.run("sessions", "link").out.strip()
    assert url.startswith(f"{console_url}/#sign-in=")
    headers = {"Authorization": f"Bearer {url.partition('=')[2]}"}
    assert [
        httpx.post(f"{console_url}/v1/sessions", headers=headers, timeout=60).status_code
        for _ in range(2)
    ] == [201, 401]
    assert operator.run("sessions", "end", "--all").out == "Ended 1 session.\n"


def test_sessions_are_listed_and_ended(operator: Command, console_url: str) -> None:
    sessions = [sign_in(console_url) for _ in range(3)]
    table = operator.run("sessions", "list").out
    assert all(session in table for session in sessions)
    assert "a browser" in table
    assert operator.run("sessions", "end", sessions[0]).out == "Ended 1 session.\n"
    again = operator.run("sessions", "end", sessions[0])
    assert (again.code, again.err) == (1, "gatehouse: No session has this ID.\n")
    assert [
        item["id"] for item in json.loads(operator.run("sessions", "list", "--json").out)
    ] == sessions[:0:-1]
    assert operator.run("sessions", "end", "--all").out == "Ended 2 sessions.\n"
    assert json.loads(operator.run("sessions", "list", "--json").out) == []


def test_owner_ends_the_sessions_of_all_users(operator: Command, console_url: str) -> None:
    sign_in(console_url)
    key = operator.run("keys", "create", "--name", "auditor", "--scope", "role:auditor").out.strip()
    httpx.post(
        f"{console_url}/v1/sessions", headers={"Authorization": f"Bearer {key}"}, timeout=60
    ).raise_for_status()
    denied = operator.run("sessions", "end", "--everybody", GATEHOUSE_ADMIN_TOKEN=key)
    assert (denied.code, denied.err) == (
        1,
        "gatehouse: Ending the sessions of all users requires the role owner.\n",
    )
    assert json.loads(operator.run("sessions", "end", "--everybody", "--json").out) == {"ended": 2}


@pytest.mark.requirement("CG-13")
def test_instances_of_cores_are_listed_and_drained(operator: Command, database: Database) -> None:
    key_id = operator.create_key()
    for instance, healthy in (("first", "true"), ("second", "false"), ("third", "true")):
        database.sql(
            "INSERT INTO core (name, instance_id, url, environment, registered_by, lease_id, "  # noqa: S608
            f"pepper_generation, expires_at, healthy) VALUES ('docs', '{instance}', "
            f"'https://{instance}.example', 'test', '{key_id}', 'lease-{instance}', 1, now() + "
            f"interval '1 minute', {healthy})"
        )
    drained = operator.run("cores", "drain", "docs", "--instance", "third")
    assert (drained.code, drained.out) == (0, "Draining instance third of docs.\n")
    rows = [
        line.split() for line in operator.run("cores", "list").out.splitlines() if "docs" in line
    ]
    assert [(row[3], row[5]) for row in rows] == [
        ("first", "live"),
        ("second", "unhealthy"),
        ("third", "draining"),
    ]
    assert operator.run("cores", "drain", "docs").out == "Draining all instances of docs.\n"
    again = operator.run("cores", "drain", "docs")
    assert (again.code, again.err) == (1, "gatehouse: No Core is registered under this name.\n")
    assert {
        core["draining"] for core in json.loads(operator.run("cores", "list", "--json").out)
    } == {True}


@pytest.mark.parametrize("arguments", [("Docs",), ("docs", "--instance", "a b")])
def test_invalid_instance_is_a_usage_error(operator: Command, arguments: tuple[str, ...]) -> None:
    done = operator.run("cores", "drain", *arguments)
    assert (done.code, "see `gatehouse cores list`" in done.err) == (2, True)
