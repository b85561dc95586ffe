"""Rules for Secrets Manager."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    resource_documents,
)
from gatehouse_policies.analysis.properties import AnyCase, is_unknown
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.schedules import longest_gap_days
from gatehouse_policies.analysis.secret_detection import looks_secret, name_indicates_secret
from gatehouse_policies.analysis.type_tokens import aws, by_token
from gatehouse_policies.engine.requirements import (
    allows_known_accounts,
    for_types,
    has_resource,
    is_at_least,
    is_customer_key,
    is_not_set,
    is_true,
    sets_no_secret,
    where,
)
from gatehouse_policies.engine.rule import (
    CheckResults,
    Severity,
    Undecided,
    levels,
    resource_rule,
    stack_rule,
)
from gatehouse_policies.lists import name_set

_GUIDE = "https://docs.aws.amazon.com/secretsmanager/latest/userguide"


secret_uses_customer_key = resource_rule(
    "GH-SM-001",
    title="Secrets and their replicas are encrypted with a customer managed key",
    types=aws("secretsmanager.Secret"),
    upstream="CKV_AWS_149",
    url=f"{_GUIDE}/security-encryption.html",
).requires(is_customer_key("kmsKeyId"), is_customer_key("replicas[].kmsKeyId"))


rotation_is_enabled = stack_rule(
    "GH-SM-002",
    title="Secrets rotate automatically",
    types=aws("secretsmanager.Secret"),
    upstream="SecretsManager.1 CKV2_AWS_57 SMG4",
    url=f"{_GUIDE}/rotating-secrets.html",
).requires(
    has_resource(
        "secretsmanager.SecretRotation", "secretId", missing="the secret has no SecretRotation"
    )
)


@resource_rule(
    "GH-SM-003",
    title="Secrets rotate within the maximum period",
    remedy="set rotationRules.automaticallyAfterDays to at most the maximum for this environment",
    types=aws("secretsmanager.SecretRotation"),
    settings={"days_max": {"dev": 90, "staging": 90, "prod": 30}},
    upstream="SecretsManager.4 CKV_AWS_304",
    url=f"{_GUIDE}/rotate-secrets_schedule.html",
)
def rotation_is_frequent(rotation: Resource) -> CheckResults:
    rules = rotation.props.block("rotationRules")
    days = rules.number("automaticallyAfterDays")
    if rate := re.fullmatch(r"rate\((\d+) (hour|day)s?\)", rules.text("scheduleExpression")):
        days = int(rate[1]) / (24 if rate[2] == "hour" else 1)
    elif rules.has("scheduleExpression"):
        days = longest_gap_days(rules.text("scheduleExpression"))
    days_max = rotation.settings["days_max"]
    if not days:
        yield "rotationRules has neither automaticallyAfterDays nor scheduleExpression"
    elif days > days_max:
        yield f"the rotation period is longer than {days_max:g} days"


secret_policy_is_not_public = resource_rule(
    "GH-SM-004",
    title="Secret resource policies do not allow public or unknown cross-account access",
    severity=Severity.CRITICAL,
    types=aws("secretsmanager.SecretPolicy", "secretsmanager.Secret"),
    exemptible=False,
    lists=ACCOUNTS,
    upstream="2.21",
    url=f"{_GUIDE}/auth-and-access_resource-policies.html",
).requires(
    for_types(aws("secretsmanager.SecretPolicy"), is_true("blockPublicPolicy")),
    allows_known_accounts("policy", "the resource policy"),
)


@stack_rule(
    "GH-SM-007",
    title="Secrets have a resource policy that denies access to other principals",
    remedy=(
        "add an aws.secretsmanager.SecretPolicy that denies secretsmanager:GetSecretValue "
        "to all other principals"
    ),
    severity=Severity.LOW,
    types=aws("secretsmanager.Secret"),
    levels=levels("-", "A", "A"),
    url=f"{_GUIDE}/auth-and-access_resource-policies.html",
)
def secret_has_resource_policy(secret: Resource, stack: Stack) -> CheckResults:
    documents = resource_documents(secret, stack, aws("secretsmanager.SecretPolicy"), "secretArn")
    if not any(document.denies_everyone("secretsmanager:GetSecretValue") for document in documents):
        yield "no resource policy denies secretsmanager:GetSecretValue to other principals"


recovery_window_is_sufficient = resource_rule(
    "GH-SM-005",
    title="Secrets have a sufficient recovery window",
    types=aws("secretsmanager.Secret"),
    pack="resilience",
    settings={"days_min": {"dev": 0, "staging": 7, "prod": 30}},
    url=f"{_GUIDE}/manage_delete-secret.html",
).requires(is_at_least("recoveryWindowInDays", "days_min", 30))


program_sets_no_secret_value = resource_rule(
    "GH-SM-006",
    title="The program does not set secret values or key material",
    remedy=(
        "remove the value; let RDS manage the value, or create the value in the rotation "
        "function of the secret; import key material with the API of KMS"
    ),
    severity=Severity.CRITICAL,
    types=aws("secretsmanager.SecretVersion", "kms.ExternalKey", "kms.ReplicaExternalKey"),
    exemptible=False,
    url="https://www.pulumi.com/docs/iac/concepts/secrets/",
).requires(
    is_not_set("secretString"),
    is_not_set("secretBinary"),
    is_not_set("secretStringWo"),
    is_not_set("keyMaterialBase64"),
)


# Types with rules of their own on passwords.
_WITH_RULES = program_sets_no_secret_value.types + aws(
    "elasticache.ReplicationGroup",
    "rds.Cluster",
    "rds.Instance",
    "docdb.Cluster",
    "docdb.ElasticCluster",
    "redshift.Cluster",
    "redshiftserverless.Namespace",
)


program_sets_no_password = resource_rule(
    "GH-SM-009",
    title="The program does not set passwords, tokens and private keys of resources",
    remedy=(
        "refer to a secret in Secrets Manager, such as with secretsManagerArn of an "
        "aws.dms.Endpoint, or exempt the resource if AWS requires the value"
    ),
    severity=Severity.HIGH,
    types=(),
    levels=levels("A", "M", "M"),
    url="https://www.pulumi.com/docs/iac/concepts/secrets/",
).requires(
    where(
        lambda resource: resource.type.startswith("aws:") and resource.type not in _WITH_RULES,
        sets_no_secret(),
    )
)


# Properties with environment variables, arguments or options, keyed by resource type. GH-ECS-005,
# GH-EC2-005 and GH-LAM-003 evaluate tasks, instances and functions.
_SETTINGS = by_token(
    {
        "amplify.App": ("environmentVariables",),
        "amplify.Branch": ("environmentVariables",),
        "apprunner.Service": ("sourceConfiguration",),
        "batch.JobDefinition": ("containerProperties", "ecsProperties"),
        "codebuild.Project": ("environment",),
        "ecs.ExpressGatewayService": ("primaryContainer",),
        "elasticbeanstalk.Environment": ("settings",),
        "glue.Job": ("defaultArguments",),
        "sagemaker.Model": ("primaryContainer", "containers"),
    }
)
_BLOCKS = name_set(
    "environment environmentVariables runtimeEnvironmentVariables imageRepository "
    "imageConfiguration codeRepository codeConfiguration codeConfigurationValues"
)


@resource_rule(
    "GH-SM-008",
    title="Environments of builds, jobs and applications do not contain secrets",
    remedy="refer to a secret in Secrets Manager, or read the value from it at run time",
    severity=Severity.CRITICAL,
    types=tuple(_SETTINGS),
    lists={"harmless": ()},
    decided_by_name=r"\w+\.variables\.",
    upstream="CodeBuild.2",
    url="https://docs.aws.amazon.com/codebuild/latest/userguide/build-spec-ref.html",
)
def settings_have_no_secrets(resource: Resource) -> CheckResults:
    for prop in _SETTINGS[resource.type]:
        for name, value in _settings(resource.props.decoded(prop, AnyCase.of).value(prop)):
            if name in resource.lists["harmless"]:
                continue
            if is_unknown(name) or (is_unknown(value) and name in _BLOCKS):
                yield Undecided(f"{prop}[]")
            elif not is_unknown(value) and looks_secret(name, value):
                yield f"{prop} probably contains a secret in {name}"
            elif is_unknown(value) and name_indicates_secret(name):
                yield Undecided(f"{prop}.variables.{name}")


def _settings(value: Any) -> Iterator[tuple[str, str]]:
    """The names and values of the texts at any depth, except references to secrets."""
    if isinstance(value, list):
        for element in value:
            yield from ((element, ""),) if is_unknown(element) else _settings(element)
    elif isinstance(value, Mapping):
        if {"name", "value"} <= value.keys():
            is_plain = value.get("type", "PLAINTEXT") == "PLAINTEXT"
            value = {str(value["name"]): value["value"]} if is_plain else {}
        for name, inner in value.items():
            yield from ((name, inner),) if isinstance(inner, str) else _settings(inner)
