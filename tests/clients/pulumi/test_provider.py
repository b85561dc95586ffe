"""The provider without the Pulumi CLI: what the engine calls, in a process of its own, with a real
console.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from gatehouse_client import ConsoleClient, NotFound
from gatehouse_pulumi.server import encoded
from pulumi.runtime.proto import provider_pb2

from tests.clients.pulumi.engine import Engine, Failed, running
from tests.clients.pulumi.environment import TOKEN, Environment, without

LIMITS = [{"name": "requests", "quota": 60, "window_s": 60}]
WEBHOOK_URL = "https://8.8.8.8/hooks/part-of-the-url"
_NUMBERS = count(1)


@dataclass(frozen=True)
class Case:
    """A resource type. change: arguments of an update. name: the argument by which it is imported,
    if not by its ID.
    """

    kind: str
    inputs: dict[str, Any]
    change: dict[str, Any]
    path: str
    name: str = ""
    needs: tuple[str, ...] = field(default=())


CASES = (
    Case(
        "Plan",
        {"name": "plan-{n}", "limits": LIMITS, "credits": {"amount": 100, "every": "day"}},
        {"description": "for trials", "limits": [{**LIMITS[0], "quota": 70}], "ttl_s": 86_400},
        "/v1/plans/{id}",
        "name",
    ),
    Case(
        "Customer",
        {"customer_id": "customer-{n}", "tags": ["b", "a"]},
        {"name": "Acme", "tags": [], "credits": {"remaining": 5}},
        "/v1/customers/{id}",
        "customer_id",
    ),
    Case(
        "Limit",
        {"name": "limit-{n}", "quota": 5, "window_s": 60},
        {"quota": 6, "description": "sign-in"},
        "/v1/limits/{id}",
        "name",
    ),
    Case(
        "Key",
        {"name": "key {n}", "scopes": ["b:read", "a:read"], "limits": LIMITS, "ttl_s": 86_400},
        {"scopes": ["a:read"], "cores": ["docs"], "addresses": ["192.0.2.0/24"], "ttl_s": 90_000},
        "/v1/keys/{id}",
        "name",
    ),
    Case(
        "RoleKey",
        {"name": "role key {n}", "role": "auditor"},
        {"role": "issuer", "notes": "reports"},
        "/v1/keys/{id}",
        "name",
    ),
    Case("Core", {"name": "core-{n}"}, {"tags": ["eu"]}, "/v1/keys/{id}", "name"),
    Case(
        "Webhook",
        {"url": WEBHOOK_URL, "events": ["secret.opened"]},
        {"events": ["secret.opened", "secret.denied"]},
        "/v1/webhooks/{id}",
    ),
)
ALL = pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
WITH_TOKEN = pytest.mark.parametrize(
    "case", [case for case in CASES if case.path == "/v1/keys/{id}"], ids=lambda case: case.kind
)


def inputs_of(case: Case, folder: Path) -> dict[str, Any]:
    number = next(_NUMBERS)
    inputs = {
        name: value.format(n=number) if isinstance(value, str) else value
        for name, value in case.inputs.items()
    }
    if case.kind in ("Key", "RoleKey", "Core", "Webhook"):
        inputs["destination"] = {"file": str(folder / f"token-{number}")}
    return inputs


@pytest.fixture(autouse=True)
def no_token_is_shown(environment: Environment) -> Iterator[None]:
    yield
    assert environment.shown
    assert environment.tokens_shown() == []


@pytest.fixture
def engine(environment: Environment, tmp_path: Path) -> Iterator[Engine]:
    with running(environment.variables, tmp_path, environment.shown) as engine:
        yield engine


def token_in(inputs: dict[str, Any]) -> str:
    return Path(inputs["destination"]["file"]).read_text()


@ALL
def test_resource_is_created_changed_and_deleted(
    case: Case, engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    inputs = inputs_of(case, tmp_path)
    unknown = engine.preview(case.kind, "a", **inputs)
    created = engine.up(case.kind, "a", **inputs)
    assert unknown.keys() >= created.outputs.keys()
    assert not engine.diff(case.kind, "a", **inputs).diffs
    refreshed = engine.refresh(case.kind, "a")
    assert refreshed == created

    change = {**inputs, **case.change}
    assert set(engine.diff(case.kind, "a", **change).diffs) == set(case.change)
    changed = engine.up(case.kind, "a", **change)
    assert changed.id == created.id
    assert changed.outputs["version"] > created.outputs["version"]
    assert engine.refresh(case.kind, "a") == changed
    # An omitted argument has its default again.
    engine.up(case.kind, "a", **inputs)
    refreshed = engine.refresh(case.kind, "a")
    assert refreshed is not None
    rounded = dict.fromkeys(("version", "expires_at"), 0)
    assert refreshed.outputs | rounded == created.outputs | rounded

    engine.destroy(case.kind, "a")
    path = case.path.format(id=created.id)
    try:
        assert environment.console.get(dict, path)["state"] in ("revoked", "deleted")
    except NotFound:
        assert case.kind in ("Plan", "Limit", "Webhook")
    if "destination" in inputs:
        assert Path(inputs["destination"]["file"]).exists() == (case.kind == "Webhook")


@ALL
def test_destroyed_resource_is_created_again(case: Case, engine: Engine, tmp_path: Path) -> None:
    inputs = inputs_of(case, tmp_path)
    first = engine.up(case.kind, "again", **inputs)
    engine.destroy(case.kind, "again")
    second = engine.up(case.kind, "again", **inputs)
    assert (first.id == second.id) == (case.kind in ("Plan", "Customer", "Limit"))
    assert engine.refresh(case.kind, "again") == second
    engine.destroy(case.kind, "again")


@ALL
def test_change_by_hand_is_found(
    case: Case, engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    inputs = inputs_of(case, tmp_path)
    created = engine.up(case.kind, "drift", **inputs)
    field, value = {
        "Plan": ("description", "by hand"),
        "Limit": ("description", "by hand"),
        "Webhook": ("contact_only", True),
    }.get(case.kind, ("notes", "by hand"))
    version = created.outputs["version"]
    path = case.path.format(id=created.id)
    environment.console.call(dict, "PATCH", path, {field: value}, version=version)

    with pytest.raises(Failed, match=r"changed by bootstrap at .*pulumi refresh"):
        engine.up(case.kind, "drift", **{**inputs, **case.change})
    refreshed = engine.refresh(case.kind, "drift")
    assert refreshed is not None
    assert refreshed.inputs[field] == value
    assert list(engine.diff(case.kind, "drift", **inputs).diffs) == [field]
    engine.up(case.kind, "drift", **inputs)
    refreshed = engine.refresh(case.kind, "drift")
    assert refreshed is not None
    assert refreshed.inputs == inputs
    engine.destroy(case.kind, "drift")


@ALL
def test_resource_is_imported(case: Case, engine: Engine, tmp_path: Path) -> None:
    inputs = inputs_of(case, tmp_path)
    created = engine.up(case.kind, "first", **inputs)
    origin = "https://8.8.8.8"
    for number, id in enumerate((created.id, inputs.get(case.name, origin))):
        imported = engine.import_(case.kind, f"imported-{number}", id)
        assert imported is not None
        assert imported.id == created.id
        diff = engine.diff(case.kind, f"imported-{number}", **inputs)
        # The console has neither the destination nor the path of a URL.
        unknown = {"destination", "issued_at", "ttl_s", "expires_at", "environment"} | (
            {"url"} if case.kind == "Webhook" else set()
        )
        if case.kind in ("RoleKey", "Core"):
            unknown.add("limits")  # the default of the deployment
        assert set(diff.diffs) <= unknown
    assert engine.import_(case.kind, "none", "unknown-1") is None
    engine.destroy(case.kind, "first")


@WITH_TOKEN
def test_token_that_is_at_its_destination_is_kept_by_an_import(
    case: Case, engine: Engine, tmp_path: Path
) -> None:
    inputs = inputs_of(case, tmp_path)
    created = engine.up(case.kind, "first", **inputs)
    token = token_in(inputs)
    engine.import_(case.kind, "imported", created.id)
    inputs.pop("ttl_s", None)
    imported = engine.up(case.kind, "imported", environment="test", **inputs)
    assert token_in(inputs) == token
    assert imported.outputs["key_id"] == created.outputs["key_id"]
    # A destination without the token gets a new one.
    moved = {**inputs, "environment": "test", "destination": {"file": str(tmp_path / "moved")}}
    assert "issued_at" in engine.diff(case.kind, "imported", **moved).diffs
    changed = engine.up(case.kind, "imported", **moved)
    assert changed.outputs["key_id"] != created.outputs["key_id"]
    assert token_in(moved) != token
    assert not Path(inputs["destination"]["file"]).exists() or token_in(inputs) == token
    engine.destroy(case.kind, "imported")


@WITH_TOKEN
@pytest.mark.parametrize("action", ["revoke", "purge"])
def test_key_that_ended_is_found(
    action: str, case: Case, engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    inputs = inputs_of(case, tmp_path)
    id = engine.up(case.kind, "ended", **inputs).id
    environment.console.revoke_key(id)
    if action == "purge":
        environment.console.call(dict, "POST", f"/v1/keys/{id}/purge", {"confirm": id})
    with pytest.raises(Failed, match="pulumi refresh"):
        engine.up(case.kind, "ended", **{**inputs, **case.change})
    assert engine.refresh(case.kind, "ended") is None
    assert engine.up(case.kind, "ended", **inputs).id != id
    engine.destroy(case.kind, "ended")


def due(engine: Engine, kind: str, name: str) -> None:
    """The token of a resource is two days old."""
    outputs = engine.state[engine.urn(kind, name)].outputs
    outputs["issued_at"] = "2026-01-01T00:00:00Z"


def secret(environment: Environment) -> tuple[str, dict[str, Any]]:
    name = f"secret-{next(_NUMBERS)}"
    environment.create_secret(name)
    return name, {"destination": {"secret": name}}


def test_key_is_rotated_when_it_is_due(engine: Engine, environment: Environment) -> None:
    name, inputs = secret(environment)
    inputs |= {"name": "rotated", "rotate_after_s": 86_400, "grace_s": 3600}
    first = engine.up("Key", "rotated", **inputs)
    token, version = environment.secret_value(name), first.outputs["destination_version"]
    assert not engine.diff("Key", "rotated", **inputs).diffs
    due(engine, "Key", "rotated")
    assert list(engine.diff("Key", "rotated", **inputs).diffs) == ["issued_at"]
    second = engine.up("Key", "rotated", **inputs)
    assert environment.secret_value(name) not in (token, "")
    assert second.outputs["destination_version"] != version
    assert second.id == first.id
    previous = environment.console.key(first.outputs["key_id"])
    assert previous.successor_id == second.outputs["key_id"]
    assert previous.state == "active"  # until the grace period ends
    assert engine.refresh("Key", "rotated") == second
    engine.destroy("Key", "rotated")
    assert environment.usable("rotated") == []


def test_webhook_is_rotated_when_it_is_due(engine: Engine, environment: Environment) -> None:
    name, inputs = secret(environment)
    inputs |= {"url": WEBHOOK_URL, "rotate_after_s": 86_400}
    engine.up("Webhook", "rotated", **inputs)
    first = environment.secret_value(name)
    due(engine, "Webhook", "rotated")
    changed = engine.up("Webhook", "rotated", **{**inputs, "events": ["key.revoked"]})
    assert environment.secret_value(name) != first
    assert not engine.diff("Webhook", "rotated", **{**inputs, "events": ["key.revoked"]}).diffs
    assert engine.refresh("Webhook", "rotated") == changed
    engine.destroy("Webhook", "rotated")


def test_replaced_key_works_until_the_grace_period_ends(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    inputs = {"name": "replaced", "destination": {"file": str(tmp_path / "t")}, "grace_s": 60}
    first = engine.up("Key", "replaced", environment="test", **inputs)
    second = engine.up("Key", "replaced", environment="live", **inputs)
    assert second.id != first.id
    previous = environment.console.key(first.id)
    assert previous.state == "active"
    assert previous.expires_at is not None
    assert token_in(inputs).startswith("gtk_live_")
    engine.destroy("Key", "replaced")


def test_parameter_has_the_token(engine: Engine, environment: Environment) -> None:
    inputs = {"name": "parameter", "destination": {"parameter": "/orders/token"}}
    created = engine.up("Key", "parameter", **inputs)
    ssm = environment.aws("ssm")
    found = ssm.get_parameter(Name="/orders/token", WithDecryption=True)["Parameter"]
    assert TOKEN.fullmatch(found["Value"])
    assert (found["Type"], created.outputs["destination_version"]) == ("SecureString", "1")
    engine.destroy("Key", "parameter")
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name="/orders/token")


def test_token_file_can_be_read_by_its_owner_only(engine: Engine, tmp_path: Path) -> None:
    engine.up("Key", "mode", name="mode", destination={"file": str(tmp_path / "t")})
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
    engine.destroy("Key", "mode")


def test_credits_that_requests_consumed_are_not_reset(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    inputs = {"name": "credits", "destination": {"file": str(tmp_path / "t")}}
    month, day = ({"amount": 100, "every": every} for every in ("month", "day"))
    created = engine.up("Key", "credits", credits={"remaining": 100, "refill": month}, **inputs)
    changes = {"credits": {"add": -40}}
    environment.console.call(
        dict, "PATCH", f"/v1/keys/{created.id}", changes, version=created.outputs["version"]
    )
    refreshed = engine.refresh("Key", "credits")
    assert refreshed is not None
    assert refreshed.inputs == created.inputs
    engine.up("Key", "credits", credits={"remaining": 100, "refill": day}, **inputs)
    credits = environment.console.key(created.id).credits
    assert credits is not None
    assert (credits.remaining, credits.refill and credits.refill.every) == (60, "day")
    engine.destroy("Key", "credits")


# Bad input


def test_wrong_arguments_are_named(engine: Engine) -> None:
    target = {"file": "token"}
    for inputs, message in (
        ({}, "name is missing; destination is missing"),
        ({"name": "a", "destination": target, "scope": "a"}, "scope is not an argument of Key"),
        ({"name": "a", "destination": {"file": "a", "secret": "b"}}, "destination needs exactly"),
        ({"name": "a", "destination": {"path": "a"}}, "destination.path is unknown"),
        ({"name": 5, "destination": target}, "name must be a string"),
        (
            {"name": "a", "destination": target, "limits": [{"name": "a", "quota": "5"}]},
            r"limits\[0\].window_s is missing; limits\[0\].quota must be an integer",
        ),
    ):
        with pytest.raises(Failed, match=message):
            engine.up("Key", "wrong", **inputs)


def test_rejected_field_is_named_and_nothing_is_created(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    target = {"destination": {"file": str(tmp_path / "token")}}
    limits = [{"name": "requests", "quota": 0, "window_s": 60}]
    with pytest.raises(Failed, match=r"limits\[0\].quota"):
        engine.up("Key", "refused", name="refused", limits=limits, **target)
    with pytest.raises(Failed, match="role must be one of owner, operator"):
        engine.up("RoleKey", "refused", name="refused", role="manager", **target)
    assert (environment.keys("refused"), list(tmp_path.iterdir())) == ([], [])


def test_taken_name_is_named(engine: Engine, environment: Environment) -> None:
    environment.console.create_plan(name="taken")
    with pytest.raises(Failed, match="pulumi import gatehouse:index:Plan mine taken"):
        engine.up("Plan", "mine", name="taken")


def test_destination_that_cannot_be_written_leaves_no_key(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    for target, message in (
        ({"secret": "unknown-secret"}, "destination.secret: DescribeSecret of unknown-secret"),
        ({"file": str(tmp_path / "none" / "token")}, "destination.file: the folder"),
        ({"file": str(tmp_path)}, "destination.file"),
    ):
        with pytest.raises(Failed, match=message):
            engine.up("Key", "lost", name="lost", destination=target)
    assert environment.keys("lost") == []


def test_key_is_revoked_if_its_token_cannot_be_written(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    name, inputs = secret(environment)
    message = f"destination.secret: PutSecretValue of {name} failed .*Allow secretsmanager:Put"
    with (
        environment.reader("secretsmanager:DescribeSecret") as reader,
        running(reader, tmp_path, environment.shown) as denied,
    ):
        with pytest.raises(Failed, match=message):
            denied.up("Key", "lost", name="denied", **inputs)
        assert denied.state == {}
    assert [key["state"] for key in environment.keys("denied")] == ["revoked"]
    engine.up("Key", "lost", name="denied", **inputs)
    assert len(environment.usable("denied")) == 1
    engine.destroy("Key", "lost")


@pytest.mark.parametrize("kind", ["Key", "Webhook"])
def test_rotation_continues_when_the_destination_can_be_written(
    kind: str, engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    name, inputs = secret(environment)
    inputs |= {"rotate_after_s": 86_400}
    inputs |= {"name": "continued"} if kind == "Key" else {"url": WEBHOOK_URL}
    first = engine.up(kind, "continued", **inputs)
    token = environment.secret_value(name)
    due(engine, kind, "continued")
    with (
        environment.reader("secretsmanager:DescribeSecret") as reader,
        running(reader, tmp_path, environment.shown) as denied,
    ):
        denied.state = engine.state
        with pytest.raises(Failed, match="PutSecretValue"):
            denied.up(kind, "continued", **inputs)
    assert engine.diff(kind, "continued", **inputs).diffs
    second = engine.up(kind, "continued", **inputs)
    assert (second.id, second.outputs["pending"]) == (first.id, "")
    assert environment.secret_value(name) != token
    if kind == "Key":
        rotated = environment.console.key(second.outputs["key_id"])
        assert rotated.generation == 2
        assert environment.secret_value(name).startswith(rotated.start)
    assert not engine.diff(kind, "continued", **inputs).diffs
    engine.destroy(kind, "continued")


def test_another_environment_is_refused(engine: Engine, tmp_path: Path) -> None:
    inputs = {"name": "elsewhere", "destination": {"file": str(tmp_path / "t")}}
    row = engine.up("Key", "elsewhere", **inputs)
    row.outputs["deployment"] = "prod"
    acts: tuple[Callable[[], object], ...] = (
        lambda: engine.up("Key", "elsewhere", **{**inputs, "notes": "a"}),
        lambda: engine.refresh("Key", "elsewhere"),
        lambda: engine.destroy("Key", "elsewhere"),
    )
    for act in acts:
        with pytest.raises(Failed, match="environment prod"):
            act()
    row.outputs["deployment"] = "dev"
    engine.destroy("Key", "elsewhere")


def test_wrong_credentials_are_explained(environment: Environment, tmp_path: Path) -> None:
    auditor = environment.console.create_key(name="auditor", scopes=["role:auditor"]).token
    variables = environment.variables
    for changed, message in (
        ({**variables, "GATEHOUSE_ADMIN_TOKEN": auditor or ""}, "requires one of the following"),
        ({**variables, "GATEHOUSE_ADMIN_TOKEN": "gtk_admin_x"}, "Check GATEHOUSE_ADMIN_TOKEN"),
        (without(variables, "GATEHOUSE_ADMIN_TOKEN"), "GATEHOUSE_ADMIN_TOKEN is not set"),
        ({**variables, "GATEHOUSE_CONSOLE_URL": "nowhere"}, "GATEHOUSE_CONSOLE_URL"),
        ({**variables, "GATEHOUSE_CONSOLE_URL": "http://127.0.0.1:9"}, "cannot reach the console"),
    ):
        with (
            running(changed, tmp_path, environment.shown) as engine,
            pytest.raises(Failed, match=message),
        ):
            engine.up("Plan", "refused", name="refused")
    with pytest.raises(NotFound):
        environment.console.plan("refused")


def test_plan_that_keys_followed_is_deleted(engine: Engine, tmp_path: Path) -> None:
    engine.up("Plan", "followed", name="followed")
    engine.up("Customer", "follower", customer_id="follower", plan="followed")
    target = {"file": str(tmp_path / "t")}
    engine.up("Key", "follower", name="a", plan="followed", destination=target)
    for kind, name in (("Key", "follower"), ("Customer", "follower"), ("Plan", "followed")):
        engine.destroy(kind, name)


def test_lifetime_of_the_plan_of_a_key_is_not_written_back(
    engine: Engine, environment: Environment, tmp_path: Path
) -> None:
    engine.up("Plan", "lasting", name="lasting", ttl_s=90 * 86_400)
    inputs = {"name": "a", "plan": "lasting", "destination": {"file": str(tmp_path / "t")}}
    created = engine.up("Key", "lasting", **inputs)
    engine.up("Plan", "lasting", name="lasting", ttl_s=30 * 86_400)
    refreshed = engine.refresh("Key", "lasting")
    assert refreshed is not None
    assert refreshed.inputs == created.inputs
    assert not engine.diff("Key", "lasting", **inputs).diffs
    engine.up("Key", "lasting", **inputs, notes="a note")
    key = environment.console.key(created.id)
    assert key.expires_at is not None
    assert key.inherits == ["expires_at", "limits", "scopes"]
    assert round((key.expires_at - key.created_at).total_seconds()) == 30 * 86_400
    assert datetime.fromisoformat(refreshed.outputs["expires_at"]) == key.expires_at
    for kind in ("Key", "Plan"):
        engine.destroy(kind, "lasting")


def test_configuration_does_not_become_state(engine: Engine) -> None:
    request = provider_pb2.CheckRequest(news=encoded({"token": "secret", "url": "a"}))
    assert not engine.stub.CheckConfig(request).inputs.fields


def test_client_replays_nothing_without_a_request(environment: Environment) -> None:
    console: ConsoleClient = environment.console
    assert console.replay(dict, "/v1/keys", "never-sent") is None
    created = console.call(dict, "POST", "/v1/keys", {"name": "once"}, idempotency_key="once-1")
    assert console.replay(dict, "/v1/keys", "once-1") == created
