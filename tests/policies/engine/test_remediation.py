"""Remediation: fixes the violation, reports the change, and preserves secrets and unknown
values.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.catalogue import RULES, level_config, remediation_config

from tests.policies.pack_process import Declared, ImportedPack, Pack, Unknown
from tests.policies.rules.builders import Program, changed, container, document, kms
from tests.policies.rules.cases import CASES, Case
from tests.policies.rules.network_programs import edge
from tests.policies.rules.programs import ecs, rds, secrets, stores, watch

# Secret signature of the engine (sdk/go/common/resource/sig of pulumi).
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
REMEDIABLE = [rule.id for rule in RULES if rule.remediation]


def remediating(name: str) -> Pack:
    pack, config = ImportedPack(name), level_config(name, "prod")
    pack.configure(
        {
            id: {**row, "enforcementLevel": "remediate"}
            for id, row in config.items()
            if id in REMEDIABLE
        }
    )
    return pack


@pytest.fixture(scope="module")
def security_fixes() -> Pack:
    return remediating("security")


@pytest.fixture(scope="module")
def resilience_fixes() -> Pack:
    return remediating("resilience")


def cases(id: str) -> list[Case]:
    """The cases that violate only this rule, and in which the non-compliant resource has one of the
    rule's types.
    """
    types = catalogue.rule(id).types
    return [
        case
        for case in CASES
        if case.rule == id
        and not case.also
        and any(resource.name == case.name and resource.type in types for resource in case.program)
    ]


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
@pytest.mark.parametrize("id", REMEDIABLE)
def test_remediation_fixes_violation(
    id: str, known: bool, security_fixes: Pack, resilience_fixes: Pack
) -> None:
    pack = security_fixes if catalogue.rule(id).pack == "security" else resilience_fixes
    reported = []
    for case in cases(id):
        changes = pack.remediate(case.program, case.name, known)
        if id not in changes:
            continue
        fixed = [
            replace(resource, inputs=changes[id]) if resource.name == case.name else resource
            for resource in case.program
        ]
        diagnostics = pack.check(fixed, known)
        assert [diagnostic for diagnostic in diagnostics if diagnostic.policy == id] == []
        reported += [
            diagnostic.message
            for diagnostic in diagnostics
            if diagnostic.policy == "GH-REMEDIATED" and diagnostic.name == case.name
        ]

    assert reported
    assert all(message.startswith(f"{id} ") for message in reported)


def test_change_is_reported_with_its_value(security_fixes: Pack) -> None:
    program = changed(kms(), "key", enableKeyRotation=False)

    assert security_fixes.remediate(program, "key")["GH-KMS-001"]["enableKeyRotation"] is True
    [report] = [
        diagnostic
        for diagnostic in security_fixes.check(kms())
        if diagnostic.policy == "GH-REMEDIATED"
    ]
    assert (report.name, report.level) == ("key", "advisory")
    assert report.message.startswith("GH-KMS-001 set enableKeyRotation to true")


def test_secrets_and_unknown_values_are_unchanged(security_fixes: Pack) -> None:
    secret = {SIGNATURE: SECRET, "value": "hunter2-canary"}
    program = changed(kms(), "key", enableKeyRotation=False, description=secret, policy=Unknown())

    inputs = security_fixes.remediate(program, "key")["GH-KMS-001"]
    assert inputs["description"] == secret
    assert inputs["policy"] == "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    diagnostics = security_fixes.check(program)
    assert diagnostics
    assert [diagnostic for diagnostic in diagnostics if "hunter2" in diagnostic.message] == []


def test_container_definitions_are_changed_in_json(security_fixes: Pack) -> None:
    text = json.dumps([container(privileged=True), container(name="side")])
    program = changed(ecs(), "task", containerDefinitions=text)

    inputs = security_fixes.remediate(program, "task", known=True)["GH-ECS-001"]
    assert [
        item.get("privileged", False) for item in json.loads(inputs["containerDefinitions"])
    ] == [False, False]


def test_nothing_changes_if_rule_still_fails(security_fixes: Pack) -> None:
    public = document(
        {"Effect": "Allow", "Principal": "*", "Action": "secretsmanager:*", "Resource": "*"}
    )
    program = changed(secrets(), "pepper-policy", blockPublicPolicy=False, policy=public)

    assert "GH-SM-004" not in security_fixes.remediate(program, "pepper-policy", known=True)


def test_compliant_resource_is_unchanged(security_fixes: Pack) -> None:
    assert security_fixes.remediate(kms(), "key") == {}


@pytest.mark.parametrize("value", [None, "text", 7, [], {}, [None], "{", Unknown()], ids=repr)
@pytest.mark.parametrize("build", [ecs, edge, rds, stores, watch])
def test_malformed_input_does_not_break_remediation(
    build: Any, value: Any, security_fixes: Pack, resilience_fixes: Pack
) -> None:
    program: Program = [
        Declared(resource.type, resource.name, dict.fromkeys(resource.inputs, value))
        for resource in build()
    ]

    for pack in (security_fixes, resilience_fixes):
        for resource in program:
            pack.remediate(program, resource.name)
    reported = {
        diagnostic.policy
        for pack in (security_fixes, resilience_fixes)
        for diagnostic in pack.check(program)
    }
    assert reported
    assert "GH-BROKEN" not in reported


def test_remediation_config_enables_all_remediations() -> None:
    config = {
        id: row for pack in catalogue.PACKS for id, row in remediation_config(pack, "dev").items()
    }
    assert sorted(
        id for id, row in config.items() if row["enforcementLevel"] == "remediate"
    ) == sorted(REMEDIABLE)


def test_stack_rules_have_no_remediation() -> None:
    assert {rule.scope for rule in RULES if rule.remediation} == {"resource"}
