"""The own prod stack: compliant, tagged, in allowed Regions."""

import json
import re
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gatehouse_policies import configuration
from gatehouse_policies.analysis.properties import Properties, plain
from gatehouse_policies.analysis.resources import Resource, Stack, identifiers_of
from gatehouse_policies.catalogue import RULES, rule
from gatehouse_policies.engine.guard import Decision, evaluate
from gatehouse_policies.engine.rule import ENVIRONMENTS, Level, Rule

from pulumi_local import type_tokens, types
from sandbox.paths import REPOSITORY
from tests.components.program import COMPANY, RESTORED, TRANSIT
from tests.components.settings.stack_settings import DELIVERY, raw_settings
from tools.docs.deployments import deployed

CONFIGURED = configuration.read(Path(__file__).resolve().parents[3] / "policies.toml")
OWN_RULES = tuple(rule.configured(CONFIGURED.rules["prod"].get(rule.id, {})) for rule in RULES)
"""The rules with the lists of this repository."""
ADVISORY = {"GH-TAG-002"}
CHANGES: dict[str, dict[str, Any]] = {
    "container": {},
    "serverless": {"sharing.mode": "serverless", "sharing.api_gateway_log_role": True},
    "options": {
        "services.console.hosting": "cloudfront",
        "recovery.stack": "proddr",
        "delivery": DELIVERY,
        "monitoring.slack_channel": "T0123ABCD/C0123ABCD",
        "monitoring.pager_url": "https://events.pagerduty.com/integration/key/enqueue",
        "waf.console_networks": ["192.0.2.0/24", "2001:db8::/32"],
    },
    "restored": RESTORED,
    "company": COMPANY,
    "transit": TRANSIT,
}


def deployment(form: str) -> types.Deployment:
    changes = CHANGES[form]
    return deployed("prod", json.dumps(raw_settings("prod", changes)) if changes else "")


FORMS = pytest.mark.parametrize("form", CHANGES)
REMOVED: dict[str, Any] = {}
_STATEMENT = {"Sid": "Any", "Effect": "Allow", "Action": "*", "Resource": "*"}
_DATA = [{"field": "eventCategory", "equals": ["Data"]}]
ESSENTIAL: list[tuple[str, str, dict[str, Any]]] = [
    ("GH-S3-001", "s3.BucketPublicAccessBlock", {"blockPublicPolicy": False}),
    ("GH-S3-005", "s3.BucketServerSideEncryptionConfiguration", REMOVED),
    ("GH-S3-007", "s3.BucketVersioning", {"versioningConfiguration": {"status": "Disabled"}}),
    ("GH-S3-008", "s3.BucketLifecycleConfiguration", REMOVED),
    ("GH-S3-010", "s3.BucketLogging", REMOVED),
    ("GH-RDS-001", "rds.Instance", {"publiclyAccessible": True}),
    ("GH-RDS-002", "rds.Instance", {"storageEncrypted": False}),
    ("GH-RDS-003", "rds.Instance", {"backupRetentionPeriod": 0}),
    ("GH-RDS-012", "rds.Instance", {"manageMasterUserPassword": False}),
    ("GH-EC-002", "elasticache.ReplicationGroup", {"transitEncryptionEnabled": False}),
    ("GH-DDB-001", "dynamodb.Table", {"pointInTimeRecovery": {"enabled": False}}),
    ("GH-KMS-001", "kms.Key", {"enableKeyRotation": False}),
    ("GH-IAM-001", "iam.RolePolicy", {"policy": json.dumps({"Statement": [_STATEMENT]})}),
    ("GH-ALB-002", "lb.Listener", {"sslPolicy": "other"}),
    ("GH-ALB-008", "wafv2.WebAclAssociation", REMOVED),
    ("GH-CT-001", "cloudtrail.Trail", {"enableLogging": False}),
    ("GH-CT-003", "cloudtrail.Trail", {"enableLogFileValidation": False}),
    ("GH-CT-007", "cloudtrail.Trail", {"advancedEventSelectors": [{"fieldSelectors": _DATA}]}),
    ("GH-BAK-003", "backup.Plan", {"rules": []}),
    ("GH-BAK-004", "backup.Selection", REMOVED),
    ("GH-PUL-006", "backup.Vault", {"kmsKeyArn": "arn:aws:kms:eu-west-1:999999999999:key/x"}),
    ("GH-ECR-001", "ecr.Repository", {"imageScanningConfiguration": {"scanOnPush": False}}),
]
"""A control, the class of a resource, and its changed properties, or REMOVED for the resource."""


@cache
def decisions(form: str) -> dict[tuple[str, str], Decision]:
    """Decision per rule and resource, with known outputs and the parameters of prod."""
    stack = Stack(resources(deployment(form)))
    return {
        (rule.id, resource.name): evaluated(rule, resource, stack)
        for rule in OWN_RULES
        for resource in stack
        if not rule.types or resource.type in rule.types
    }


def resources(deployment: types.Deployment) -> list[Resource]:
    inputs = {
        resource.registration.urn: plain(resource.registration.inputs)
        for resource in deployment.resources
    }
    root = Resource(
        deployment.stack_urn,
        type_tokens.STACK,
        "gatehouse-prod",
        Properties(plain(deployment.exports)),
    )
    return [root, *(resource(item, inputs) for item in deployment.resources)]


def resource(item: types.Resource, inputs: dict[str, dict[str, Any]]) -> Resource:
    """The resource after a deployment: the program's inputs with their actual values."""
    registration = item.registration
    provider = inputs.get(registration.provider.rpartition("::")[0])
    outputs = plain(item.outputs)
    properties = {
        key: outputs.get(key, value)
        for key, value in inputs[registration.urn].items()
        if not key.startswith("__")
    }
    return Resource(
        urn=registration.urn,
        type=registration.type,
        name=registration.name,
        props=Properties(properties),
        identifiers=identifiers_of({**outputs, "id": item.id}),
        protect=registration.protect,
        parent=registration.parent,
        property_dependencies=dict(registration.property_dependencies),
        dependencies=registration.dependencies,
        provider=Properties(provider, "provider") if provider else None,
    )


@FORMS
def test_only_advisory_rules_are_violated(form: str) -> None:
    assert {id for (id, _), decision in decisions(form).items() if decision.violations} == ADVISORY
    levels = {rule(id).level(environment) for id in ADVISORY for environment in ENVIRONMENTS}
    assert levels <= {Level.ADVISORY, Level.DISABLED}


@FORMS
def test_every_rule_is_decided(form: str) -> None:
    results = decisions(form)
    assert len(results) > 500
    assert [
        key
        for key, decision in results.items()
        if decision.broken or decision.undecided or decision.allowed
    ] == []


@pytest.mark.parametrize(("control", "resource_class", "change"), ESSENTIAL)
def test_essential_weakening_is_reported(
    control: str, resource_class: str, change: dict[str, Any]
) -> None:
    stack = resources(deployment("container"))
    changed = [item for item in stack if item.type in type_tokens.aws(resource_class)]
    assert changed
    assert any(violating(control, weakened(stack, item, change)) for item in changed)


@pytest.mark.parametrize(
    ("purpose", "control"),
    [
        ("log-sink", "GH-S3-020"),
        ("trail", "GH-S3-014"),
        ("ephemeral", "GH-S3-018"),
        ("static-files", "GH-TAG-002"),
    ],
)
def test_tag_that_excludes_resources_from_rules_is_reported(purpose: str, control: str) -> None:
    stack = resources(deployment("container"))
    buckets = (item for item in stack if item.type in type_tokens.aws("s3.Bucket"))
    (data,) = (item for item in buckets if item.name == "data")
    tags = {**data.props.value("tags"), "gatehouse:purpose": purpose}
    assert "data" in violating(control, weakened(stack, data, {"tags": tags}))


def weakened(stack: list[Resource], item: Resource, change: dict[str, Any]) -> Stack:
    """The stack with a resource whose properties are changed, or without it."""
    if change is REMOVED:
        return Stack(other for other in stack if other is not item)
    values = {name: item.props.value(name) for name in item.props.names()} | change
    references = {
        name: urns for name, urns in item.property_dependencies.items() if name not in change
    }
    result = replace(item, props=Properties(values), property_dependencies=references)
    return Stack(result if other is item else other for other in stack)


def violating(control: str, stack: Stack) -> set[str]:
    """Names of the resources that violate a control, or for which it is undecided."""
    (each,) = (row for row in OWN_RULES if row.id == control)
    return {
        item.name
        for item in stack
        if not each.types or item.type in each.types
        if (decision := evaluated(each, item, stack)).violations or decision.undecided
    }


def evaluated(each: Rule, item: Resource, stack: Stack) -> Decision:
    return evaluate(each, replace(item, settings=each.defaults("prod"), lists=each.lists), stack)


def test_profile_small_accepts_the_controls_of_its_page() -> None:
    (block,) = re.findall(r"```toml\n(.+?)```", (REPOSITORY / "docs/costs.md").read_text(), re.S)
    settings = json.dumps(raw_settings("dev", {"profile": "small"}))
    stack = Stack(resources(deployed("dev", settings)))
    violated = {
        each.id
        for each in (row.configured(CONFIGURED.rules["dev"].get(row.id, {})) for row in RULES)
        if each.level("dev") is Level.MANDATORY
        for resource in stack
        if not each.types or resource.type in each.types
        if evaluate(
            each, replace(resource, settings=each.defaults("dev"), lists=each.lists), stack
        ).violations
    }
    assert violated == set(tomllib.loads(block)["levels"]["dev"])


def test_default_tags_are_the_required_tags() -> None:
    providers = [
        props
        for props in map(provider_inputs, resources(deployment("container")))
        if props is not None
    ]
    assert providers
    for props in providers:
        assert set(props.decoded("defaultTags").block("defaultTags").block("tags").names()) == set(
            CONFIGURED.rules["prod"]["GH-TAG-001"]["tags"]
        )


def test_regions_are_allowed() -> None:
    regions = {
        resource.props.text("region")
        for resource in resources(deployment("container"))
        if resource.props.has("region")
    }
    assert len(regions) == 2
    assert regions <= set(CONFIGURED.rules["prod"]["GH-PUL-003"]["regions"])


def provider_inputs(resource: Resource) -> Properties | None:
    return resource.props if resource.type == type_tokens.AWS_PROVIDER else None
