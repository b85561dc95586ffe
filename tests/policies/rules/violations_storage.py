"""Programs that violate one control: S3, KMS, Secrets Manager, DynamoDB and AWS Backup."""

from __future__ import annotations

from typing import Any

from policies.testing.pack_process import ACCOUNT, Declared, Ref
from tests.policies.rules import account_programs, builders, programs
from tests.policies.rules.builders import Program, changed, document, grant, kms, tls_only, violation, without
from tests.policies.rules.programs import replication

ALL_KEYS = "arn:aws:kms:*:123456789012:key/*"
ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/administrator"


def encryption_rule(**rule: Any) -> Program:
    return changed(programs.s3(), "files-encryption", rules=[rule])


def with_statement(statement: dict[str, Any]) -> str:
    return document(*tls_only("acme-files"), {"Resource": "arn:aws:s3:::acme-files/*", **statement})


def plan(**rule: Any) -> Program:
    return changed(account_programs.backup(), "plan", rules=[account_programs.backup_rule(**rule)])


def key_policy(**statement: Any) -> Program:
    allow = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", **statement}
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "kms:*", "Resource": "*"}
    return changed(kms(), "key", policy=document(root, allow))


def replication_rule(**rule: Any) -> Program:
    return changed(programs.s3(), "files-replication", rules=[replication(**rule)])


VIOLATIONS = [
    violation("GH-S3-001", "files", "BucketPublicAccessBlock", without(programs.s3(), "files-block")),
    violation("GH-S3-001", "files", "blockPublicPolicy", changed(programs.s3(), "files-block", blockPublicPolicy=False)),
    violation("GH-S3-002", "acme-prod", "AccountPublicAccessBlock", without(account_programs.account(), "account-block")),
    violation(
        "GH-S3-002",
        "acme-prod",
        "ignorePublicAcls",
        changed(account_programs.account(), "account-block", ignorePublicAcls=False),
    ),
    violation(
        "GH-S3-002",
        "acme-prod",
        "AccountPublicAccessBlock",
        without(account_programs.account(accountBaseline="gatehouse/prod"), "account-block"),
    ),
    violation("GH-S3-003", "files", "TLS", changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[1:]))),
    violation(
        "GH-S3-004",
        "files",
        "1.2",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:1], *tls_only("acme-files")[2:])),
    ),
    violation("GH-S3-005", "files", "configuration", without(programs.s3(), "files-encryption")),
    violation(
        "GH-S3-005",
        "files",
        "rules[0].applyServerSideEncryptionByDefault.sseAlgorithm",
        encryption_rule(applyServerSideEncryptionByDefault={"sseAlgorithm": "AES256"}),
    ),
    violation(
        "GH-S3-006",
        "files",
        "KMS",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:3], tls_only("acme-files")[4])),
    ),
    violation(
        "GH-S3-006",
        "sink",
        "customer-provided",
        changed(programs.s3(), "sink-policy", policy=document(*tls_only("acme-sink")[:2], *tls_only("acme-sink")[3:])),
    ),
    violation(
        "GH-S3-007",
        "files",
        "versioning",
        changed(programs.s3(), "files-versioning", versioningConfiguration={"status": "Suspended"}),
    ),
    violation("GH-S3-007", "files", "versioning", without(programs.s3(), "files-versioning")),
    violation(
        "GH-S3-008",
        "files",
        "noncurrent",
        changed(
            programs.s3(),
            "files-lifecycle",
            rules=[{"status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}],
        ),
    ),
    violation(
        "GH-S3-009",
        "files",
        "7",
        changed(
            programs.s3(),
            "files-lifecycle",
            rules=[{"status": "Enabled", "noncurrentVersionExpiration": {"noncurrentDays": 30}}],
        ),
    ),
    violation("GH-S3-010", "files", 'gatehouse:purpose="log-sink"', without(programs.s3(), "files-logging")),
    violation("GH-S3-010", "files", "targetBucket", changed(programs.s3(), "files-logging", targetBucket=Ref("files", "bucket"))),
    violation(
        "GH-S3-011",
        "files",
        "BucketOwnerEnforced",
        changed(programs.s3(), "files-ownership", rule={"objectOwnership": "ObjectWriter"}),
    ),
    violation(
        "GH-S3-011",
        "files",
        "ACL",
        [
            *programs.s3(),
            Declared("aws:s3/bucketAcl:BucketAcl", "files-acl", {"bucket": Ref("files", "bucket"), "acl": "private"}),
        ],
    ),
    violation("GH-S3-012", "files-policy", '"*"', changed(programs.s3(), "files-policy", policy=with_statement(ANYONE))),
    violation(
        "GH-S3-012",
        "files-policy",
        "999999999999",
        changed(
            programs.s3(),
            "files-policy",
            policy=with_statement({**ANYONE, "Principal": {"AWS": "arn:aws:iam::999999999999:root"}}),
        ),
    ),
    violation("GH-S3-013", "files", "configuration", without(programs.s3(), "files-replication")),
    violation(
        "GH-S3-013", "files", "rules[0].deleteMarkerReplication", replication_rule(deleteMarkerReplication={"status": "Disabled"})
    ),
    violation("GH-S3-014", "files", "Object", without(account_programs.trail(), "files-lock")),
    violation("GH-S3-015", "files", "forceDestroy", changed(programs.s3(), "files", forceDestroy=True)),
    violation(
        "GH-S3-016",
        "files-policy",
        "statement",
        changed(
            programs.s3(),
            "files-policy",
            policy=with_statement(
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": "arn:aws:s3:::acme-files",
                    "Condition": {"StringNotEquals": {"aws:SourceVpce": "vpce-1"}},
                }
            ),
        ),
    ),
    violation(
        "GH-S3-017",
        "files",
        "s3:DeleteObjectVersion",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:4])),
    ),
    violation("GH-KMS-001", "key", "enableKeyRotation", changed(builders.kms(), "key", enableKeyRotation=False)),
    violation("GH-KMS-001", "key", "rotationPeriodInDays", changed(builders.kms(), "key", rotationPeriodInDays=730)),
    violation("GH-KMS-002", "key", "policy", changed(builders.kms(), "key", policy=None)),
    violation(
        "GH-KMS-002",
        "key",
        '"*"',
        changed(builders.kms(), "key", policy=document({**ANYONE, "Action": "kms:Decrypt", "Resource": "*"})),
    ),
    violation("GH-KMS-003", "key", "deletionWindowInDays", changed(builders.kms(), "key", deletionWindowInDays=7)),
    violation(
        "GH-KMS-004", "key", "bypassPolicyLockoutSafetyCheck", changed(builders.kms(), "key", bypassPolicyLockoutSafetyCheck=True)
    ),
    violation(
        "GH-KMS-005", "key", "logs.eu-west-1.amazonaws.com", key_policy(Principal={"Service": "logs.eu-west-1.amazonaws.com"})
    ),
    violation(
        "GH-KMS-006",
        "key",
        "arn:aws:iam::123456789012:role/administrator",
        key_policy(Principal={"AWS": ADMINISTRATOR}, Action="kms:*"),
    ),
    violation(
        "GH-KMS-007",
        "task-rights",
        "kms:Decrypt",
        changed(
            builders.roles(),
            "task-rights",
            policy=grant(Action="kms:Decrypt", Resource=ALL_KEYS),
        ),
    ),
    violation(
        "GH-KMS-007",
        "boundary",
        "kms:Decrypt",
        changed(
            changed(builders.roles(), "boundary", policy=grant(Action="kms:Decrypt", Resource=ALL_KEYS)),
            "execution-role",
            permissionsBoundary="arn:aws:iam::123456789012:policy/another",
        ),
    ),
    violation("GH-KMS-008", "key", "alias", without(kms(), "key-alias")),
    violation("GH-KMS-008", "key", "description", changed(kms(), "key", description=None)),
    violation(
        "GH-KMS-008",
        "trail-logs",
        "kmsKeyId",
        changed(programs.watch(), "trail-logs", kmsKeyId="arn:aws:kms:eu-west-1:123456789012:alias/aws/logs"),
    ),
    violation("GH-KMS-009", "key", "multiRegion", changed(kms(), "key", multiRegion=True)),
    violation("GH-SM-001", "pepper", "kmsKeyId", changed(programs.secrets(), "pepper", kmsKeyId=None)),
    violation("GH-SM-002", "pepper", "SecretRotation", without(programs.secrets(), "pepper-rotation")),
    violation(
        "GH-SM-003",
        "pepper-rotation",
        "30",
        changed(programs.secrets(), "pepper-rotation", rotationRules={"scheduleExpression": "rate(60 days)"}),
    ),
    violation(
        "GH-SM-004", "pepper-policy", "blockPublicPolicy", changed(programs.secrets(), "pepper-policy", blockPublicPolicy=False)
    ),
    violation(
        "GH-SM-004",
        "pepper-policy",
        '"*"',
        changed(
            programs.secrets(),
            "pepper-policy",
            policy=document({**ANYONE, "Action": "secretsmanager:GetSecretValue", "Resource": "*"}),
        ),
    ),
    violation("GH-SM-005", "pepper", "recoveryWindowInDays", changed(programs.secrets(), "pepper", recoveryWindowInDays=7)),
    violation(
        "GH-SM-006",
        "pepper-value",
        "secretString",
        [
            *programs.secrets(),
            Declared(
                "aws:secretsmanager/secretVersion:SecretVersion",
                "pepper-value",
                {"secretId": Ref("pepper"), "secretString": "correct horse battery staple"},
            ),
        ],
    ),
    violation(
        "GH-DDB-001", "tokens", "pointInTimeRecovery.enabled", changed(programs.stores(), "tokens", pointInTimeRecovery=None)
    ),
    violation(
        "GH-DDB-002",
        "tokens",
        "serverSideEncryption.kmsKeyArn",
        changed(programs.stores(), "tokens", serverSideEncryption={"enabled": True}),
    ),
    violation(
        "GH-DDB-003", "tokens", "deletionProtectionEnabled", changed(programs.stores(), "tokens", deletionProtectionEnabled=False)
    ),
    violation("GH-DDB-004", "tokens", "capacity", changed(programs.stores(), "tokens", billingMode="PROVISIONED")),
    violation("GH-DDB-005", "tokens", "ttl.enabled", changed(programs.stores(), "tokens", ttl=None)),
    violation("GH-BAK-001", "vault", "kmsKeyArn", changed(account_programs.backup(), "vault", kmsKeyArn=None)),
    violation("GH-BAK-002", "vault", "VaultLockConfiguration", without(account_programs.backup(), "lock")),
    violation("GH-BAK-002", "vault", "backup:DeleteRecoveryPoint", without(account_programs.backup(), "vault-policy")),
    violation("GH-BAK-003", "plan", "35", plan(lifecycle={"deleteAfter": 7})),
    violation("GH-BAK-003", "plan", "creates", plan(schedule="cron(0 3 ? * SUN *)")),
    violation("GH-BAK-003", "plan", "copyActions", plan(copyActions=None)),
    violation("GH-BAK-004", "database", "selection", without(programs.rds(), "selection")),
    violation(
        "GH-BAK-004", "files", "selection", changed(programs.s3(), "selection", resources=["arn:aws:dynamodb:*:*:table/*"])
    ),
]
