"""Rules for Secrets Manager."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pulumi_local.lists import name_set
from pulumi_local.type_tokens import AWS_PROVIDER, aws

from gatehouse_policies.analysis.policy_holders import ACCOUNTS, resource_documents
from gatehouse_policies.analysis.properties import is_unknown
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.schedules import longest_gap_days
from gatehouse_policies.analysis.secret_detection import (
    ENVIRONMENT,
    is_placeholder,
    looks_secret,
    name_indicates_secret,
)
from gatehouse_policies.engine.requirements import (
    allows_known_accounts,
    for_types,
    has_resource,
    is_at_least,
    is_customer_key,
    is_true,
    sets_no_secret,
)
from gatehouse_policies.engine.rule import (
    CheckResults,
    Undecided,
    Violation,
    resource_rule,
    stack_rule,
)

secret_uses_customer_key = resource_rule("GH-SM-001", types=aws("secretsmanager.Secret")).requires(
    is_customer_key("kmsKeyId"), is_customer_key("replicas[].kmsKeyId")
)


rotation_is_enabled = stack_rule("GH-SM-002", types=aws("secretsmanager.Secret")).requires(
    has_resource(
        "secretsmanager.SecretRotation", "secretId", missing="the secret has no SecretRotation"
    )
)


@resource_rule(
    "GH-SM-003",
    types=aws("secretsmanager.SecretRotation"),
    settings={"days_max": {"dev": 90, "staging": 90, "prod": 35}},
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
    types=aws("secretsmanager.SecretPolicy", "secretsmanager.Secret"),
    exemptible=False,
    lists=ACCOUNTS,
).requires(
    for_types(aws("secretsmanager.SecretPolicy"), is_true("blockPublicPolicy")),
    allows_known_accounts("policy", "the resource policy"),
)


@stack_rule("GH-SM-007", strict=True, types=aws("secretsmanager.Secret"))
def secret_has_resource_policy(secret: Resource, stack: Stack) -> CheckResults:
    documents = resource_documents(secret, stack, aws("secretsmanager.SecretPolicy"), "secretArn")
    if not any(document.denies_everyone("secretsmanager:GetSecretValue") for document in documents):
        yield "no resource policy denies secretsmanager:GetSecretValue to other principals"


recovery_window_is_sufficient = resource_rule(
    "GH-SM-005",
    types=aws("secretsmanager.Secret"),
    settings={"days_min": {"dev": 0, "staging": 7, "prod": 30}},
).requires(is_at_least("recoveryWindowInDays", "days_min", 30))


@resource_rule(
    "GH-SM-006",
    types=aws("secretsmanager.SecretVersion", "kms.ExternalKey", "kms.ReplicaExternalKey"),
    exemptible=False,
)
def program_sets_no_secret_value(holder: Resource) -> CheckResults:
    for prop in ("secretString", "secretBinary", "secretStringWo", "keyMaterialBase64"):
        if not holder.props.has(prop):
            continue
        if not holder.props.known(prop):
            # Pulumi encrypts encrypted configuration and secret outputs in the state as well.
            message = f"{prop} is set by the program to an unknown value"
            yield Violation(message, severity="medium")
        elif not (prop in holder.ignored and is_placeholder(holder.props.text(prop))):
            yield f"{prop} is set by the program"


# Types with rules of their own on passwords.
_WITH_RULES = program_sets_no_secret_value.types + aws(
    "elasticache.ReplicationGroup", "rds.Cluster", "rds.Instance"
)


program_sets_no_password = resource_rule("GH-SM-009", types=()).requires(
    sets_no_secret(),
    when=lambda resource: (
        resource.type.startswith(("aws:", AWS_PROVIDER))
        and resource.type not in _WITH_RULES
        and resource.props.known_text("authType") != "SECRET_ARN"  # Amazon DocumentDB
    ),
)


# Blocks of pulumi-aws that contain environments at any depth, and text.
# tests/policies/test_catalogue.py compares them with the schema.
ENVIRONMENT_BLOCKS = name_set(
    "applicationConfiguration autoBranchCreationConfig batchJobParameters buildSpec buildspec "
    "canarySettings "
    "codeConfiguration codeConfigurationValues codeEditorAppImageConfig codeRepository "
    "containerConfig containerDefinitions containerOverrides containerProperties containers "
    "dataQualityAppSpecification definition ecsProperties ecsTaskParameters eksProperties "
    "imageConfiguration imageRepository inferenceSpecification initContainers input "
    "jupyterLabImageConfig monitoringJobDefinition monitoringScheduleConfig nodeProperties origins "
    "overrides podProperties primaryContainer runConfig settings sourceConfiguration "
    "targetParameters trainingJobDefinition trainingJobDefinitions transformJobDefinition "
    "validationProfiles validationSpecification"
)


@resource_rule(
    "GH-SM-008",
    types=(),
    lists={"harmless": ()},
    unknown_allowed=dict.fromkeys(
        ("buildSpec", "definition", "input", "source.buildspec", "target.input"),
        "the value contains ARNs that AWS assigns to other resources",
    ),
    decided_by_name=r".+\.variables\.",
)
def settings_have_no_secrets(resource: Resource) -> CheckResults:
    # GH-ECS-005 and GH-LAM-003 evaluate tasks and functions.
    evaluated = aws("ecs.TaskDefinition", "lambda.Function")
    if not resource.type.startswith("aws:") or resource.type in evaluated:
        return
    for path, environment in _environments(resource.props.plain(), "", {}):
        is_block = isinstance(environment, list | Mapping)
        for name, value in _settings(environment, {}) if is_block else (("", environment),):
            if name in resource.lists["harmless"]:
                continue
            if is_unknown(name) or (is_unknown(value) and (not name or name in ENVIRONMENT_BLOCKS)):
                yield Undecided(path)
            elif is_unknown(value):
                if name_indicates_secret(name):
                    yield Undecided(f"{path}.variables.{name}")
            elif name and looks_secret(name, value) and not _MAPPED.match(value):
                yield f"{path} probably contains a secret in {name}"


# A part of the request that API Gateway forwards.
_MAPPED = re.compile(r"\$?(context|method|request|stageVariables)\.")


def _environments(value: Any, path: str, seen: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    """The path and value of the environments at any depth, also in JSON text and build
    specifications, and the unknown blocks that can contain one.

    seen: lists and mappings that were evaluated, by identity. An alias in YAML is the same object.
    """
    if is_unknown(value):
        if path.rpartition(".")[2].partition("[")[0] in ENVIRONMENT_BLOCKS:
            yield path, value
    elif isinstance(value, str):
        decoded = _decoded(value, path)
        if isinstance(decoded, list | Mapping):
            yield from _environments(decoded, path, seen)
    elif id(value) in seen:
        return
    elif isinstance(value, list):
        seen[id(value)] = value
        for index, element in enumerate(value):
            yield from _environments(element, f"{path}[{index}]", seen)
    elif isinstance(value, Mapping):
        seen[id(value)] = value
        for key, inner in value.items():
            location = f"{path}.{key}" if path else key
            inner = (isinstance(inner, str) and _decoded(inner, location)) or inner
            nested = isinstance(inner, Mapping) and any(map(ENVIRONMENT.fullmatch, inner))
            options = key == "settings" and isinstance(inner, list)  # AWS Elastic Beanstalk
            if options or (ENVIRONMENT.fullmatch(key) and not nested):
                yield location, inner
            else:
                yield from _environments(inner, location, seen)


def _decoded(text: str, path: str) -> Any:
    """The value of JSON text, or of a build specification in YAML; None for other text."""
    is_json = text.lstrip()[:1] in ("{", "[")
    if not is_json and not path.lower().endswith("buildspec"):
        return None
    try:
        return json.loads(text) if is_json else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError):
        return None


def _settings(value: Any, seen: dict[int, Any]) -> Iterator[tuple[str, str]]:
    """The names and values of the texts at any depth, except references to secrets. seen: as for
    `_environments`.
    """
    if id(value) in seen:
        return
    seen[id(value)] = value
    if isinstance(value, list):
        for element in value:
            yield from ((element, ""),) if is_unknown(element) else _settings(element, seen)
    elif isinstance(value, Mapping):
        lower = {key.lower(): inner for key, inner in value.items()}
        if {"name", "value"} <= lower.keys():
            is_plain = lower.get("type", "PLAINTEXT") == "PLAINTEXT"
            value = {str(lower["name"]): lower["value"]} if is_plain else {}
        for name, inner in value.items():
            yield from ((name, inner),) if isinstance(inner, str) else _settings(inner, seen)
