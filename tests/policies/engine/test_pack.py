"""Packs as processes."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.engine.guard import Decision
from gatehouse_policies.engine.meta_policies import BROKEN, UNDECIDED, UNUSED_REMEDY

from tests.policies.declared import Declared, Unknown
from tests.policies.pack_process import Diagnostic, Evaluation, ImportedPack, Pack, RunningPack, urn
from tests.policies.rules.builders import changed, container, kms, without
from tests.policies.rules.cases import COMPLIANT
from tests.policies.rules.programs import ecs, rds, s3, secrets, stores, watch

OWN_PACK = """
from pulumi_policy import PolicyPack
from gatehouse_policies.engine.pack import guarded
from gatehouse_policies.engine.rule import resource_rule, stack_rule

types = ("aws:sns/topic:Topic",)
metadata = dict(title="t", remedy="r", url="u", severity="low", types=types)
metadata["levels"] = "AAA"


@resource_rule("X-1", **metadata)
def divides(topic):
    yield str(1 / len(topic.props.text("displayName").strip("hunter2")))


@stack_rule("X-2", **metadata)
def looks_up(topic, stack):
    raise KeyError(topic.props.text("displayName"))
    yield


@resource_rule("X-3", **metadata)
def is_current(topic):
    if topic.props.text("displayName") == "old":
        yield "displayName is old"


PolicyPack("own", policies=guarded([divides, looks_up, is_current]))
"""


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "__main__.py").write_text(OWN_PACK)
    (folder / "PulumiPolicy.yaml").write_text("runtime: python\n")
    return folder


@pytest.fixture(scope="module")
def own(own_folder: Path) -> Iterator[RunningPack]:
    with RunningPack(own_folder) as pack:
        yield pack


def kms_key(**inputs: Any) -> Declared:
    return Declared("aws:kms/key:Key", "key", {**kms()[0].inputs, **inputs}, protect=True)


def test_unknown_property_is_undecided(security: Pack) -> None:
    unknown = kms_key(enableKeyRotation=Unknown())

    assert security.check([unknown]) == [
        Diagnostic(
            "GH-UNDECIDED",
            "key",
            "mandatory",
            f"GH-KMS-001 could not be decided for {urn(unknown)}: enableKeyRotation is "
            f"unknown. Fix: {UNDECIDED.remedy}",
        )
    ]


def test_allowed_unknown_property_is_reported(security: Pack) -> None:
    program = changed(ecs(), "task", containerDefinitions=Unknown())

    [diagnostic] = security.check(program)
    assert (diagnostic.policy, diagnostic.level) == ("GH-UNDECIDED-ALLOWED", "advisory")
    assert diagnostic.message.partition(" could not be decided")[0].count("GH-") == 8


def test_computed_property_counts_as_unset(security: Pack) -> None:
    bare = Declared(
        "aws:kms/key:Key", "key", {"enableKeyRotation": True}, computed={"policy": "{}"}
    )

    assert [(diagnostic.policy, diagnostic.name) for diagnostic in security.check([bare])] == [
        ("GH-KMS-002", "key")
    ]


def test_raising_rule_is_broken_without_property_value(own: RunningPack) -> None:
    topic = Declared("aws:sns/topic:Topic", "topic", {"displayName": "hunter2"})

    assert own.check([topic]) == [
        Diagnostic(
            "GH-BROKEN",
            "topic",
            "mandatory",
            f"rule X-1 raised ZeroDivisionError on {urn(topic)}. Fix: {BROKEN.remedy}",
        ),
        Diagnostic(
            "GH-BROKEN",
            "topic",
            "mandatory",
            f"rule X-2 raised KeyError on {urn(topic)}. Fix: {BROKEN.remedy}",
        ),
    ]


PROGRAMS = [s3, secrets, ecs, COMPLIANT["edge"], rds, stores, watch]
MALFORMED: list[Any] = [
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


@pytest.mark.parametrize("value", MALFORMED, ids=repr)
def test_malformed_property_does_not_break_rules(value: Any) -> None:
    malformed = [
        Declared(resource.type, f"{build.__name__}-{resource.name}", inputs)
        for build in PROGRAMS
        for resource in build()
        for inputs in [dict.fromkeys(resource.inputs, value)]
    ]

    decisions = [decision for _, _, decision in Evaluation(malformed).decisions()]
    assert [decision for decision in decisions if decision.broken] == []
    assert any(decision != Decision() for decision in decisions)


def is_violation(diagnostic: Diagnostic) -> bool:
    return diagnostic.policy in {rule.id for rule in catalogue.RULES}


@pytest.mark.parametrize("name", catalogue.PACKS)
def test_pack_has_the_results_of_its_process_and_of_an_evaluation(
    name: str, request: pytest.FixtureRequest
) -> None:
    imported: Pack = request.getfixturevalue(name)
    programs = [
        s3(),
        without(s3(), "files-block"),
        without(s3(), "files-versioning"),
        changed(rds(), "database", multiAz=False),
    ]
    programs += [changed(COMPLIANT["edge"](), "balancer", dropInvalidHeaderFields=Unknown())]
    with RunningPack(name) as process:
        for known in (False, True):
            results = [process.check(program, known) for program in programs]
            assert any(results)
            assert [imported.check(program, known) for program in programs] == results, (
                f"known={known}"
            )
            for program, diagnostics in zip(programs, results, strict=True):
                evaluated = {
                    diagnostic
                    for diagnostic in Evaluation(program, known).diagnostics()
                    if is_violation(diagnostic) and catalogue.rule(diagnostic.policy).pack == name
                }
                assert evaluated == {row for row in diagnostics if is_violation(row)}


def test_malformed_property_is_a_violation(security: Pack) -> None:
    program = changed(ecs(), "task", containerDefinitions="no JSON")

    assert Diagnostic(
        "GH-ECS-001",
        "task",
        "mandatory",
        "containerDefinitions must be JSON, not text that is not JSON. Fix: correct the type "
        "of this property",
    ) in security.check(program)


@pytest.mark.parametrize("value", ["hunter2-canary", "AKIAHUNTER2CANARY000"])
def test_messages_do_not_contain_secrets(value: str, security: Pack) -> None:
    task = json.dumps(
        [container(environment=[{"name": "DATABASE_PASSWORD", "value": value}], user=value)]
    )
    loose = [
        Declared(
            "aws:secretsmanager/secretVersion:SecretVersion", "version", {"secretString": value}
        ),
        Declared(
            "aws:lambda/function:Function",
            "function",
            {"environment": {"variables": {"API_TOKEN": value}}},
        ),
    ]
    tasks = [
        resource.with_inputs(containerDefinitions=task) if resource.name == "task" else resource
        for resource in ecs()
    ]
    databases = [
        resource.with_inputs(password=value, engine=value)
        if resource.name == "database"
        else resource
        for resource in rds()
    ]

    diagnostics = [*security.check(tasks + loose), *security.check(databases)]
    assert {"GH-ECS-005", "GH-RDS-012", "GH-SM-006", "GH-LAM-003"} <= {
        diagnostic.policy for diagnostic in diagnostics
    }
    assert [diagnostic for diagnostic in diagnostics if value in diagnostic.message] == []


def test_configuration_sets_parameters(security: Pack) -> None:
    program = [kms_key(rotationPeriodInDays=180)]
    security.configure({"GH-KMS-001": {"enforcementLevel": "mandatory", "days_max": 90}})
    diagnostics = security.check(program)
    security.configure(catalogue.level_config("security", "prod"))

    assert [diagnostic.message.split(".")[0] for diagnostic in diagnostics] == [
        "rotationPeriodInDays is above 90"
    ]


def exemption(**changes: str) -> str:
    fields = {
        "control": '"GH-KMS-001"',
        "urn": '"urn:pulumi:prod::gatehouse::*::key"',
        "owner": '"platform"',
        "reason": '"the partner reads with this key until June"',
        "ticket": '"SEC-1"',
        **changes,
    }
    return (
        "\n".join(["[[exemption]]", *(f"{name} = {value}" for name, value in fields.items())])
        + "\n"
    )


def dates_from_today(created: int, expires: int) -> dict[str, str]:
    today = datetime.now(UTC).date()
    return {"created": str(today + timedelta(created)), "expires": str(today + timedelta(expires))}


def check_with(
    exemptions: str, folder: Path, program: list[Declared], **variables: str
) -> list[Diagnostic]:
    file = folder / "exemptions.toml"
    file.write_text(exemptions)
    with pytest.MonkeyPatch.context() as process:
        for name, value in {"GATEHOUSE_EXEMPTIONS": str(file), **variables}.items():
            process.setenv(name, value)
        pack = ImportedPack("security")  # A pack reads the variables when it is imported.
        return pack.check(program)


def test_exemption_suppresses_violation_and_is_reported(tmp_path: Path) -> None:
    rotated = kms_key(enableKeyRotation=False)
    dates = dates_from_today(-1, 30)

    assert check_with(exemption(**dates), tmp_path, [rotated]) == [
        Diagnostic(
            "GH-EXEMPT-USED",
            "key",
            "advisory",
            f"GH-KMS-001 is exempted for {urn(rotated)} until {dates['expires']} by platform "
            "(SEC-1): the partner reads with this key until June",
        )
    ]


def test_expired_exemption_is_a_violation(tmp_path: Path) -> None:
    dates = dates_from_today(-40, -1)

    diagnostics = check_with(exemption(**dates), tmp_path, [kms_key(enableKeyRotation=False)])
    assert [(diagnostic.policy, diagnostic.level) for diagnostic in diagnostics] == [
        ("GH-KMS-001", "mandatory"),
        ("GH-EXEMPT-INVALID", "mandatory"),
    ]
    assert diagnostics[1].message.startswith(
        f"exemption 1 (GH-KMS-001, SEC-1) expired on {dates['expires']}."
    )


def test_unused_exemption_is_a_warning(tmp_path: Path) -> None:
    diagnostics = check_with(exemption(**dates_from_today(-1, 30)), tmp_path, kms())

    assert diagnostics == [
        Diagnostic(
            "GH-EXEMPT-USED",
            "",
            "advisory",
            f"exemption 1 (GH-KMS-001, SEC-1) is not used by any resource. Fix: {UNUSED_REMEDY}",
        )
    ]


def test_exemption_of_another_stack_is_not_unused(tmp_path: Path) -> None:
    other = exemption(urn='"urn:pulumi:dev::gatehouse::*::key"', **dates_from_today(-1, 30))
    assert check_with(other, tmp_path, kms()) == []


def test_audit_ignores_exemptions(tmp_path: Path) -> None:
    diagnostics = check_with(
        exemption(**dates_from_today(-1, 30)),
        tmp_path,
        [kms_key(enableKeyRotation=False)],
        GATEHOUSE_IGNORE_EXEMPTIONS="1",
    )

    assert [diagnostic.policy for diagnostic in diagnostics] == ["GH-KMS-001"]


def test_rule_of_another_pack_can_be_exempted(own_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "exemptions.toml"
    file.write_text(
        exemption(control='"X-3"', urn='"urn:pulumi:*::news"', **dates_from_today(-1, 30))
    )
    topic = Declared("aws:sns/topic:Topic", "news", {"displayName": "old"})
    with RunningPack(own_folder, env={**os.environ, "GATEHOUSE_EXEMPTIONS": str(file)}) as pack:
        diagnostics = [
            diagnostic
            for diagnostic in pack.check([topic])
            if "X-3" in (diagnostic.policy, diagnostic.message[:3])
        ]

    assert [
        (diagnostic.policy, diagnostic.message.partition(" is ")[2][:8])
        for diagnostic in diagnostics
    ] == [("GH-EXEMPT-USED", "exempted")]
