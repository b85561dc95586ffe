"""Compliant programs have no violation, others exactly one."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import evaluate
from pulumi_local.type_tokens import KEYS, aws

from tests.policies.declared import Ref
from tests.policies.pack_process import Diagnostic, Evaluation
from tests.policies.rules.builders import Program, changed, declared, github_trust, retyped, without
from tests.policies.rules.cases import CASES, COMPLIANT, VARIANTS, Case
from tests.policies.rules.programs import s3

PASSES = pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
# Reported for every resource that a tag or output excludes from rules.
REMINDERS = {"GH-TAG-002"}
# Reported for most services, unless the program sets a key.
NO_KEY = {"GH-PUL-014"}
# Messages about a fact that several resources or values show, which is reported once.
ONE_FACT = ("IAM User", "does not contain api, audit")


def check(program: Program, known: bool = False) -> list[Diagnostic]:
    return Evaluation(program, known).diagnostics()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.message}")
def test_violation_is_reported_by_one_rule(case: Case) -> None:
    level = catalogue.rule(case.rule).level("prod")
    for known in (False, True):
        diagnostics = check(case.program, known)
        on_resource = [
            diagnostic
            for diagnostic in diagnostics
            if (diagnostic.policy, diagnostic.name, diagnostic.level)
            == (case.rule, case.name, level)
        ]
        if case.message.startswith(ONE_FACT):
            assert len(diagnostics) == 1
        for diagnostic in on_resource:
            settings = re.findall(r"(?:set|remove) \S+", diagnostic.message.partition(". Fix: ")[2])
            assert len(settings) == len({*settings}), diagnostic.message
        violated = {diagnostic.policy for diagnostic in diagnostics} - (
            (REMINDERS | NO_KEY) - {case.rule}
        )
        assert violated == {case.rule, *case.also}, f"known={known}"
        assert any(case.message in diagnostic.message for diagnostic in on_resource), (
            known,
            on_resource,
        )


@PASSES
@pytest.mark.parametrize("program", COMPLIANT.values(), ids=COMPLIANT.keys())
def test_compliant_program_passes(program: Callable[[], Program], known: bool) -> None:
    resources = program()
    assert resources
    diagnostics = check(resources, known)
    assert [diagnostic for diagnostic in diagnostics if diagnostic.policy not in REMINDERS] == []


@pytest.mark.parametrize("program", VARIANTS.values(), ids=VARIANTS.keys())
def test_compliant_variant_passes(program: Program) -> None:
    diagnostics = check(program)
    assert {diagnostic.policy for diagnostic in diagnostics} <= REMINDERS | NO_KEY


def test_every_rule_has_a_violation_case() -> None:
    assert {rule.id for rule in catalogue.RULES} == {case.rule for case in CASES}


def test_upstream_ids_are_shown_by_programs() -> None:
    shown: dict[str, set[str]] = {rule.id: set() for rule in catalogue.RULES}
    for case in CASES:
        shown[case.rule].update(case.upstream.split())

    assert shown == {rule.id: set(rule.upstream.split()) for rule in catalogue.RULES}
    assert any(shown.values())


def test_comparisons_of_references_grow_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    references = Stack.references
    compared: list[str] = []

    def record(stack: Stack, source: Resource, prop: str, target: Resource) -> bool:
        compared.append(prop)
        return references(stack, source, prop, target)

    def comparisons(count: int) -> int:
        compared.clear()
        check([declared("ec2.Vpc", "vpc"), *(item for i in range(count) for item in workload(i))])
        return len(compared)

    monkeypatch.setattr(Stack, "references", record)
    few = comparisons(20)
    assert 20 < comparisons(80) <= 4 * few


def workload(number: int) -> Program:
    subnet = f"subnet-{number}"
    return [
        declared("ec2.Subnet", subnet, vpcId=Ref("vpc")),
        declared("ec2.Route", f"route-{number}", routeTableId=Ref("vpc"), gatewayId="vgw-1"),
        declared("lambda.Function", f"f-{number}", vpcConfig={"subnetIds": [Ref(subnet)]}),
    ]


def test_aliases_in_yaml_take_no_exponential_time() -> None:
    nested = "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 50))
    text = f"a0: &a0 {{DB_PASSWORD: hunter2hunter2}}\n{nested}\nenv: {{variables: *a49}}"
    diagnostics = check([declared("amplify.App", "website", buildSpec=text)])
    assert "GH-SM-008" in {diagnostic.policy for diagnostic in diagnostics}


def test_alb_tokens_are_evaluated_like_lb_tokens() -> None:
    program = retyped(COMPLIANT["edge"](), lambda token: token.replace("aws:lb/", "aws:alb/"))

    assert check(program) == []
    violating = changed(program, "balancer", dropInvalidHeaderFields=False)
    assert {diagnostic.policy for diagnostic in check(violating)} == {"GH-ALB-003"}


def test_v2_tokens_are_evaluated_like_current_tokens() -> None:
    classes = ("Bucket", "BucketVersioning", "BucketLogging", "BucketLifecycleConfiguration")
    tokens = {f"aws:s3/{name[0].lower()}{name[1:]}:{name}": name for name in classes}
    program = retyped(
        s3(),
        lambda token: (
            f"{token.rpartition(':')[0]}V2:{tokens[token]}V2" if token in tokens else token
        ),
    )

    # GH-PUL-004 reports the deprecated types.
    assert {diagnostic.policy for diagnostic in check(program)} == {"GH-PUL-004"}
    assert {diagnostic.policy for diagnostic in check(without(program, "files-block"))} == {
        "GH-PUL-004",
        "GH-S3-001",
    }


@pytest.mark.parametrize(
    ("name", "rules", "token"),
    [
        *(("key", "GH-KMS-00[2-6]", token) for token in KEYS[1:]),
        *(("instance", "GH-EC2-00[1345]", token) for token in aws("ec2.SpotInstanceRequest")),
    ],
)
def test_similar_types_are_evaluated_alike(name: str, rules: str, token: str) -> None:
    cases = [case for case in CASES if re.fullmatch(rules, case.rule) and case.name == name]
    assert len({case.rule for case in cases}) >= 4
    for case in cases:
        program = [
            replace(item, type=token) if item.name == name else item for item in case.program
        ]
        assert case.rule in {diagnostic.policy for diagnostic in check(program)}, case


@pytest.mark.parametrize(
    ("allowed", "violations"), [((), 0), (("acme/gateway",), 0), (("acme/website",), 1)]
)
def test_github_trust_is_limited_to_listed_repositories(
    allowed: tuple[str, ...], violations: int
) -> None:
    inputs = {"assumeRolePolicy": github_trust()}
    role = Resource(
        "urn", "aws:iam/role:Role", "deployer", Properties(inputs), lists={"repositories": allowed}
    )

    assert len(evaluate(catalogue.rule("GH-IAM-005"), role, Stack([role])).violations) == violations
