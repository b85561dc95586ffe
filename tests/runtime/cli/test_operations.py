"""`gatehouse sessions`, `log-level` and `features` against a running console."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.runtime.cli.conftest import BOOTSTRAP, Command


def sign_in(console_url: str) -> str:
    """Signs in like a browser and returns the session ID."""
    reply = httpx.post(f"{console_url}/v1/sessions", headers={"Authorization": f"Bearer {BOOTSTRAP}", "User-Agent": "a browser"})
    assert reply.status_code == 201, reply.text
    session: str = reply.json()["session"]["id"]
    return session


@pytest.mark.requirement("TR-14")
def test_log_level_is_set_shown_and_reset(operator: Command) -> None:
    assert operator.run("log-level").out == "info (configured)\n"
    done = operator.run("log-level", "debug", "--for", "10m")
    assert (done.code, done.out.startswith("debug until 20"), done.out.endswith("; configured: info\n")) == (0, True, True)
    shown = json.loads(operator.run("log-level", "--json").out)
    assert (shown["level"], shown["configured"], shown["set_by"]) == ("debug", "info", "bootstrap")
    assert operator.run("log-level", "--reset").out == "info (configured)\n"


@pytest.mark.requirement("TR-02")
def test_features_are_listed(operator: Command) -> None:
    assert "use a session cookie" in operator.run("features").out
    features = json.loads(operator.run("features", "--json").out)
    assert {name: features[2][name] for name in ("name", "service", "enabled")} == {
        "name": "proxy",
        "service": "gateway",
        "enabled": True,
    }


@pytest.mark.requirement("CG-13")
def test_sign_in_link_starts_a_session(operator: Command, console_url: str) -> None:
    url = operator.run("sessions", "link").out.strip()
    assert url.startswith(f"{console_url}/#sign-in=")
    headers = {"Authorization": f"Bearer {url.partition('=')[2]}"}
    assert [httpx.post(f"{console_url}/v1/sessions", headers=headers).status_code for _ in range(2)] == [201, 401]
    assert operator.run("sessions", "end", "--all").out == "Ended 1 session.\n"


def test_sessions_are_listed_and_ended(operator: Command, console_url: str) -> None:
    sessions = [sign_in(console_url) for _ in range(3)]
    table = operator.run("sessions", "list").out
    assert all(session in table for session in sessions)
    assert "a browser" in table
    assert operator.run("sessions", "end", sessions[0]).out == "Ended 1 session.\n"
    again = operator.run("sessions", "end", sessions[0])
    assert (again.code, again.err) == (1, "gatehouse: No session has this ID.\n")
    assert [item["id"] for item in json.loads(operator.run("sessions", "list", "--json").out)] == sessions[:0:-1]
    assert operator.run("sessions", "end", "--all").out == "Ended 2 sessions.\n"
    assert json.loads(operator.run("sessions", "list", "--json").out) == []


def test_owner_ends_the_sessions_of_all_users(operator: Command, console_url: str) -> None:
    sign_in(console_url)
    key = operator.run("keys", "create", "--name", "auditor", "--scope", "role:auditor").out.strip()
    httpx.post(f"{console_url}/v1/sessions", headers={"Authorization": f"Bearer {key}"}).raise_for_status()
    denied = operator.run("sessions", "end", "--everybody", GATEHOUSE_ADMIN_TOKEN=key)
    assert (denied.code, denied.err) == (1, "gatehouse: Ending the sessions of all users requires the role owner.\n")
    assert json.loads(operator.run("sessions", "end", "--everybody", "--json").out) == {"ended": 2}
