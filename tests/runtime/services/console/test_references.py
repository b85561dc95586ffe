"""Every parameter that means a key, a customer, a Core, a plan or an actor takes its name."""

import json
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import quote

import pytest
from gatehouse.platform.web.fields import Kind
from gatehouse.services.console.pipeline import RESOLVED
from gatehouse.services.console.routes import document

from tests.runtime.conftest import Database
from tests.runtime.console_client import Console, open_console, rejected_part
from tests.runtime.core_records import register
from tests.runtime.features.secrets.conftest import aws, module_services, sharing
from tests.runtime.features.secrets.services import Sharing
from tests.runtime.rows import request_row, usage_row

__all__ = ["aws", "module_services", "sharing"]

NAME, CUSTOMER_NAME, TAG, CUSTOMER_TAG = "Nightly Export, EU", "Größe & Söhne Ltd", "t-17", "gold"
MAKER = "Portal backend"
#: Parameters that name no key, customer, Core, plan or actor. Every other one is a reference.
OTHERS = {
    *(
        "action",
        "address",
        "by",
        "check",
        "code",
        "compare",
        "cursor",
        "destination",
        "environment",
    ),
    *("everybody", "expires_within_s", "feature", "has_role", "instance", "level", "limit"),
    *("limit_name", "link", "method", "notification", "order", "outcome", "path_prefix", "percent"),
    *("request_id", "search", "secret", "session", "since", "sort", "state", "status", "tag"),
    *("total", "totals", "unused_for_s", "until", "webhook", "width"),
}


def parameters() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and parameter of the OpenAPI document."""
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            for each in operation["parameters"]:
                if each["in"] in ("query", "path"):
                    yield method.upper(), path, each


REFERENCES = [each for each in parameters() if "x-reference" in each[2]["schema"]]
QUERIES = [(path, each) for _, path, each in REFERENCES if each["in"] == "query"]
PATHS = [(method, path, each) for method, path, each in REFERENCES if each["in"] == "path"]


def test_every_parameter_is_a_reference_or_names_no_object() -> None:
    assert {
        f"{method} {path}: {each['name']}"
        for method, path, each in parameters()
        if ("x-reference" in each["schema"]) is (each["name"] in OTHERS)
    } == set()
    assert {each["schema"]["x-reference"] for _, _, each in REFERENCES} == {*get_args(Kind)}


class Objects:
    """A customer of a plan with a key, which has usage, a request, an event and a secret."""

    def __init__(self, key_id: str, maker_id: str) -> None:
        self.key_id, self.maker_id = key_id, maker_id

    def references(self, kind: str) -> tuple[list[str], str]:
        """Texts that mean an object, and the value that they stand for."""
        key = [NAME, NAME.upper(), TAG]
        return {
            "key": (key, self.key_id),
            "keys": (key, self.key_id),
            "family": (key, self.key_id),
            "actor": (key, self.key_id),
            "target": ([NAME, CUSTOMER_NAME.lower()], ""),
            "owner": ([MAKER, self.maker_id], f"key:{self.maker_id}"),
            "customer": ([CUSTOMER_NAME, CUSTOMER_NAME.lower(), CUSTOMER_TAG], "acme"),
            "plan": (["Starter"], "starter"),
            "core": (["docs"], "docs"),
        }[kind]


async def objects(console: Console) -> Objects:
    console.sql("DELETE FROM core; DELETE FROM api_key; DELETE FROM customer; DELETE FROM plan")
    customer = {"id": "acme", "name": CUSTOMER_NAME, "plan": "starter", "tags": [CUSTOMER_TAG]}
    for path, body in (("/v1/plans", {"name": "starter"}), ("/v1/customers", customer)):
        reply = await console.post(path, json=body)
        assert reply.status_code == 201, reply.text
    key_id = await console.create_id(name=NAME, tags=[TAG], customer_id="acme")
    maker = await console.create(name=MAKER, scopes=["secrets:create"])
    await register(console, "docs")
    console.sql(usage_row(key_id, 3, width_s=3600))
    console.sql(request_row(key_id=f"'{key_id}'"))
    await console.post("/v1/secrets", json={"text": "a"}, headers=console.as_(maker["token"]))
    return Objects(key_id, maker["key"]["id"])


async def test_query_takes_a_name_and_says_what_it_means(
    database: Database, sharing: Sharing, tmp_path: Any
) -> None:
    async with open_console(
        database, **sharing.console("https://share.test"), logs=f"file:{tmp_path}"
    ) as console:
        found = await objects(console)
        line = {"event": "request", "key_id": found.key_id, "ts": "2030-01-01T00:00:00.000Z"}
        (tmp_path / "gateway.log").write_text(json.dumps({"level": "info", **line}) + "\n")
        assert len(QUERIES) > 15
        for path, each in QUERIES:
            texts, value = found.references(each["schema"]["x-reference"])
            for text in texts:
                id = value or (found.key_id if text == NAME else "acme")
                case = f"{path}?{each['name']}={text}"
                replies = [
                    await console.get(path, params={each["name"]: sent}) for sent in (text, id)
                ]
                assert [reply.status_code for reply in replies] == [200, 200], case
                assert replies[0].content == replies[1].content, case
                said = f"{each['name']}={id}" if text != id else None
                assert replies[0].headers.get(RESOLVED) == said, case
                assert RESOLVED not in replies[1].headers, case
        requests = (await console.get("/v1/requests", params={"key": NAME})).json()["requests"]
        assert len(requests) == 1
        owned = (await console.get("/v1/secrets", params={"owner": MAKER})).json()["secrets"]
        assert [secret["owner"] for secret in owned] == [f"key:{found.maker_id}"]


@pytest.mark.parametrize(
    ("method", "path", "name"), [(method, path, each["name"]) for method, path, each in PATHS]
)
async def test_path_takes_a_name(console: Console, method: str, path: str, name: str) -> None:
    found = await objects(console)
    kind = next(each["schema"]["x-reference"] for _, _, each in PATHS if each["name"] == name)
    [text, *_], value = found.references(kind)
    id = {"customer": "acme", "key": found.key_id}.get(kind, value)
    if path.endswith(("/restore", "/purge")):
        await console.request("DELETE", path.rpartition("/")[0].replace(f"{{{name}}}", id))
    if (method, kind) == ("DELETE", "plan"):
        await console.patch("/v1/customers/acme", json={"plan": None}, headers={"If-Match": "*"})
    body = {"PATCH": {"description" if kind == "plan" else "notes": "n"}, "POST": {}}.get(method)
    reply = await console.request(
        method,
        path.replace(f"{{{name}}}", quote(text, "")),
        json={"confirm": id} if path.endswith("/purge") else body,
        headers={"If-Match": "*"} if method == "PATCH" else {},
    )
    assert reply.is_success, reply.text
    assert reply.headers.get(RESOLVED) == (f"{name}={id}" if text != id else None)


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        (path, each["name"], each["schema"]["x-reference"])
        for path, each in QUERIES
        if each["schema"]["x-reference"] in ("key", "keys", "family", "customer", "plan")
        and path != "/v1/log-lines"
    ],
)
async def test_unknown_and_ambiguous_filters_are_errors(
    console: Console, path: str, name: str, kind: str
) -> None:
    found = await objects(console)
    reply = await console.get(path, params={name: "no such object"})
    assert rejected_part(reply) == (400, f"query.{name}")
    assert "no such object" not in reply.text
    if kind == "plan":
        return
    if kind == "customer":
        text, first, second = CUSTOMER_NAME, "acme", "acme-2"
        await console.post("/v1/customers", json={"id": second, "name": text})
    else:
        text, first, second = NAME, found.key_id, await console.create_id(name=NAME)
    reply = await console.get(path, params={name: text})
    assert rejected_part(reply) == (400, f"query.{name}")
    assert {first, second} <= {*reply.text.replace("(", " ").split()}


async def test_key_takes_the_name_of_its_customer(console: Console) -> None:
    """The customer is the one object with an ID of its own that a body names."""
    found = await objects(console)
    path = f"/v1/keys/{found.key_id}"
    await console.post("/v1/customers", json={"id": "other", "name": "Other"})
    for text in (CUSTOMER_NAME.lower(), CUSTOMER_TAG, "acme"):
        said = None if text == "acme" else "customer_id=acme"
        created = await console.post("/v1/keys", json={"name": "a", "customer_id": text})
        assert created.status_code == 201, created.text
        assert created.json()["key"]["customer_id"] == "acme"
        assert created.headers.get(RESOLVED) == said
        for body, customer in (
            ({"customer_id": "Other"}, "other"),
            ({"customer_id": text}, "acme"),
        ):
            changed = await console.patch(path, json=body, headers={"If-Match": "*"})
            assert changed.json()["key"]["customer_id"] == customer, changed.text
    await console.post("/v1/customers", json={"id": "acme-2", "name": CUSTOMER_NAME})
    for text in (CUSTOMER_NAME, "no such customer"):
        for reply in (
            await console.post("/v1/keys", json={"name": "a", "customer_id": text}),
            await console.patch(path, json={"customer_id": text}, headers={"If-Match": "*"}),
        ):
            assert rejected_part(reply) == (400, "body.customer_id")
            assert ("acme-2" in reply.text) is (text == CUSTOMER_NAME)
    # A customer that is created with its key is not one that has this name.
    new = {"name": "a", "customer_id": "Other", "create_customer": True}
    assert (await console.post("/v1/keys", json=new)).json()["key"]["customer_id"] == "Other"


async def test_one_object_has_precedence(console: Console) -> None:
    found = await objects(console)

    async def meaning(path: str, **query: str) -> str | None:
        reply = await console.get(path, params=query)
        assert reply.status_code == 200, reply.text
        return str(reply.headers.get(RESOLVED, "")).partition("=")[2] or None

    # An ID before a name, a name before a tag, an active key before a revoked one.
    other = await console.create_id(name=found.key_id, tags=["nightly", "both", "acme"])
    assert await meaning("/v1/requests", key=found.key_id) is None
    assert await meaning("/v1/requests", key="nightly") == other
    named = await console.create_id(name="Nightly")
    assert await meaning("/v1/requests", key="nightly") == named
    await console.post("/v1/customers", json={"id": "other", "name": "acme"})
    assert await meaning("/v1/keys", customer="acme") is None
    second = await console.create_id(name="both")
    assert await meaning("/v1/requests", key="both") == second
    third = await console.create_id(name="BOTH")
    await console.post(f"/v1/keys/{second}/revoke")
    assert await meaning("/v1/requests", key="both") == third
    await console.post(f"/v1/keys/{third}/revoke")
    assert rejected_part(await console.get("/v1/requests?key=both"))[0] == 400
    # The newest key of a family.
    rotated = await console.post(f"/v1/keys/{found.key_id}/rotate", json={"grace_s": 600})
    newest = rotated.json()["key"]["id"]
    assert await meaning("/v1/requests", key=NAME) == newest
    assert await meaning("/v1/keys", family_id=NAME) == found.key_id
    # Several keys, by names and IDs; a name can contain a comma.
    assert await meaning("/v1/usage", key=f"{other},{third}") is None
    assert await meaning("/v1/usage", key=f"{other}, {TAG}") == f"{other},{newest}"
    assert await meaning("/v1/usage", key=NAME) == newest
    for customer in (CUSTOMER_NAME, "acme", CUSTOMER_TAG):
        usage = (await console.get("/v1/usage", params={"customer": customer})).json()
        assert usage["total"] == 3
    # What the trail contains, and what the console does not know.
    for text in ("bootstrap", "ada@example.com", "not-registered"):
        for path, name in (("/v1/audit-events", "actor_id"), ("/v1/requests", "core")):
            assert await meaning(path, **{name: text}) is None


async def test_token_is_part_of_no_address(console: Console) -> None:
    token = (await console.create(name="a"))["token"]
    for path, each in QUERIES:
        if each["schema"].get("maxLength", 100) >= len(token):
            reply = await console.get(path, params={each["name"]: token})
            assert rejected_part(reply) == (400, f"query.{each['name']}"), path
            assert token not in reply.text
    for method, path, each in PATHS:
        reply = await console.request(method, path.replace(f"{{{each['name']}}}", token), json={})
        assert rejected_part(reply) == (400, f"path.{each['name']}"), path
        assert token not in reply.text
    assert token not in console.log.getvalue().decode()


async def test_names_mean_only_what_the_caller_can_read(console: Console) -> None:
    await console.create_id(name="shared name", customer_id="foreign")
    portal = await console.create(name="portal", scopes=["role:service"])
    headers = console.as_(portal["token"])
    await console.post("/v1/customers", json={"id": "own"}, headers=headers)
    created = await console.post(
        "/v1/keys", json={"name": "shared name", "customer_id": "own"}, headers=headers
    )
    own = created.json()["key"]["id"]
    for path in ("/v1/usage?key=shared name", "/v1/keys/shared name"):
        reply = await console.get(path, headers=headers)
        assert (reply.status_code, reply.headers[RESOLVED].partition("=")[2]) == (200, own)
        assert rejected_part(await console.get(path))[0] == 400
    for name in ("foreign", "nobody"):
        reply = await console.get(f"/v1/keys?customer={name}", headers=headers)
        assert rejected_part(reply) == (400, "query.customer")
        assert "foreign" not in reply.text
    # A role that cannot read keys learns nothing about their names.
    reader = console.as_((await console.create(scopes=["secrets:read"]))["token"])
    replies = [
        await console.get("/v1/secrets", params={"owner": text}, headers=reader)
        for text in ("shared name", "no such name")
    ]
    assert len({reply.status_code for reply in replies}) == 1
