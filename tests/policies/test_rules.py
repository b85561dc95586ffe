"""Each rule, through the SDK's servicer: silent on a clean program, alone in speaking when one property is broken."""

from __future__ import annotations

import pytest

from policies import catalogue
from policies.testing.harness import RunningPack, Said
from tests.policies import breaks_account, breaks_compute, breaks_data, breaks_estate, breaks_more, estate, programs
from tests.policies.breaks import Broken, Program, changed, retyped, without
from tests.policies.programs import grant

PROGRAMS = ["s3", "kms", "secrets", "ecs", "network", "edge", "rds", "roles", "stores", "watch"]
ESTATE = ["account", "backup", "api", "audit"]
CASES = [
    *breaks_data.CASES,
    *breaks_compute.CASES,
    *breaks_account.CASES,
    *breaks_estate.CASES,
    *breaks_more.CASES,
]

# GH-IAM-001 cannot be broken alone: what allows everything also decrypts with every key.
ADMIN = changed(programs.roles(), "task-rights", policy=grant(Action="*", Resource="*"))


@pytest.mark.requirement("PP-03")
@pytest.mark.parametrize("known", [False, True], ids=["first preview", "known outputs"])
@pytest.mark.parametrize("case", CASES)
def test_exactly_one_rule_speaks_when_one_property_is_broken(
    case: Broken, known: bool, security: RunningPack, resilience: RunningPack
) -> None:
    said = [*security.check(case.program, known), *resilience.check(case.program, known)]

    rule = catalogue.rule(case.rule)
    expected = Said(rule.id, case.name, rule.levels["prod"], f"{case.says}. Fix: {case.fix or rule.remedy}")
    assert expected in said
    assert {one.policy for one in said} == {rule.id}


@pytest.mark.requirement("PP-03")
@pytest.mark.parametrize("known", [False, True], ids=["first preview", "known outputs"])
@pytest.mark.parametrize("name", [*PROGRAMS, *ESTATE])
def test_no_rule_speaks_about_a_clean_program(name: str, known: bool, security: RunningPack, resilience: RunningPack) -> None:
    program: Program = getattr(estate if name in ESTATE else programs, name)()

    assert [*security.check(program, known), *resilience.check(program, known)] == []


@pytest.mark.parametrize(
    ("label", "spoken"),
    [
        ("awswaf:managed:aws:core-rule-set:SizeRestrictions_Body", False),
        ("awswaf:managed:aws:core-rule-set:NoUserAgent_Header", True),
    ],
    ids=["another rule blocks by its label", "nothing blocks by its label"],
)
def test_a_managed_rule_that_counts_must_be_acted_on_by_its_label(label: str, spoken: bool, security: RunningPack) -> None:
    firewall = next(one for one in programs.edge() if one.name == "firewall")
    rules = firewall.inputs["rules"]
    counting = {"name": "SizeRestrictions_BODY", "actionToUse": {"count": {}}}
    group = {**rules[0]["statement"]["managedRuleGroupStatement"], "ruleActionOverrides": [counting]}
    matched = {"labelMatchStatement": {"scope": "LABEL", "key": label}}
    blocking = {
        "name": "body-size",
        "priority": 90,
        "action": {"block": {}},
        "statement": {"andStatement": {"statements": [matched, {"notStatement": {"statement": matched}}]}},
        "visibilityConfig": rules[0]["visibilityConfig"],
    }
    changed_rules = [{**rules[0], "statement": {"managedRuleGroupStatement": group}}, *rules[1:], blocking]
    said = security.check(changed(programs.edge(), "firewall", rules=changed_rules))
    assert ("GH-WAF-004" in {one.policy for one in said}) is spoken


def test_a_policy_that_allows_everything_is_told_as_such(security: RunningPack) -> None:
    assert Said(
        "GH-IAM-001",
        "task-rights",
        "mandatory",
        'a statement allows every action (or all but a few) on "*". '
        "Fix: list the actions that are used, and the ARNs that they are used on",
    ) in security.check(ADMIN)


@pytest.mark.parametrize("family", ["alb", "V2"])
def test_the_other_token_family_is_judged_alike(family: str, security: RunningPack, resilience: RunningPack) -> None:
    if family == "alb":
        program = retyped(programs.edge(), lambda token: token.replace("aws:lb/", "aws:alb/"))
        broken_one, rule = changed(program, "balancer", dropInvalidHeaderFields=False), "GH-ALB-003"
    else:
        sides = ("Bucket", "BucketVersioning", "BucketLogging", "BucketLifecycleConfiguration")
        names = {f"aws:s3/{side[0].lower()}{side[1:]}:{side}": side for side in sides}
        program = retyped(
            programs.s3(), lambda token: f"{token.rpartition(':')[0]}V2:{names[token]}V2" if token in names else token
        )
        broken_one, rule = without(program, "files-block"), "GH-S3-001"

    old = {"GH-PUL-004"} if family == "V2" else set()  # that it is an old name is told as well
    assert {one.policy for one in (*security.check(program), *resilience.check(program))} == old
    assert {one.policy for one in security.check(broken_one)} == {rule}


@pytest.mark.requirement("PP-03")
def test_every_rule_has_a_case_that_breaks_it() -> None:
    cases = [case.values[0] for case in CASES]

    assert {rule.id for rule in catalogue.RULES} - {case.rule for case in cases} == {"GH-IAM-001"}  # has its own test above
