"""Policy documents of roles, keys, buckets, secrets and endpoints."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from components.contract import Stack
from components.encryption.kms_keys import KEYS, KmsKeysArgs
from components.iam import resource_policies
from components.iam.backup_roles import key_statements
from components.iam.key_policies import ADMINISTER, key_policy
from components.iam.role_policies import (
    RoleDefinition,
    role_definitions,
    secret_readers,
    table_users,
)
from components.network import vpc_endpoints
from components.settings.data import KmsKeysSettings, ProtectionSettings
from components.settings.loader import parse
from tests.components.settings.stack_settings import raw_settings

STACK = Stack.of(parse(raw_settings("dev"), "dev"))
NAMES, CONTRACT = STACK.names, STACK.contract
REPLICA_NAMES = NAMES.in_region("eu-central-1")
GRANTS = role_definitions(STACK)
KEY_ARGS = KmsKeysArgs(
    names=NAMES,
    kms_keys=KmsKeysSettings(rotation_days=365, deletion_window_days=7),
    protection=ProtectionSettings(protect=False, retain_on_delete=False),
    secret_readers=secret_readers(NAMES, CONTRACT),
    table_roles=table_users(CONTRACT),
    rotation_role="rotate",
    log_groups=("/gatehouse/dev/gateway",),
    role_arns={},
    signing_roles=("console-task",),
    additional_statements={
        **key_statements(
            NAMES, replication_region=REPLICA_NAMES.region, replica_region=REPLICA_NAMES.region
        ),
        "logs": resource_policies.notification_key_statements(NAMES),
    },
    replica_region=REPLICA_NAMES.region,
)
BUCKET = NAMES.bucket("data")


def statements(document: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [] if document is None else list(document["Statement"])


def allowed(role: str) -> list[dict[str, Any]]:
    return statements(GRANTS[role].permissions)


def actions(role: str) -> set[str]:
    return {action for statement in allowed(role) for action in statement["Action"]}


def every_permission() -> Iterator[tuple[str, dict[str, Any]]]:
    for role in GRANTS:
        for statement in allowed(role):
            yield role, statement


def key(name: str) -> list[dict[str, Any]]:
    return statements(key_policy(name, KEY_ARGS))


def by_sid(rows: list[dict[str, Any]], sid: str) -> dict[str, Any]:
    (row,) = (row for row in rows if row["Sid"] == sid)
    return row


@pytest.mark.requirement("CG-18")
def test_wildcard_resources_only_for_unscoped_actions() -> None:
    unscoped = {
        action for _, s in every_permission() if "*" in s["Resource"] for action in s["Action"]
    }
    describe = {
        f"elasticloadbalancing:Describe{name}"
        for name in ("Listeners", "Rules", "TargetGroups", "TargetHealth")
    }
    assert unscoped == {
        "ecr:GetAuthorizationToken",
        "xray:PutTraceSegments",
        "xray:PutTelemetryRecords",
        *describe,
    }


def test_roles_have_no_wildcard_and_no_kms_action() -> None:
    assert not [
        (role, a)
        for role, s in every_permission()
        for a in s["Action"]
        if "*" in a or a.startswith("kms:")
    ]


def test_permissions_are_limited_to_account_and_region() -> None:
    permissions = list(every_permission())
    assert permissions
    for role, statement in permissions:
        for resource in statement["Resource"]:
            # The ARN of a bucket contains neither region nor account; its name ends in both.
            scoped = ":eu-west-1:123456789012:" in resource or re.search(
                "-123456789012-eu-west-1(/|$)", resource
            )
            assert resource == "*" or scoped, (role, resource)


@pytest.mark.requirement("ECS-01")
@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("gateway-task", {"rds-db:connect", "elasticache:Connect"}),
        (
            "console-task",
            {
                *("rds-db:connect", "elasticache:Connect", "s3:GetObject", "s3:PutObject"),
                *(
                    f"dynamodb:{name}"
                    for name in ("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "Query")
                ),
                *(f"s3:{name}" for name in ("GetObjectVersion", "DeleteObjectVersion")),
                "s3:ListBucketVersions",
            },
        ),
        ("migrate-task", {"rds-db:connect"}),
    ],
)
def test_task_role_has_exactly_the_expected_actions(role: str, expected: set[str]) -> None:
    assert actions(role) == expected


@pytest.mark.parametrize(("role", "grant"), list(GRANTS.items()))
def test_service_trust_requires_documented_source(role: str, grant: RoleDefinition) -> None:
    """Only these services document a trust policy with a source condition."""
    with_source = {
        f"{service}.amazonaws.com" for service in ("ecs-tasks", "vpc-flow-logs", "monitoring.rds")
    }
    (statement,) = statements(grant.trust_policy)
    condition = statement.get("Condition", {})
    expected = (
        {"aws:SourceAccount": "123456789012"}
        if statement["Principal"]["Service"] in with_source
        else {}
    )
    assert condition.get("StringEquals", {}) == expected, role
    assert bool(condition) == bool(expected), role


@pytest.mark.requirement("CG-17")
@pytest.mark.parametrize("name", ["data", "secrets", "logs", "backup", "audit"])
def test_key_administration_and_use_are_separate(name: str) -> None:
    crypto = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt", "kms:GenerateDataKey")
    administration = by_sid(key(name), "AllowAccountAdministration")
    assert not [a for a in administration["Action"] if a.startswith(crypto)]
    for statement in key(name):
        assert "kms:*" not in statement["Action"]
        if statement is not administration and statement["Sid"] != "AllowAccountAdministration":
            assert not set(statement["Action"]) & (set(ADMINISTER) - {"kms:DescribeKey"})
            assert statement["Condition"], statement["Sid"]


@pytest.mark.parametrize("name", ["data", "secrets", "logs", "backup"])
def test_key_use_requires_service_or_encryption_context(name: str) -> None:
    uses = [
        statement
        for statement in key(name)
        if "AWS" in statement["Principal"] and "kms:Decrypt" in statement["Action"]
    ]
    assert uses
    for statement in uses:
        equals = statement["Condition"]["StringEquals"]
        context = any(k.startswith("kms:EncryptionContext:") for k in equals)
        assert "kms:ViaService" in equals or context, statement["Sid"]
        assert equals["kms:CallerAccount"] == "123456789012"


@pytest.mark.requirement("ECS-03")
def test_vpc_endpoints_allow_own_principals_only() -> None:
    policies = {
        **vpc_endpoints.interface_policies(NAMES),
        "s3": vpc_endpoints.s3_policy(NAMES, (BUCKET,)),
        "dynamodb": vpc_endpoints.dynamodb_policy(NAMES),
    }
    assert set(policies) == {
        *("s3", "dynamodb", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms", "sts")
    }
    for name, policy in policies.items():
        for statement in statements(policy):
            assert "*" not in statement["Action"], name
            if statement["Sid"] != "ImageLayers":
                assert (
                    statement["Condition"]["StringEquals"]["aws:PrincipalAccount"] == "123456789012"
                )


def test_policy_documents_are_within_size_limits() -> None:
    sizes = {
        role: len(json.dumps(g.permissions or {}, separators=(",", ":")))
        for role, g in GRANTS.items()
    }
    assert max(sizes.values()) <= 10_240, "inline policies of one role"
    assert all(len(json.dumps(key_policy(name, KEY_ARGS))) <= 32_768 for name in KEYS)
    assert all(
        len(json.dumps(p)) <= 20_480 for p in vpc_endpoints.interface_policies(NAMES).values()
    )
