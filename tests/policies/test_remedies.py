"""A remediation changes inputs until its rule passes, says what it changed, and leaves secrets and unknowns alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from policies import catalogue
from policies.catalogue import level_config, remediating
from policies.engine.remediation import REMEDIES
from policies.engine.rule import ENVIRONMENTS
from policies.testing.harness import Declared, RunningPack, Unknown
from tests.policies import programs
from tests.policies.breaks import Broken, Program, changed
from tests.policies.test_rules import CASES

# How the engine marks a secret on the wire (sdk/go/common/resource/sig of pulumi).
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


def configured(pack: str) -> Iterator[RunningPack]:
    config = level_config(pack, "prod")
    with RunningPack(pack) as running:
        running.configure({id: {**row, "enforcementLevel": "remediate"} for id, row in config.items() if id in REMEDIES})
        yield running


@pytest.fixture(scope="module")
def mending_security() -> Iterator[RunningPack]:
    yield from configured("security")


@pytest.fixture(scope="module")
def mending_resilience() -> Iterator[RunningPack]:
    yield from configured("resilience")


def cases(rule: str) -> list[Broken]:
    found: list[Broken] = [case.values[0] for case in CASES]
    types = catalogue.rule(rule).types
    return [one for one in found if one.rule == rule and any(r.name == one.name and r.type in types for r in one.program)]


def mended(program: Program, name: str, inputs: dict[str, Any]) -> Program:
    return [replace(one, inputs=inputs) if one.name == name else one for one in program]


@pytest.mark.parametrize("known", [False, True], ids=["first preview", "known outputs"])
@pytest.mark.parametrize("id", REMEDIES)
def test_a_remediation_ends_the_violation_and_is_told(
    id: str, known: bool, mending_security: RunningPack, mending_resilience: RunningPack
) -> None:
    pack = mending_security if catalogue.rule(id).pack == "security" else mending_resilience
    ended = []
    for case in cases(id):
        answer = pack.remediate(case.program, case.name, known)
        if id not in answer:
            continue
        said = pack.check(mended(case.program, case.name, answer[id]), known)
        assert [one for one in said if one.policy == id] == []
        ended += [one.message for one in said if one.policy == "GH-REMEDIATED" and one.name == case.name]

    assert ended != []
    assert all(message.startswith(f"{id} ") for message in ended)


def test_what_was_changed_is_named_with_its_new_value(mending_security: RunningPack) -> None:
    program = changed(programs.kms(), "key", enableKeyRotation=False)

    assert mending_security.remediate(program, "key")["GH-KMS-001"]["enableKeyRotation"] is True
    (told,) = [one for one in mending_security.check(programs.kms()) if one.policy == "GH-REMEDIATED"]
    assert (told.name, told.level) == ("key", "advisory")
    assert told.message == (
        "GH-KMS-001 set enableKeyRotation to true, which the program does not say. "
        "Fix: write it in the program, so that it says what is made"
    )


def test_secrets_and_unknowns_go_through_untouched(mending_security: RunningPack) -> None:
    secret = {SIGNATURE: SECRET, "value": "hunter2-canary"}
    program = changed(programs.kms(), "key", enableKeyRotation=False, description=secret, policy=Unknown())

    inputs = mending_security.remediate(program, "key")["GH-KMS-001"]
    assert inputs["description"] == secret
    assert inputs["policy"] == "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    assert [one for one in mending_security.check(program) if "hunter2" in one.message] == []


def test_containers_are_changed_inside_their_json(mending_security: RunningPack) -> None:
    text = json.dumps([programs.container(privileged=True), programs.container(name="side")])
    program = changed(programs.ecs(), "task", containerDefinitions=text)

    inputs = mending_security.remediate(program, "task", known=True)["GH-ECS-001"]
    assert [one.get("privileged", False) for one in json.loads(inputs["containerDefinitions"])] == [False, False]


def test_nothing_is_changed_when_the_rule_would_still_not_pass(mending_security: RunningPack) -> None:
    stranger = programs.document({"Effect": "Allow", "Principal": "*", "Action": "secretsmanager:*", "Resource": "*"})
    program = changed(programs.secrets(), "pepper-policy", blockPublicPolicy=False, policy=stranger)

    assert "GH-SM-004" not in mending_security.remediate(program, "pepper-policy", known=True)


def test_a_resource_that_meets_the_rules_is_left_alone(mending_security: RunningPack) -> None:
    assert mending_security.remediate(programs.kms(), "key") == {}


HOSTILE: list[Any] = [None, "text", 7, [], {}, [None], "{", Unknown()]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("name", ["ecs", "edge", "rds", "stores", "watch"])
def test_no_input_of_a_wrong_kind_breaks_a_remediation(
    name: str, value: Any, mending_security: RunningPack, mending_resilience: RunningPack
) -> None:
    program: Program = getattr(programs, name)()
    hostile = [Declared(one.type, one.name, dict.fromkeys(one.inputs, value)) for one in program]

    said = []
    for one in hostile:
        for pack in (mending_security, mending_resilience):
            pack.remediate(hostile, one.name)
    for pack in (mending_security, mending_resilience):
        said += [finding.policy for finding in pack.check(hostile)]
    assert "GH-BROKEN" not in said
    assert said != []


@pytest.mark.parametrize("environment", ENVIRONMENTS)
@pytest.mark.parametrize("pack", catalogue.PACKS)
def test_no_environment_remediates_unless_it_is_asked_to(pack: str, environment: str) -> None:
    assert {row["enforcementLevel"] for row in level_config(pack, environment).values()} <= {"advisory", "mandatory", "disabled"}


@pytest.mark.parametrize("environment", ["staging", "prod"])
def test_only_dev_can_be_asked(environment: str) -> None:
    with pytest.raises(ValueError, match=f"not in {environment}"):
        remediating("security", environment)


def test_dev_remediates_each_rule_that_can() -> None:
    asked = {
        id for pack in catalogue.PACKS for id, row in remediating(pack, "dev").items() if row["enforcementLevel"] == "remediate"
    }

    assert asked == set(REMEDIES)


def test_only_rules_about_one_resource_have_a_remedy() -> None:
    assert {catalogue.rule(id).scope for id in REMEDIES} == {"resource"}
