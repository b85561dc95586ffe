"""`gatehouse sessions` and `cores drain` against a running console."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.runtime.commands.cli.conftest import BOOTSTRAP, Command


def sign_in(console_url: str, token: str = BOOTSTRAP) -> None:
    """Signs in like a browser."""
    httpx.post(
        f"{console_url}/v1/sessions", headers={"Authorization": f"Bearer {token}"}, timeout=60
    ).raise_for_status()


@pytest.mark.requirement("CG-13")
def test_sign_in_link_starts_a_session_that_is_listed_and_ended(
    operator: Command, console_url: str
) -> None:
    url = operator.run("sessions", "link").out.strip()
    assert url.startswith(f"{console_url}/#sign-in=")
    sign_in(console_url, url.partition("=")[2])
    sign_in(console_url)
    first, second = json.loads(operator.run("sessions", "list", "--json").out)
    assert operator.run("sessions", "end", first["id"]).out == "Ended 1 session.\n"
    again = operator.run("sessions", "end", first["id"])
    assert (again.code, again.err) == (1, "gatehouse: No session has this ID.\n")
    assert second["id"] in operator.run("sessions", "list").out
    assert operator.run("sessions", "end", "--all").out == "Ended 1 session.\n"


def test_owner_ends_the_sessions_of_all_users(operator: Command, console_url: str) -> None:
    sign_in(console_url)
    key = operator.run("keys", "create", "--name", "auditor", "--scope", "role:auditor").out.strip()
    sign_in(console_url, key)
    denied = operator.run("sessions", "end", "--everybody", GATEHOUSE_ADMIN_TOKEN=key)
    assert (denied.code, denied.err) == (
        1,
        "gatehouse: Ending the sessions of all users requires the role owner.\n",
    )
    assert json.loads(operator.run("sessions", "end", "--everybody", "--json").out) == {"ended": 2}


@pytest.mark.parametrize("arguments", [("Docs",), ("docs", "--instance", "a b")])
def test_invalid_instance_is_a_usage_error(operator: Command, arguments: tuple[str, ...]) -> None:
    done = operator.run("cores", "drain", *arguments)
    assert (done.code, "see `gatehouse cores list`" in done.err) == (2, True)
