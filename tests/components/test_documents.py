"""What roles, keys, buckets, secrets and endpoints allow, read from the documents as AWS will."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.contract import read
from components.encryption.kms_keys import KEYS, KmsKeysArgs
from components.iam import bucket_policies, endpoint_policies, resource_policies
from components.iam.backup_roles import key_statements
from components.iam.key_policies import ADMINISTER, key_policy
from components.iam.resource_policies import queue_policy, secret_policy
from components.iam.role_policies import RoleDefinition, readers_of, role_definitions, secret_readers, table_users
from components.naming import Naming
from components.settings.data import KmsKeysSettings, ProtectionSettings

NAMES = Naming("dev", "123456789012", "eu-west-1")
AWAY = replace(NAMES, region="eu-central-1")
CONTRACT = read()
GRANTS = role_definitions(NAMES, CONTRACT)
KEYRING = KmsKeysArgs(
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
        **key_statements(NAMES, replication_region=AWAY.region, replica_region=AWAY.region),
        "logs": resource_policies.notification_key_statements(NAMES),
    },
    replica_region=AWAY.region,
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
    return statements(key_policy(name, KEYRING))


def sid(found: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    (one,) = (statement for statement in found if statement["Sid"] == wanted)
    return one


@pytest.mark.requirement("CG-18")
def test_the_only_permissions_on_everything_are_those_that_aws_does_not_narrow() -> None:
    wide = {action for _, s in every_permission() if "*" in s["Resource"] for action in s["Action"]}
    looks = {f"elasticloadbalancing:Describe{what}" for what in ("Listeners", "Rules", "TargetGroups", "TargetHealth")}
    assert wide == {"ecr:GetAuthorizationToken", "xray:PutTraceSegments", "xray:PutTelemetryRecords", *looks}


def test_no_role_has_a_wildcard_action() -> None:
    assert not [(role, a) for role, s in every_permission() for a in s["Action"] if "*" in a]


def test_no_identity_policy_grants_anything_on_a_key() -> None:
    assert not [(role, a) for role, s in every_permission() for a in s["Action"] if a.startswith("kms:")]


def test_every_permission_is_in_our_account_and_region() -> None:
    for role, statement in every_permission():
        for resource in statement["Resource"]:
            # A bucket's ARN has neither part; its name ends in both.
            ours = ":eu-west-1:123456789012:" in resource or "-123456789012-eu-west-1/" in resource
            assert resource == "*" or ours, (role, resource)


@pytest.mark.requirement("ECS-01")
@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("gateway-task", {"rds-db:connect", "elasticache:Connect"}),
        ("console-task", {"rds-db:connect", "elasticache:Connect", "dynamodb:GetItem", "s3:PutObject"}),
        ("migrate-task", set()),
    ],
)
def test_an_application_may_do_exactly_what_it_needs(role: str, expected: set[str]) -> None:
    assert actions(role) == expected


def test_each_process_is_started_with_its_own_secrets_only() -> None:
    gateway = sid(allowed("gateway-execution"), "InjectSecrets")["Resource"]
    console = sid(allowed("console-execution"), "InjectSecrets")["Resource"]
    assert gateway == [NAMES.secret_arn("pepper")]
    assert set(console) == {NAMES.secret_arn(kind) for kind in ("pepper", "session-key", "bootstrap-token")}


def test_the_migration_reads_the_password_of_our_database_only() -> None:
    statement = sid(allowed("migrate-execution"), "InjectManagedSecrets")
    tag = "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn"
    assert statement["Condition"] == {"StringEquals": {tag: NAMES.database_arn}}


def test_the_rotation_touches_the_secrets_it_makes_its_log_its_queue_and_its_traces() -> None:
    assert {resource for s in allowed("rotate") for resource in s["Resource"]} == {
        *(NAMES.secret_arn(kind) for kind in ("pepper", "session-key", "bootstrap-token")),
        f"{NAMES.log_group_arn('/gatehouse/dev/rotate')}:*",
        "arn:aws:sqs:eu-west-1:123456789012:gatehouse-dev-rotate-failed",
        "*",
    }


def test_failed_rotations_are_written_by_the_function_alone_and_over_tls() -> None:
    tls, ours, write = statements(queue_policy(NAMES, "rotate-failed", "rotate"))
    assert (tls["Effect"], tls["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    assert (ours["Effect"], ours["Condition"]) == ("Deny", {"StringNotEquals": {"aws:PrincipalAccount": "123456789012"}})
    assert (write["Principal"], write["Action"]) == ({"AWS": NAMES.role_arn("rotate")}, ["sqs:SendMessage"])


@pytest.mark.parametrize(("role", "grant"), [(r, g) for r, g in GRANTS.items() if r != "trail-log"])
def test_a_role_is_taken_for_our_account_alone(role: str, grant: RoleDefinition) -> None:
    (statement,) = statements(grant.trust_policy)
    assert statement["Principal"]["Service"].endswith(".amazonaws.com"), role
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "123456789012"}


def test_the_trail_role_has_no_condition_because_cloudtrail_sends_none() -> None:
    (statement,) = statements(GRANTS["trail-log"].trust_policy)
    assert "Condition" not in statement
    assert actions("trail-log") == {"logs:CreateLogStream", "logs:PutLogEvents"}


@pytest.mark.requirement("CG-17")
@pytest.mark.parametrize("name", ["data", "secrets", "logs", "backup", "audit"])
def test_a_key_is_administered_and_used_by_different_statements(name: str) -> None:
    crypto = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt", "kms:GenerateDataKey")
    administration = sid(key(name), "AllowAccountAdministration")
    assert not [a for a in administration["Action"] if a.startswith(crypto)]
    for statement in key(name):
        assert "kms:*" not in statement["Action"]
        if statement is not administration and statement["Sid"] != "AllowAccountAdministration":
            assert not set(statement["Action"]) & (set(ADMINISTER) - {"kms:DescribeKey"})
            assert statement["Condition"], statement["Sid"]


@pytest.mark.parametrize("name", ["data", "secrets", "logs", "backup"])
def test_nobody_uses_a_key_without_a_service_in_between(name: str) -> None:
    for statement in key(name):
        if "AWS" in statement["Principal"] and "kms:Decrypt" in statement["Action"]:
            equals = statement["Condition"]["StringEquals"]
            context = any(k.startswith("kms:EncryptionContext:") for k in equals)
            assert "kms:ViaService" in equals or context, statement["Sid"]
            assert equals["kms:CallerAccount"] == "123456789012"


def test_each_secret_is_decrypted_for_those_who_are_given_it() -> None:
    for secret, roles in KEYRING.secret_readers.items():
        (statement,) = (
            s
            for s in key("secrets")
            if s["Sid"].startswith("ReadSecret") and s["Condition"]["StringLike"]["kms:EncryptionContext:SecretARN"] == secret
        )
        assert statement["Principal"] == {"AWS": [NAMES.role_arn(role) for role in roles]}
        assert statement["Action"] == ["kms:Decrypt"]


def test_the_log_service_uses_the_key_for_our_log_groups_only() -> None:
    condition = sid(key("logs"), "LogGroups")["Condition"]["ArnLike"]
    assert condition == {"kms:EncryptionContext:aws:logs:arn": [NAMES.log_group_arn("/gatehouse/dev/gateway")]}


def test_a_new_log_group_is_unknown_to_the_key_until_it_is_named() -> None:
    more = replace(KEYRING, log_groups=("/a", "/b"))
    condition = sid(statements(key_policy("logs", more)), "LogGroups")["Condition"]["ArnLike"]
    assert len(condition["kms:EncryptionContext:aws:logs:arn"]) == 2


@pytest.mark.requirement("CG-16", "ECS-02")
@pytest.mark.parametrize(
    ("wanted", "condition"),
    [
        ("DenyInsecureTransport", {"Bool": {"aws:SecureTransport": "false"}}),
        ("DenyOutdatedTls", {"NumericLessThan": {"s3:TlsVersion": "1.2"}}),
        ("DenyCustomerProvidedKeys", {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}),
    ],
)
def test_every_bucket_refuses(wanted: str, condition: dict[str, Any]) -> None:
    for keyed in (True, False):
        statement = sid(statements(bucket_policies.bucket_policy(NAMES, BUCKET, encrypted_by_key=keyed)), wanted)
        assert statement["Effect"] == "Deny"
        assert statement["Principal"] == "*"
        assert statement["Condition"] == condition


def test_a_writer_cannot_choose_another_key() -> None:
    found = statements(bucket_policies.bucket_policy(NAMES, BUCKET, encrypted_by_key=True))
    headers = {"s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-server-side-encryption"}
    denied = {header for s in found if s["Effect"] == "Deny" for header in s["Condition"].get("Null", {})}
    assert headers <= denied


def test_a_bucket_policy_lets_in_nobody_but_named_services() -> None:
    sink = bucket_policies.bucket_policy(
        NAMES,
        BUCKET,
        encrypted_by_key=False,
        writers=(
            *bucket_policies.access_log_writers(NAMES, BUCKET, ("a",)),
            *bucket_policies.load_balancer_log_writers(NAMES, BUCKET, ("edge-access",)),
            *bucket_policies.trail_writers(NAMES, BUCKET),
        ),
    )
    for statement in (s for s in statements(sink) if s["Effect"] == "Allow"):
        assert set(statement["Principal"]) == {"Service"}
        keys = {k for operator in statement["Condition"].values() for k in operator}
        assert "aws:SourceArn" in keys


def test_a_secret_is_read_by_those_who_need_it_and_by_nobody_else() -> None:
    readers = readers_of(NAMES, CONTRACT, "pepper", ("arn:aws:iam::123456789012:role/ops",))
    assert readers == tuple(NAMES.role_arn(role) for role in ("rotate", "gateway-execution", "console-execution"))
    statement = sid(statements(secret_policy(NAMES, readers)), "DenyOtherReaders")
    assert statement["Condition"] == {"ArnNotLike": {"aws:PrincipalArn": list(readers)}}


def test_only_the_bootstrap_token_is_read_by_people() -> None:
    operator = "arn:aws:iam::123456789012:role/ops"
    readable = [kind for kind in CONTRACT.rotated_secrets if operator in readers_of(NAMES, CONTRACT, kind, (operator,))]
    assert readable == ["bootstrap-token"]


@pytest.mark.requirement("ECS-03")
def test_every_endpoint_lets_only_our_principals_pass() -> None:
    policies = {
        **endpoint_policies.interface_policies(NAMES),
        "s3": endpoint_policies.s3_policy(NAMES, (BUCKET,)),
        "dynamodb": endpoint_policies.dynamodb_policy(NAMES),
    }
    assert set(policies) == {
        *("s3", "dynamodb", "ecr.api", "ecr.dkr", "logs", "secretsmanager", "kms", "sts", "monitoring"),
    }
    for name, policy in policies.items():
        for statement in statements(policy):
            assert "*" not in statement["Action"], name
            if statement["Sid"] != "ImageLayers":
                assert statement["Condition"]["StringEquals"]["aws:PrincipalAccount"] == "123456789012"


def test_documents_are_as_short_as_aws_wants_them() -> None:
    sizes = {role: len(json.dumps(g.permissions or {}, separators=(",", ":"))) for role, g in GRANTS.items()}
    assert max(sizes.values()) <= 10_240, "inline policies of one role"
    assert all(len(json.dumps(key_policy(name, KEYRING))) <= 32_768 for name in KEYS)
    assert all(len(json.dumps(p)) <= 20_480 for p in endpoint_policies.interface_policies(NAMES).values())
