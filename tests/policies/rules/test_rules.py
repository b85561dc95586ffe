"""Every rule: no violation on compliant programs, and exactly one violated control per
non-compliant program.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import catalogue
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.guard import evaluate

from tests.policies.pack_process import ACCOUNT, Pack, check
from tests.policies.rules import (
    violations_access,
    violations_account,
    violations_cloudfront,
    violations_compute,
    violations_databases,
    violations_integration,
    violations_network,
    violations_services,
    violations_storage,
    violations_upstream,
)
from tests.policies.rules.account_programs import account, api, backup, trail
from tests.policies.rules.builders import (
    Case,
    Program,
    changed,
    events_key_policy,
    grant,
    kms,
    retyped,
    roles,
    without,
)
from tests.policies.rules.network_programs import cloudfront, edge, network
from tests.policies.rules.programs import (
    ecs,
    ephemeral,
    rds,
    s3,
    secrets,
    static_files,
    stores,
    watch,
)
from tests.policies.rules.violations_network import api_route

TABLES = (
    violations_access,
    violations_integration,
    violations_services,
    violations_storage,
    violations_databases,
    violations_compute,
    violations_network,
    violations_cloudfront,
    violations_account,
    violations_upstream,
)
CASES: list[Case] = [case for table in TABLES for case in table.VIOLATIONS]
COMPLIANT: list[Callable[[], Program]] = [
    *(s3, ephemeral, static_files, kms, secrets, ecs, rds, roles, stores, watch),
    *(network, edge, cloudfront, violations_upstream.aurora),
    *(account, backup, api, trail),
    *violations_services.SERVICES,
]
UPSTREAM: dict[str, dict[str, str]] = tomllib.loads(
    (Path(__file__).parent / "upstream.toml").read_text(encoding="utf-8")
)
PASSES = pytest.mark.parametrize("known", [False, True], ids=["unknown", "known"])
WEBSITE_RULES = (
    "SizeRestrictions_BODY",
    "GenericRFI_BODY",
    "CrossSiteScripting_BODY",
    "NoUserAgent_HEADER",
)
VARIANTS = {
    **violations_access.COMPLIANT,
    **violations_network.COMPLIANT,
    **violations_integration.COMPLIANT,
    **violations_upstream.COMPLIANT,
}
# Reported for every resource that a tag or output excludes from rules.
REMINDERS = {"GH-TAG-002"}
# A statement that allows everything also violates the rules on KMS keys, wildcards and
# iam:PassRole.
NEVER_ALONE = {"GH-IAM-001"}
# The policy of the program with the statement: task-rights is an inline policy, reading is attached
# to a role.
ADMINISTRATORS: dict[str, tuple[str, dict[str, Any]]] = {
    '"*" in an inline policy': ("task-rights", {"Action": "*", "Resource": "*"}),
    '"*" in an attached policy': ("reading", {"Action": "*", "Resource": "*"}),
    "all ARNs": ("task-rights", {"Action": "*", "Resource": "arn:aws:*:*:*:*"}),
    "?*": ("task-rights", {"Action": "?*", "Resource": "arn:*"}),
    "NotResource": (
        "task-rights",
        {"Action": "*", "Resource": None, "NotResource": "arn:aws:s3:::acme-audit"},
    ),
    "NotAction": ("task-rights", {"Action": None, "NotAction": "iam:*", "Resource": "*"}),
    "iam:*": ("task-rights", {"Action": "iam:*", "Resource": "*"}),
    "IAM:?*": ("task-rights", {"Action": "IAM:?*", "Resource": f"arn:aws:iam::{ACCOUNT}:*"}),
}


@pytest.mark.requirement("PP-03")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule} {case.mention}")
def test_violation_is_reported_by_one_rule(case: Case, security: Pack, resilience: Pack) -> None:
    level = catalogue.rule(case.rule).levels["prod"]
    for known in (False, True):
        diagnostics = check((security, resilience), case.program, known)
        on_resource = [
            diagnostic
            for diagnostic in diagnostics
            if (diagnostic.policy, diagnostic.name, diagnostic.level)
            == (case.rule, case.name, level)
        ]
        violated = {diagnostic.policy for diagnostic in diagnostics} - (REMINDERS - {case.rule})
        assert violated == {case.rule, *case.also}, f"known={known}"
        assert any(case.mention in diagnostic.message for diagnostic in on_resource), (
            known,
            on_resource,
        )


@pytest.mark.requirement("PP-03")
@PASSES
@pytest.mark.parametrize("program", COMPLIANT, ids=lambda program: program.__name__)
def test_compliant_program_passes(
    program: Callable[[], Program], known: bool, security: Pack, resilience: Pack
) -> None:
    resources = program()
    assert resources
    diagnostics = check((security, resilience), resources, known)
    assert [diagnostic for diagnostic in diagnostics if diagnostic.policy not in REMINDERS] == []


@pytest.mark.parametrize("program", VARIANTS.values(), ids=VARIANTS.keys())
def test_compliant_variant_passes(program: Program, security: Pack, resilience: Pack) -> None:
    diagnostics = check((security, resilience), program)
    assert [diagnostic for diagnostic in diagnostics if diagnostic.policy not in REMINDERS] == []


def test_upstream_ids_of_services_are_shown_by_programs() -> None:
    rules = [catalogue.rule(id) for id in violations_services.UPSTREAM]

    assert len(rules) > 40
    assert {rule.id: set(rule.upstream_ids()) for rule in rules} == violations_services.UPSTREAM


def test_upstream_ids_of_other_rules_are_shown_by_programs() -> None:
    claims = {
        rule.id: set(rule.upstream.split())
        for rule in catalogue.RULES
        if rule.upstream and rule.id not in violations_services.UPSTREAM
    }
    programs = {
        (case.rule, text)
        for case in CASES
        for text in (case.mention, f"{case.name} {case.mention}")
    }
    programs |= {("GH-IAM-001", name) for name in ADMINISTRATORS}

    assert {
        rule: {id for ids in shown.values() for id in ids.split()}
        for rule, shown in UPSTREAM.items()
    } == claims
    assert {(rule, text) for rule, shown in UPSTREAM.items() for text in shown} - programs == set()


@pytest.mark.requirement("PP-03")
def test_every_rule_has_a_violation_case() -> None:
    assert {rule.id for rule in catalogue.RULES} - {case.rule for case in CASES} == NEVER_ALONE


@pytest.mark.parametrize(
    ("policy", "statement"), ADMINISTRATORS.values(), ids=ADMINISTRATORS.keys()
)
def test_full_admin_policy_violates_iam_001(
    policy: str, statement: dict[str, Any], security: Pack
) -> None:
    program = changed(roles(), policy, policy=grant(**statement))

    assert ("GH-IAM-001", policy) in {
        (diagnostic.policy, diagnostic.name) for diagnostic in security.check(program)
    }


@pytest.mark.parametrize(
    ("label", "violated"),
    [
        ("awswaf:managed:aws:core-rule-set:SizeRestrictions_Body", False),
        ("awswaf:managed:aws:core-rule-set:NoUserAgent_Header", True),
    ],
    ids=["blocked by label", "not blocked"],
)
def test_counted_managed_rule_needs_blocking_label_rule(
    label: str, violated: bool, security: Pack
) -> None:
    [web_acl] = [resource for resource in edge() if resource.name == "web-acl"]
    first, *others = web_acl.inputs["rules"]
    counted = {"name": "SizeRestrictions_BODY", "actionToUse": {"count": {}}}
    group = {**first["statement"]["managedRuleGroupStatement"], "ruleActionOverrides": [counted]}
    label_match = {"labelMatchStatement": {"scope": "LABEL", "key": label}}
    blocking = {
        "name": "body-size",
        "priority": 90,
        "action": {"block": {}},
        "statement": {
            "andStatement": {
                "statements": [label_match, {"notStatement": {"statement": label_match}}]
            }
        },
        "visibilityConfig": first["visibilityConfig"],
    }
    rules = [{**first, "statement": {"managedRuleGroupStatement": group}}, *others, blocking]
    diagnostics = security.check(changed(edge(), "web-acl", rules=rules))
    assert ("GH-WAF-004" in {diagnostic.policy for diagnostic in diagnostics}) is violated


@pytest.mark.parametrize(
    ("group", "violated"),
    [
        ({}, True),
        (
            {"scopeDownStatement": {"notStatement": {"statement": {"byteMatchStatement": {}}}}},
            False,
        ),
        (
            {
                "ruleActionOverrides": [
                    ("SizeRestrictions_BODY", "count"),
                    ("GenericRFI_BODY", "count"),
                ]
            },
            True,
        ),
        ({"ruleActionOverrides": [(name, "count") for name in WEBSITE_RULES]}, False),
        ({"ruleActionOverrides": [(name, "block") for name in WEBSITE_RULES]}, True),
    ],
    ids=["default actions", "scoped down", "some rules count", "rules count", "rules block"],
)
def test_core_rule_set_in_front_of_api(
    group: dict[str, Any], violated: bool, security: Pack
) -> None:
    [web_acl] = [resource for resource in edge() if resource.name == "web-acl"]
    first, *others = web_acl.inputs["rules"]
    overrides = [
        {"name": name, "actionToUse": {action: {}}}
        for name, action in group.get("ruleActionOverrides", ())
    ]
    statement = {
        **first["statement"]["managedRuleGroupStatement"],
        **group,
        "ruleActionOverrides": overrides,
    }
    rules = [{**first, "statement": {"managedRuleGroupStatement": statement}}, *others]
    program = [
        *changed(edge(), "web-acl", rules=rules),
        api_route(pathPattern={"values": ["/api/*"]}),
    ]
    assert (
        "GH-WAF-005" in {diagnostic.policy for diagnostic in security.check(program)}
    ) is violated
    without_core_rules = [
        *changed(edge(), "web-acl", rules=others),
        api_route(pathPattern={"values": ["/api/*"]}),
    ]
    assert security.check(without_core_rules) == []
    website = [
        *changed(edge(), "web-acl", rules=rules),
        api_route(pathPattern={"values": ["/shop/*"]}),
    ]
    assert "GH-WAF-005" not in {diagnostic.policy for diagnostic in security.check(website)}


def test_alb_tokens_are_evaluated_like_lb_tokens(security: Pack, resilience: Pack) -> None:
    program = retyped(edge(), lambda token: token.replace("aws:lb/", "aws:alb/"))

    assert check((security, resilience), program) == []
    violating = changed(program, "balancer", dropInvalidHeaderFields=False)
    assert {diagnostic.policy for diagnostic in security.check(violating)} == {"GH-ALB-003"}


def test_v2_tokens_are_evaluated_like_current_tokens(security: Pack, resilience: Pack) -> None:
    classes = ("Bucket", "BucketVersioning", "BucketLogging", "BucketLifecycleConfiguration")
    tokens = {f"aws:s3/{name[0].lower()}{name[1:]}:{name}": name for name in classes}
    program = retyped(
        s3(),
        lambda token: (
            f"{token.rpartition(':')[0]}V2:{tokens[token]}V2" if token in tokens else token
        ),
    )

    # GH-PUL-004 reports the deprecated types.
    assert {
        diagnostic.policy for diagnostic in (*security.check(program), *resilience.check(program))
    } == {"GH-PUL-004"}
    assert {
        diagnostic.policy for diagnostic in security.check(without(program, "files-block"))
    } == {"GH-S3-001"}


def test_topic_key_with_encryption_context_passes(security: Pack) -> None:
    topic = f"arn:aws:sns:eu-west-1:{ACCOUNT}:alarms"
    policy = events_key_policy(StringEquals={"kms:EncryptionContext:aws:sns:topicArn": topic})

    assert security.check(changed(watch(), "key", policy=policy)) == []


def test_account_without_anomaly_monitor_passes(security: Pack, resilience: Pack) -> None:
    program = without(account(), "anomalies", "anomaly-mails")

    assert check((security, resilience), program) == []


@pytest.mark.parametrize("manager", ["external", "gatehouse/shared"])
def test_guards_managed_elsewhere_are_not_required(
    manager: str, security: Pack, resilience: Pack
) -> None:
    guards = ("account-block", "recorder", "detector", "hub", "analyzer", "ebs-encryption")
    program = without(account(accountGuards=manager), *guards)

    diagnostics = check((security, resilience), program)
    assert {diagnostic.policy for diagnostic in diagnostics} == REMINDERS


def test_replication_after_versioning_of_both_buckets_passes(
    security: Pack, resilience: Pack
) -> None:
    program = violations_storage.replicated("files-versioning", "sink-versioning")

    assert check((security, resilience), program) == []


@pytest.mark.parametrize(
    ("allowed", "violations"), [((), 0), (("acme/gateway",), 0), (("acme/website",), 1)]
)
def test_github_trust_is_limited_to_listed_repositories(
    allowed: tuple[str, ...], violations: int
) -> None:
    inputs = {"assumeRolePolicy": violations_account.trust_of_repository("acme/gateway")}
    role = Resource(
        "urn", "aws:iam/role:Role", "deployer", Properties(inputs), lists={"repositories": allowed}
    )

    assert len(evaluate(catalogue.rule("GH-IAM-005"), role, Stack([role])).violations) == violations
