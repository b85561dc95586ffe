"""A provider that is killed between the console, the destination and the state of the engine."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.pulumi.engine import Engine, Failed, running
from tests.clients.pulumi.environment import Environment
from tests.clients.pulumi.interruptions import Proxy, proxy
from tests.clients.pulumi.test_provider import WEBHOOK_URL, due
from tests.runtime.conftest import Database

#: Requests after which the provider is killed. Nothing: after its last request, so that only the
#: engine does not know the result.
CREATE = "POST /v1/keys "
STEPS = pytest.mark.parametrize("step", ["first request", "PutSecretValue", "the end"])


@dataclass
class Interrupted:
    """Providers whose requests go through proxies."""

    environment: Environment
    console: Proxy
    aws: Proxy
    folder: Path

    def run(self, step: Callable[[str], bool], act: Callable[[Engine], Any]) -> None:
        """Kills the provider after the request for which `step` is true."""
        variables = {
            **self.environment.variables,
            "GATEHOUSE_CONSOLE_URL": self.console.url,
            "AWS_ENDPOINT_URL": self.aws.url,
        }
        with running(variables, self.folder, self.environment.shown) as engine:
            killed: list[str] = []

            def on_handled(method: str, path: str, call: str) -> bool:
                request = f"{method} {path} {call}"
                if not killed and call != "replay" and step(request):
                    killed.append(request)
                    engine.process.kill()
                return bool(killed)

            self.console.on_handled = self.aws.on_handled = on_handled
            with pytest.raises(Failed):
                act(engine)
            assert len(killed) == 1

    def resume(self, act: Callable[[Engine], Any]) -> Any:
        variables = self.environment.variables
        with running(variables, self.folder, self.environment.shown) as engine:
            return act(engine)


@pytest.fixture
def interrupted(environment: Environment, tmp_path: Path) -> Iterator[Interrupted]:
    with proxy(environment.url) as console, proxy(environment.emulator.endpoint) as aws:
        yield Interrupted(environment, console, aws, tmp_path)
    assert environment.tokens_shown() == []


def after(step: str, first: str) -> Callable[[str], bool]:
    return lambda request: (first if step == "first request" else step) in request


@STEPS
@pytest.mark.parametrize("changed", [False, True])
def test_interrupted_creation_leaves_one_key(
    step: str, changed: bool, interrupted: Interrupted
) -> None:
    name = f"created-{step.replace(' ', '-')}-{changed}"
    environment = interrupted.environment
    environment.create_secret(name)
    inputs: dict[str, Any] = {"name": name, "destination": {"secret": name}}

    def create(engine: Engine) -> Any:
        return engine.up("Key", name, **inputs)

    if step == "the end":
        interrupted.resume(create)
    else:
        interrupted.run(after(step, CREATE), create)
    assert len(environment.usable(name)) == 1
    if changed:
        inputs["scopes"] = ["orders:read"]
    row = interrupted.resume(create)
    assert environment.usable(name) == [row.outputs["key_id"]]
    key = environment.console.key(row.outputs["key_id"])
    assert environment.secret_value(name).startswith(key.start)
    assert key.scopes == inputs.get("scopes", ["cores:read"])


@STEPS
def test_interrupted_rotation_leaves_one_new_key(step: str, interrupted: Interrupted) -> None:
    name = f"rotated-{step.replace(' ', '-')}"
    environment = interrupted.environment
    environment.create_secret(name)
    inputs = {"name": name, "destination": {"secret": name}, "rotate_after_s": 86_400}
    row = interrupted.resume(lambda engine: engine.up("Key", name, **inputs))
    saved = dict(row.outputs)

    def rotate(engine: Engine) -> Any:
        row.outputs = dict(saved)
        engine.state[engine.urn("Key", name)] = row
        due(engine, "Key", name)
        return engine.up("Key", name, **inputs)

    if step == "the end":
        interrupted.resume(rotate)
    else:
        interrupted.run(after(step, "/rotate"), rotate)
    rotated = interrupted.resume(rotate)
    family = [key for key in environment.keys(name) if key["family_id"] == row.id]
    assert [key["generation"] for key in family] == [1, 2]
    assert family[-1]["id"] == rotated.outputs["key_id"]
    assert environment.secret_value(name).startswith(family[-1]["start"])


@STEPS
def test_interrupted_creation_leaves_one_webhook(step: str, interrupted: Interrupted) -> None:
    environment = interrupted.environment
    name = f"webhook-{step.replace(' ', '-')}"
    environment.create_secret(name)
    inputs = {"url": WEBHOOK_URL, "destination": {"secret": name}}

    def create(engine: Engine) -> Any:
        return engine.up("Webhook", name, **inputs)

    before = environment.console.get(dict, "/v1/webhooks")["webhooks"]
    if step == "the end":
        interrupted.resume(create)
    else:
        interrupted.run(after(step, "POST /v1/webhooks "), create)
    interrupted.resume(create)
    assert len(environment.console.get(dict, "/v1/webhooks")["webhooks"]) == len(before) + 1
    assert environment.secret_value(name).startswith("whsec_")


@pytest.mark.parametrize(
    ("kind", "inputs", "change"),
    [
        ("Plan", {"name": "interrupted"}, {"description": "a"}),
        ("Customer", {"customer_id": "interrupted"}, {"notes": "a"}),
        ("Limit", {"name": "interrupted", "quota": 1, "window_s": 1}, {"quota": 2}),
    ],
)
def test_interrupted_creation_of_a_name_continues(
    kind: str, inputs: dict[str, Any], change: dict[str, Any], interrupted: Interrupted
) -> None:
    interrupted.run(
        lambda request: request.startswith("POST"), lambda engine: engine.up(kind, "a", **inputs)
    )

    def resume(engine: Engine) -> Any:
        row = engine.up(kind, "a", **{**inputs, **change})
        assert engine.refresh(kind, "a") == row
        return row

    row = interrupted.resume(resume)
    assert row.outputs | change == row.outputs


@pytest.mark.parametrize("step", ["first request", "PutSecretValue"])
def test_interrupted_replacement_keeps_the_key_that_works(
    step: str, interrupted: Interrupted
) -> None:
    name, environment = f"replaced-{step.replace(' ', '-')}", interrupted.environment
    environment.create_secret(name)
    inputs = {"name": name, "destination": {"secret": name}}
    row = interrupted.resume(lambda engine: engine.up("Key", name, environment="test", **inputs))

    def replace(engine: Engine) -> Any:
        engine.state[engine.urn("Key", name)] = row
        return engine.up("Key", name, environment="live", **inputs)

    interrupted.run(after(step, CREATE), replace)
    assert row.id in environment.usable(name)
    replaced = interrupted.resume(replace)
    assert sorted(environment.usable(name)) == sorted([row.id, replaced.id])
    assert environment.secret_value(name).startswith("gtk_live_")


def test_another_stack_with_the_same_urn_gets_no_token(interrupted: Interrupted) -> None:
    inputs = {"name": "two stacks", "destination": {"file": str(interrupted.folder / "t")}}
    environment, keys = interrupted.environment, set()
    for stack in ("one", "two"):
        with running(environment.variables, interrupted.folder, environment.shown, stack) as engine:
            keys.add(engine.up("Key", "two-stacks", **inputs).id)
            if stack == "two":
                with pytest.raises(Failed, match="exists already"):
                    engine.up("Plan", "two-stacks", name="two-stacks")
            else:
                engine.up("Plan", "two-stacks", name="two-stacks")
    assert len(keys) == 2


def test_forced_replacement_does_not_end_the_key_that_it_finds(interrupted: Interrupted) -> None:
    inputs = {"name": "forced", "destination": {"file": str(interrupted.folder / "t")}}
    interrupted.resume(lambda engine: engine.up("Key", "forced", **inputs))

    def replace(engine: Engine) -> Any:
        engine.up("Key", "forced", **inputs)
        return engine.replace("Key", "forced", **inputs)

    row = interrupted.resume(replace)
    assert row.outputs["key_id"] in interrupted.environment.usable("forced")


@pytest.mark.parametrize("kind", ["Key", "Webhook"])
def test_lost_response_of_the_console_leaves_one_object(
    kind: str, interrupted: Interrupted, database: Database
) -> None:
    """The console committed a creation and failed before it stored the response."""
    inputs: dict[str, Any] = {"destination": {"file": str(interrupted.folder / f"t-{kind}")}}
    inputs |= {"name": "lost response"} if kind == "Key" else {"url": WEBHOOK_URL}

    def create(engine: Engine) -> Any:
        return engine.up(kind, f"lost-{kind}", **inputs)

    first = interrupted.resume(create)
    database.sql("UPDATE idempotent_request SET sealed = NULL, running = false")
    second = interrupted.resume(create)
    assert second.id == first.id
    assert (interrupted.folder / f"t-{kind}").read_text()
