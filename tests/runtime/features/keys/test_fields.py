"""The decisions of core/key_fields.py are in effect."""

import itertools
import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from gatehouse.core.decision import evaluate
from gatehouse.core.key_fields import INTERNAL, SETTING, Purge, decisions
from gatehouse.core.keys import (
    KEY_FIELDS,
    Key,
    KeyEnvironment,
    KeyId,
    KeyState,
    can_manage_keys,
    key_fields,
)
from gatehouse.core.lifecycle import Action, state_change, tombstone
from gatehouse.core.verification import Code, SignedRequest, VerificationRequest
from gatehouse.features.keys.conditions import CAN_MANAGE_KEYS, USABLE
from gatehouse.features.keys.fields import KeySettings
from gatehouse.features.keys.repository import WRITTEN
from gatehouse.features.keys.schemas import CreateKey, KeyView, check_fields
from gatehouse.platform.db.pool import Pool
from gatehouse.platform.web.examples import example
from gatehouse.platform.web.validation import strings

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console
from tests.runtime.rows import contact_row, plan_row
from tools.types import key_form

UPDATED = key_fields(set_by="update")
SETTABLE = (*UPDATED, *key_fields(set_by="create"))
#: A value of each field that can be set, other than its default.
EXAMPLES: dict[str, Any] = {name: example(KeyView)[name] for name in SETTABLE}
#: The fields whose values may stand in the audit trail, from which nothing can be erased. Personal
#: data is never recorded.
RECORDED = {
    *(
        "name",
        "customer_id",
        "plan",
        "environment",
        "scopes",
        "cores",
        "methods",
        "addresses",
        "limits",
        "credits",
        "expires_at",
        "public_key",
    ),
    "tags",
}
TEXTS = Path(__file__).resolve().parents[4] / "runtime/web/src/locales/en.ts"


#: A signed request, which every key permits that is active and has not expired.
REQUEST = VerificationRequest(signed=SignedRequest("GET", "https", "gateway.test", "/", "", ()))


def test_field_without_decisions_is_an_error() -> None:
    class Undecided(msgspec.Struct):
        name: Annotated[str, SETTING]
        colour: str

    with pytest.raises(TypeError, match=r"Undecided\.colour has no decisions"):
        decisions(Undecided)


def test_setting_whose_changes_are_not_audited_is_an_error() -> None:
    class Unaudited(msgspec.Struct):
        colour: Annotated[str, msgspec.structs.replace(INTERNAL, set_by="update")]

    with pytest.raises(TypeError, match=r"Unaudited\.colour can be set"):
        decisions(Unaudited)


def test_field_that_a_request_lacks_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"CreateKey lacks .*: colour"):
        check_fields(CreateKey, "name", "colour")


def test_every_setting_has_an_example_other_than_its_default() -> None:
    defaults = msgspec.to_builtins(KeySettings(name=""))
    # A key has a customer or a plan.
    assert [
        name for name, value in defaults.items() if KeySettings.example.get(name, value) == value
    ] == ["plan"]


@pytest.fixture(autouse=True)
def contact(database: Database) -> None:
    database.sql(contact_row() + ";" + plan_row("ON CONFLICT DO NOTHING", name="'starter'"))


@pytest.fixture(params=[{}, {"customer_id": None, "plan": "starter"}], ids=["customer", "plan"])
def examples(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A key has a customer or a plan."""
    return {**EXAMPLES, **request.param}


async def test_audit_trail_records_only_values_without_personal_data(
    console: Console, examples: dict[str, Any]
) -> None:
    key = (await console.create(**examples))["key"]
    changes = {name: examples[name] for name in UPDATED}
    reply = await console.patch(f"/v1/keys/{key['id']}", json=changes, headers={"If-Match": "*"})
    assert reply.status_code == 200, reply.text
    events = await console.get("/v1/audit-events", params={"target_id": key["id"]})
    update, creation = (event["details"] for event in events.json()["events"])
    assert set(creation) - {"pepper_generation"} == RECORDED
    recorded = RECORDED.intersection(UPDATED)
    assert set(update) - {"changed", "version"} == {
        name + suffix for name in recorded for suffix in ("", "_before")
    }
    assert update["changed"] == sorted(UPDATED)
    for name in set(SETTABLE) - RECORDED:
        texts = [text for _, text in strings(examples[name], name)]
        assert [text for text in texts if text in events.text] == [], name


async def test_purge_erases_every_field_that_is_not_kept(
    console: Console, examples: dict[str, Any]
) -> None:
    key_id = await console.create_id(**examples)
    await console.delete(f"/v1/keys/{key_id}")
    assert (
        await console.post(f"/v1/keys/{key_id}/purge", json={"confirm": key_id})
    ).status_code == 200
    row = json.loads(
        console.sql(f"SELECT to_json(k) FROM api_key k WHERE id = '{key_id}'")  # noqa: S608
    )
    kept = {name for name, field in KEY_FIELDS.items() if isinstance(field.purged, Purge)}
    left = {column for column, value in row.items() if value not in ("", None, False, 0, [], {})}
    assert left - kept == {"change_seq"}
    assert kept.intersection(SETTABLE) == {"environment"}


@pytest.mark.parametrize(
    "name", [name for search in ("part", "item", "start") for name in key_fields(search=search)]
)
async def test_search_compares_the_field_with_the_text(console: Console, name: str) -> None:
    key = (await console.create(**EXAMPLES))["key"]
    value, search = key[name], KEY_FIELDS[name].search
    text = value[0] if search == "item" else value[:11] if search == "start" else value[1:].upper()
    page = (await console.get("/v1/keys", params={"search": text, "limit": 100})).json()
    assert key["id"] in {found["id"] for found in page["keys"]}


def test_web_form_has_a_label_for_every_field() -> None:
    catalogue = TEXTS.read_text()
    names = re.findall(r"^  (\w+): \{", key_form.module(), re.MULTILINE)
    assert {"name", "notes"} <= set(names)
    assert [name for name in names if f"'field.{name}':" not in catalogue] == [], TEXTS.name


async def test_every_field_has_a_column(module_pool: Pool) -> None:
    rows = await module_pool.fetch(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'api_key'"
    )
    # Versions before customers, which may still be running, write `owner`.
    assert {row[0] for row in rows} == {*WRITTEN.columns, "version", "change_seq", "owner"}


async def test_conditions_in_sql_agree_with_the_rules(module_pool: Pool) -> None:
    now = time.time()
    keys = list(_keys(now))
    async with module_pool.transaction() as connection:
        for key in keys:
            await connection.execute(WRITTEN.insert("api_key"), *WRITTEN.values(key))
    rows = await module_pool.fetch(
        f"SELECT id, {USABLE} AS usable, {CAN_MANAGE_KEYS} AS manages FROM api_key"  # noqa: S608
    )
    answers = {row["id"]: (row["usable"], row["manages"]) for row in rows}
    for key in keys:
        code = evaluate(key, REQUEST, possession=True, environment=key.environment, now=now)
        assert answers[key.id] == (code is Code.VALID, can_manage_keys(key)), key
    assert {answers[key.id] for key in keys} == set(itertools.product((True, False), repeat=2))


def _keys(now: float) -> Any:
    """Keys with every combination of the properties on which the conditions depend."""
    combinations = itertools.product(
        KeyState,
        (None, now - 60, now + 60),
        ("", "a public key"),
        ((), ("admin",), ("role:owner", "a"), ("admin:x", "role:operator")),
    )
    for number, (state, expires_at, public_key, scopes) in enumerate(combinations):
        key = Key(
            id=KeyId(f"{number:012}"),
            family_id=KeyId(f"{number:012}"),
            digest=bytes(32),
            pepper_generation=1,
            environment=KeyEnvironment.TEST,
            state=KeyState.ACTIVE,
            name="n",
            scopes=scopes,
            cores=(),
            limits=(),
            expires_at=expires_at,
            version=1,
            public_key=public_key,
            created_at=now,
            created_by="test",
        )
        if state is KeyState.PURGED:
            yield tombstone(key, now)
        else:
            action = {KeyState.REVOKED: Action.REVOKE, KeyState.DELETED: Action.DELETE}.get(
                state, Action.DISABLE
            )
            yield (
                key
                if state is KeyState.ACTIVE
                else state_change(key, action, state, now, by="test", reason="").key
            )
