"""The guard: what is unknown is undecided and hides nothing, a broken rule is told, hostile input crashes no pack,
secrets stay unsaid.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies import catalogue
from policies.testing.harness import Declared, Ref, RunningPack, Said, Unknown, urn
from tests.policies import programs
from tests.policies.programs import container

FIX = "give the property a value that is known before the deployment"

OWN_PACK = """
from pulumi_policy import PolicyPack
from policies.engine.pack import guarded
from policies.engine.rule import ADVISORY_IN_DEV, Severity, levels, resource_rule, stack_rule

facts = dict(title="t", rationale="w", remedy="r", url="u", severity=Severity.LOW, types=("aws:sns/topic:Topic",))
facts["levels"] = levels("A", "A", "A")


@resource_rule("X-1", **facts)
def divides(topic):
    yield str(1 / len(topic.props.text("displayName").strip("hunter2")))


@stack_rule("X-2", **facts)
def looks_up(topic, stack):
    raise KeyError(topic.props.text("displayName"))
    yield


@resource_rule("X-3", **facts)
def is_current(topic):
    if topic.props.text("displayName") == "old":
        yield "displayName is old"


PolicyPack("own", policies=guarded([divides, looks_up, is_current]))
"""


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "__main__.py").write_text(OWN_PACK, encoding="utf-8")
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def own(own_folder: Path) -> Iterator[RunningPack]:
    with RunningPack(own_folder) as pack:
        yield pack


def key(name: str, **inputs: Any) -> Declared:
    return Declared("aws:kms/key:Key", name, {**programs.kms()[0].inputs, **inputs}, protect=True)


def test_an_unknown_property_is_reported_as_undecided_for_its_resource_and_rule(security: RunningPack) -> None:
    unknown = key("key", enableKeyRotation=Unknown())

    assert security.check([unknown]) == [
        Said(
            "GH-UNDECIDED",
            "key",
            "mandatory",
            f"GH-KMS-001 could not be decided for {urn(unknown)}: enableKeyRotation is unknown. Fix: {FIX}",
        )
    ]


@pytest.mark.parametrize("order", [1, -1], ids=["unknown first", "unknown last"])
def test_an_unknown_in_one_resource_hides_no_violation_in_another(order: int, security: RunningPack) -> None:
    program = [key("first", enableKeyRotation=Unknown()), key("second", enableKeyRotation=False)][::order]

    said = {(one.policy, one.name) for one in security.check(program)}
    assert said == {("GH-KMS-001", "second"), ("GH-UNDECIDED", "first")}


def test_an_unknown_in_one_rule_of_a_security_group_hides_no_open_port_in_another(security: RunningPack) -> None:
    ingress = [
        {"description": "a", "protocol": "tcp", "fromPort": 1, "toPort": 1, "cidrBlocks": [Unknown()]},
        {"description": "b", "protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]},
    ]
    group = Declared("aws:ec2/securityGroup:SecurityGroup", "group", {"description": "tasks", "ingress": ingress})

    assert {one.policy for one in security.check([group])} == {"GH-VPC-004", "GH-UNDECIDED"}


def test_an_unknown_document_is_undecided_and_not_passed(security: RunningPack) -> None:
    program = [
        one.with_inputs(policy=Unknown()) if one.name == "files-policy" else one
        for one in programs.s3()
        if one.name != "sink-policy"
    ]

    undecided = {one.message.split(" ")[0] for one in security.check(program) if one.policy == "GH-UNDECIDED"}
    assert undecided == {"GH-S3-003", "GH-S3-004", "GH-S3-006", "GH-S3-012", "GH-S3-016", "GH-S3-017"}


def test_undecided_is_advisory_outside_prod_and_mandatory_in_prod() -> None:
    assert [catalogue.UNDECIDED.levels[env] for env in ("dev", "staging", "prod")] == [
        "advisory",
        "advisory",
        "mandatory",
    ]


def test_what_was_undecided_at_one_look_is_decided_at_the_next(security: RunningPack) -> None:
    program = [*programs.kms(), key("other", policy=Ref("key", "policy"))]

    assert {one.policy for one in security.check(program)} == {"GH-UNDECIDED"}
    assert security.check(program, known=True) == []


def test_unknown_container_definitions_may_stay_open_and_are_shown(security: RunningPack) -> None:
    program = [one.with_inputs(containerDefinitions=Unknown()) if one.name == "task" else one for one in programs.ecs()]

    said = security.check(program)
    assert {(one.policy, one.level) for one in said} == {("GH-UNDECIDED-ALLOWED", "advisory")}
    assert len(said) == 8


def test_a_computed_property_that_the_program_did_not_set_counts_as_unset(security: RunningPack) -> None:
    own_key = key("key")
    bare = Declared(own_key.type, "key", {"enableKeyRotation": True}, computed={"policy": "{}"})

    assert [(one.policy, one.name) for one in security.check([bare])] == [("GH-KMS-002", "key")]


def test_a_rule_that_raises_is_told_as_broken_and_stops_without_the_value(own: RunningPack) -> None:
    topic = Declared("aws:sns/topic:Topic", "topic", {"displayName": "hunter2"})

    fix = "Fix: mend the rule in policies/rules; until then the resource is not judged"
    assert own.check([topic]) == [
        Said("GH-BROKEN", "topic", "mandatory", f"rule X-1 is broken on {urn(topic)}: ZeroDivisionError. {fix}"),
        Said("GH-BROKEN", "topic", "mandatory", f"rule X-2 is broken on {urn(topic)}: KeyError. {fix}"),
    ]


HOSTILE: list[Any] = [
    None,
    "text",
    7,
    True,
    [],
    {},
    [None],
    [[]],
    [{}],
    {"a": None},
    ["text"],
    "{",
    Unknown(),
    [Unknown()],
]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
@pytest.mark.parametrize("name", ["s3", "secrets", "ecs", "edge", "rds", "stores", "watch"])
def test_no_property_of_a_wrong_kind_breaks_a_rule(name: str, value: Any, security: RunningPack, resilience: RunningPack) -> None:
    program: list[Declared] = getattr(programs, name)()
    hostile = [Declared(one.type, one.name, dict.fromkeys(one.inputs, value)) for one in program]

    said = [*security.check(hostile), *resilience.check(hostile)]
    assert [one for one in said if one.policy == "GH-BROKEN"] == []
    assert said != []


def test_a_program_of_two_thousand_resources_is_judged_in_full(security: RunningPack, resilience: RunningPack) -> None:
    """Every rule about many resources meets all of them, half of them with everything unknown."""
    one_of_each = [one for name in ("s3", "edge", "rds", "stores") for one in getattr(programs, name)()]
    named = {one.name: one for one in one_of_each}.values()
    many = [
        Declared(one.type, f"{one.name}-{number}", dict.fromkeys(one.inputs, Unknown()) if number % 2 else {"tags": {}})
        for number in range(2000 // len(named) + 1)
        for one in named
    ]

    said = [*security.check(many), *resilience.check(many)]
    assert len(many) >= 2000
    assert [one for one in said if one.policy == "GH-BROKEN"] == []
    assert {one.name for one in said if one.policy == "GH-S3-001"} >= {"files-0", "sink-0", "files-2"}
    assert {one.name for one in said if one.policy == "GH-KMS-001"} >= {"key-0", "key-2"}


def test_a_list_that_is_a_string_is_a_violation_that_names_the_property(security: RunningPack) -> None:
    program = [one.with_inputs(containerDefinitions="no JSON") if one.name == "task" else one for one in programs.ecs()]

    assert Said(
        "GH-ECS-001",
        "task",
        "mandatory",
        "containerDefinitions must be a JSON list of objects, found text that is not JSON. "
        "Fix: correct the type of this property",
    ) in security.check(program)


@pytest.mark.parametrize("value", ["hunter2-canary", "AKIAHUNTER2CANARY000"])
def test_no_message_repeats_a_secret(value: str, security: RunningPack) -> None:
    task = json.dumps([container(environment=[{"name": "DATABASE_PASSWORD", "value": value}], user=value)])
    loose = [
        Declared("aws:secretsmanager/secretVersion:SecretVersion", "version", {"secretString": value}),
        Declared("aws:lambda/function:Function", "function", {"environment": {"variables": {"API_TOKEN": value}}}),
    ]
    tasks = [one.with_inputs(containerDefinitions=task) if one.name == "task" else one for one in programs.ecs()]
    databases = [one.with_inputs(password=value, engine=value) if one.name == "database" else one for one in programs.rds()]

    said = [*security.check(tasks + loose), *security.check(databases)]
    assert {"GH-ECS-005", "GH-RDS-012", "GH-SM-006", "GH-LAM-003"} <= {one.policy for one in said}
    assert [one for one in said if value in one.message] == []


def test_levels_come_from_the_configuration(security: RunningPack) -> None:
    program = [key("key", enableKeyRotation=False)]
    security.configure({"GH-KMS-001": {"enforcementLevel": "advisory"}})
    advisory = security.check(program)
    security.configure({"GH-KMS-001": {"enforcementLevel": "disabled"}})
    disabled = security.check(program)
    security.configure(catalogue.level_config("security", "prod"))

    assert [(one.policy, one.level) for one in advisory] == [("GH-KMS-001", "advisory")]
    assert disabled == []


def test_settings_come_from_the_configuration(security: RunningPack) -> None:
    program = [key("key", rotationPeriodInDays=180)]
    security.configure({"GH-KMS-001": {"enforcementLevel": "mandatory", "days_max": 90}})
    said = security.check(program)
    security.configure(catalogue.level_config("security", "prod"))

    assert [one.message.split(".")[0] for one in said] == ["rotationPeriodInDays is above 90"]


# --- Exemptions, applied by the guard in the pack


def exemption(**changed: str) -> str:
    fields = {
        "control": '"GH-KMS-001"',
        "urn": '"urn:pulumi:prod::gatehouse::*::key"',
        "owner": '"platform"',
        "reason": '"the partner reads with this key until June"',
        "ticket": '"SEC-1"',
        **changed,
    }
    return "\n".join(["[[exemption]]", *(f"{name} = {value}" for name, value in fields.items())]) + "\n"


def days(created: int, expires: int) -> dict[str, str]:
    today = datetime.now(UTC).date()
    return {"created": str(today + timedelta(created)), "expires": str(today + timedelta(expires))}


def check_with(exemptions: str, folder: Path, program: list[Declared], **variables: str) -> list[Said]:
    file = folder / "exemptions.toml"
    file.write_text(exemptions, encoding="utf-8")
    with RunningPack("security", env={**os.environ, "GATEHOUSE_EXEMPTIONS": str(file), **variables}) as pack:
        return pack.check(program)


@pytest.mark.requirement("PP-04")
def test_an_exemption_takes_the_violation_away_and_its_use_is_told(tmp_path: Path) -> None:
    rotated = key("key", enableKeyRotation=False)
    dates = days(-1, 30)

    assert check_with(exemption(**dates), tmp_path, [rotated]) == [
        Said(
            "GH-EXEMPT-USED",
            "key",
            "advisory",
            f"GH-KMS-001 is exempted for {urn(rotated)} until {dates['expires']} by platform (SEC-1): "
            "the partner reads with this key until June",
        )
    ]


@pytest.mark.requirement("PP-04")
def test_an_expired_exemption_is_a_violation_and_exempts_nothing(tmp_path: Path) -> None:
    dates = days(-40, -1)

    said = check_with(exemption(**dates), tmp_path, [key("key", enableKeyRotation=False)])
    assert [(one.policy, one.level) for one in said] == [
        ("GH-KMS-001", "mandatory"),
        ("GH-EXEMPT-INVALID", "mandatory"),
    ]
    assert said[1].message == (
        f"exemption 1 (GH-KMS-001, SEC-1) expired on {dates['expires']}. "
        "Fix: meet the control and remove the entry, or have it granted anew"
    )


@pytest.mark.requirement("PP-04")
def test_an_exemption_that_nothing_needs_is_a_warning(tmp_path: Path) -> None:
    said = check_with(exemption(**days(-1, 30)), tmp_path, programs.kms())

    assert said == [
        Said(
            "GH-EXEMPT-USED",
            "",
            "advisory",
            "exemption 1 (GH-KMS-001, SEC-1) is not needed by any resource. Fix: remove the entry from policies/exemptions.toml",
        )
    ]


def test_an_auditor_can_look_past_the_exemptions(tmp_path: Path) -> None:
    said = check_with(exemption(**days(-1, 30)), tmp_path, [key("key", enableKeyRotation=False)], GATEHOUSE_IGNORE_EXEMPTIONS="1")

    assert [one.policy for one in said] == ["GH-KMS-001"]


@pytest.mark.requirement("PP-04")
def test_a_rule_of_ones_own_is_exempted_like_any_other(own_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "exemptions.toml"
    file.write_text(exemption(control='"X-3"', urn='"urn:pulumi:*::news"', **days(-1, 30)), encoding="utf-8")
    topic = Declared("aws:sns/topic:Topic", "news", {"displayName": "old"})
    with RunningPack(own_folder, env={**os.environ, "GATEHOUSE_EXEMPTIONS": str(file)}) as pack:
        said = [one for one in pack.check([topic]) if "X-3" in (one.policy, one.message[:3])]

    assert [(one.policy, one.message.partition(" is ")[2][:8]) for one in said] == [("GH-EXEMPT-USED", "exempted")]
