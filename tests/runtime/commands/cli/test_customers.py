"""Customers and plans against a running console."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.runtime.commands.cli.conftest import Command, key_id
from tests.runtime.conftest import Database


@pytest.fixture
def seller(operator: Command, database: Database) -> Command:
    """With the plan `starter` and the customer `acme`, which has two keys."""
    database.sql("DELETE FROM core; DELETE FROM api_key; DELETE FROM customer; DELETE FROM plan")
    plan = ("--limit", "100/1m", "--shared-limit", "3/1m", "--credits", "50/month", "--ttl", "9d")
    for command in (
        ("plans", "create", "--name", "starter", "--scope", "orders:read", *plan),
        ("customers", "create", "--id", "acme", "--name", "Acme Ltd", "--plan", "starter"),
    ):
        assert operator.run(*command).code == 0
    for _ in range(2):
        operator.create_key("--customer", "acme")
    return operator


def shown(command: Command, *words: str) -> Any:
    return json.loads(command.run(*words, "--json").out)


def keys(command: Command) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = shown(command, "keys", "list", "--customer", "acme ltd")
    return listed


def test_key_follows_the_plan_of_its_customer(seller: Command) -> None:
    first, second = keys(seller)
    inherited = ["expires_at", "limits", "scopes"]
    assert [first["inherits"], first["scopes"]] == [inherited, ["orders:read"]]
    assert first["expires_at"] is not None
    seller.run("keys", "update", second["id"], "--scope", "orders:write", "--limit", "7/1m")
    plan = shown(seller, "plans", "show", "starter")
    assert [each["key_id"] for each in plan["overrides"]] == [second["id"]]
    assert second["id"] in seller.run("plans", "show", "starter").out
    seller.run("plans", "update", "starter", "--limit", "default", "--ttl", "", "--scope", "")
    assert shown(seller, "keys", "show", first["id"])["scopes"] == ["cores:read"]
    seller.run("keys", "update", second["id"], "--scope", "", "--limit", "default")
    assert shown(seller, "keys", "show", second["id"])["inherits"] == inherited
    assert seller.run("plans", "delete", "starter").code == 1
    seller.run("keys", "update", second["id"], "--customer", "")
    assert shown(seller, "keys", "show", second["id"])["customer_id"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--plan", ""), {"plan": None, "shared_limits": []}),
        (("--limit", "9/1h"), {"inherits": ["credits"]}),
        (("--limit", "9/1h", "--limit", "default"), None),
        (("--credits", "+7"), {"inherits": ["limits"]}),
        (("--credits", "none"), {"inherits": ["limits", "credits"]}),
        (("--tag", "eu", "--metadata", "a=b"), {"tags": ["eu"], "metadata": {"a": "b"}}),
        (("--empty", "tags", "--name", "New"), {"tags": [], "name": "New"}),
        (("--name", ""), None),
        ((), None),
    ],
)
def test_customer_is_changed(
    seller: Command, options: tuple[str, ...], expected: dict[str, Any] | None
) -> None:
    changed = seller.run("customers", "update", "acme", *options)
    if expected is None:
        assert changed.code == 2
    else:
        assert (changed.code, "In effect at every gateway" in changed.out) == (0, True)
        customer = shown(seller, "customers", "show", "acme")
        assert {name: customer[name] for name in expected} == expected


def test_life_of_customers(seller: Command) -> None:
    seller.run("customers", "create", "--id", "b@1:x.y", "--plan", "starter")
    listed = seller.run("customers", "disable", "--plan", "starter", "--dry-run")
    assert (listed.out.count("active"), listed.err) == (2, "2 customers\n")
    assert seller.run("customers", "disable", "--plan", "starter").code == 2
    assert seller.run("customers", "disable", "--plan", "starter", "--yes").err.count(".\n") == 2
    assert seller.run("customers", "enable", "b@1:x.y").code == 0
    assert seller.run("customers", "list", "--state", "disabled").err == "1 customer\n"
    assert seller.run("customers", "delete", "acme").code == 0
    assert "state disabled" in seller.run("customers", "restore", "acme").out
    assert seller.run("customers", "purge", "acme", "--yes").code == 1  # not deleted
    seller.run("customers", "delete", "acme")
    assert seller.run("customers", "purge", "acme").code == 2
    assert seller.run("customers", "purge", "acme", "--yes").out == "Purged acme and 2 keys.\n"
    assert seller.run("customers", "show", "acme").code == 1


def test_purge_continues_until_no_keys_are_left(seller: Command, database: Database) -> None:
    database.sql(
        "CREATE TEMPORARY TABLE copied AS SELECT api_key.* FROM api_key LIMIT 1; "
        "INSERT INTO api_key SELECT (jsonb_populate_record(copied, jsonb_build_object('id', id_, "
        "'family_id', id_))).* FROM copied, (SELECT lpad(number::text, 12, '0') AS id_ FROM "
        "generate_series(1, 120) AS number) AS ids"
    )
    seller.run("customers", "delete", "acme")
    purged = seller.run("customers", "purge", "acme", "--yes")
    assert purged.out == "Purged acme and 122 keys.\n"
    assert purged.err == "Purged 100 keys, 22 left.\n"


def test_filter_without_a_value_is_an_error(seller: Command) -> None:
    seller.create_key()
    for option in ("--customer=", "--plan="):
        assert seller.run("keys", "revoke", option, "--dry-run").code == 2
    assert seller.run("keys", "create", "--name", "a", "--customer", "").code == 2


def test_update_by_filters_continues_after_an_interruption(
    seller: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = seller.create_key()
    command = ("keys", "update", "--filter-customer", "acme", "--limit", "7/1m", "--tag", "big")
    assert seller.run(*command, "--dry-run").err == "2 keys\n"
    refused = seller.run(*command)
    assert (refused.code, "2 keys would be changed" in refused.err) == (2, True)
    assert all(key["tags"] == [] for key in keys(seller))
    send, count = httpx.Client.send, 0

    def interrupt(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        nonlocal count
        count += request.method == "PATCH"
        if count == 2:
            raise KeyboardInterrupt
        return send(client, request, **options)

    with monkeypatch.context() as patched:
        patched.setattr(httpx.Client, "send", interrupt)
        interrupted = seller.run(*command, "--yes")
    assert (interrupted.code, interrupted.err.count("Updated")) == (130, 1)
    assert sum(key["tags"] == ["big"] for key in keys(seller)) == 1
    continued = seller.run(*command, "--yes")
    assert (continued.code, continued.err.endswith("2 keys\n")) == (0, True)
    assert all(key["tags"] == ["big"] and key["limits"][0]["quota"] == 7 for key in keys(seller))
    assert shown(seller, "keys", "show", other)["tags"] == []


def test_update_by_filters_of_the_same_name(seller: Command) -> None:
    seller.run("plans", "create", "--name", "business", "--limit", "9/1m")
    command = ("customers", "update", "--filter-plan", "starter", "--plan", "business", "--yes")
    (changed,) = shown(seller, *command)
    assert (changed["id"], changed["plan"]) == ("acme", "business")
    assert seller.run(*command).err == "0 customers\n"
    assert {key["limits"][0]["quota"] for key in keys(seller)} == {9}


@pytest.mark.parametrize("group", ["keys", "customers"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing to change"),
        (("--yes", "--notes", "a"), "use either the ID"),
        (("acme", "--filter-search", "a", "--notes", "b", "--yes"), "use either the ID"),
        (("--filter-search", "acme", "--yes"), "nothing to change"),
        (("--filter-search", "acme", "--credits", "+5", "--yes"), "--credits cannot add"),
        (("--filter-search", "acme", "--credits", "-5:9/day", "--dry-run"), "--credits cannot add"),
        (("--filter-tag", "t" * 65, "--notes", "b", "--dry-run"), "--filter-tag must"),
    ],
)
def test_update_by_filters_refuses(
    seller: Command, group: str, options: tuple[str, ...], message: str
) -> None:
    before = keys(seller)
    if group == "customers":
        options = tuple("--contact" if each == "--notes" else each for each in options)
    refused = seller.run(group, "update", *options)
    assert refused.code != 0
    assert message in refused.err
    assert keys(seller) == before


def rotated(out: str) -> dict[str, str]:
    """The tokens by the name of the key."""
    return {
        name: token
        for customer, _, name, token in (line.split("\t") for line in out.splitlines())
        if customer == "acme"
    }


@pytest.mark.parametrize("loses_response", [False, True])
def test_interrupted_rotation_of_a_customer_continues(
    seller: Command, monkeypatch: pytest.MonkeyPatch, loses_response: bool
) -> None:
    for number, key in enumerate(before := keys(seller)):
        seller.run("keys", "update", key["id"], "--name", f"key {number}")
    command = ("keys", "rotate", "--customer", "acme")
    assert seller.run(*command, "--dry-run").err == "2 keys\n"
    assert seller.run(*command).code == 2
    send, count = httpx.Client.send, 0

    def interrupt(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        nonlocal count
        count += request.url.path.endswith("/rotate")
        if count == 2 and not loses_response:
            raise KeyboardInterrupt
        response = send(client, request, **options)
        if count == 2:
            raise KeyboardInterrupt  # after the console has made the change
        return response

    with monkeypatch.context() as patched:
        patched.setattr(httpx.Client, "send", interrupt)
        interrupted = seller.run(*command, "--yes")
    assert (interrupted.code, len(rotated(interrupted.out))) == (130, 1)
    code = re.findall(r"--repeat ([\w-]{43})", interrupted.err)[0]
    continued = seller.run(*command, "--yes", "--repeat", code)
    tokens = rotated(continued.out)
    assert (continued.code, {*tokens}) == (0, {"key 0", "key 1"})
    assert rotated(interrupted.out).items() < tokens.items()
    assert seller.run(*command, "--yes").err.endswith("0 keys\n")
    successors = {key["successor_id"] for key in keys(seller) if key["successor_id"]}
    assert successors == {key_id(token) for token in tokens.values()}
    assert len(keys(seller)) == 2 * len(before)


def test_rotation_without_the_code_continues(seller: Command) -> None:
    first, second = keys(seller)
    seller.run("keys", "rotate", first["id"])
    seller.run("keys", "disable", second["id"])
    command = ("keys", "rotate", "--customer", "acme", "--yes")
    assert seller.run(*command).err.endswith("0 keys\n")
    seller.run("keys", "enable", second["id"])
    assert seller.run(*command, "--json").code == 0
    assert [key["generation"] for key in keys(seller)].count(2) == 2


def test_name_is_accepted_where_an_id_is_asked_for(seller: Command) -> None:
    first, second = keys(seller)
    seller.run("keys", "update", first["id"], "--name", "nightly export")
    token = seller.run("keys", "create", "--name", "other").out.strip()
    done = seller.run("keys", "show", "Nightly EXPORT", "--json")
    assert (json.loads(done.out)["id"], done.err) == (
        first["id"],
        f"Key {first['id']} (nightly export)\n",
    )
    assert seller.run("keys", "disable", "nightly export").out.startswith("Disabled")
    assert shown(seller, "keys", "show", first["id"])["state"] == "disabled"
    assert shown(seller, "customers", "show", "acme ltd")["id"] == "acme"
    for command in (("usage",), ("requests",), ("keys", "limits")):
        done = seller.run(*command, "--key", "nightly EXPORT")
        assert (done.code, done.err.splitlines()[0]) == (0, f"key {first['id']}"), command
    assert seller.run("customers", "disable", "Acme Ltd").code == 0
    seller.run("keys", "update", second["id"], "--name", "nightly export")
    for words, message in (
        (("keys", "revoke", "nightly export"), "several keys have this name or tag; use an ID: "),
        (("keys", "show", "nightly expor"), f"or tag; similar: {first['id']} (nightly export), "),
        (("keys", "show", "no such key"), "no key has this ID, name or tag"),
        (("customers", "show", "no such customer"), "no customer has this ID, name or tag"),
        (("usage", "--key", "nightly export"), first["id"]),
        (("usage", "--key", "no such key"), "--key is not the ID, the name or the tag of a key"),
        (("usage", "--key", token), "--key contains a token"),
        (("keys", "show", token), "not a token"),
        (("keys", "purge", "nightly export", "--yes"), "ID must be a key ID"),
    ):
        refused = seller.run(*words)
        assert refused.code == 2, words
        assert message in refused.err
        assert token not in refused.err
    assert [key["state"] for key in keys(seller)].count("revoked") == 0
