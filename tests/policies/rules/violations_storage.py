"""Programs that violate one control: S3, KMS, Secrets Manager, DynamoDB and AWS Backup."""

import json
from dataclasses import replace
from typing import Any

from tests.policies.pack_process import ACCOUNT, Ref
from tests.policies.rules.account_programs import account, backup, backup_rule, trail
from tests.policies.rules.builders import (
    Program,
    by_change,
    changed,
    declared,
    document,
    events_key_policy,
    grant,
    kms,
    roles,
    tls_only,
    violation,
    without,
)
from tests.policies.rules.programs import (
    OTHER_READERS,
    ephemeral,
    rds,
    replication,
    s3,
    secrets,
    stores,
    watch,
)
from tests.policies.rules.violations_access import STRANGER

ABORT = {"daysAfterInitiation": 7}
LINKS = {"bucket": Ref("links", "bucket")}
ALL_KEYS = "arn:aws:kms:*:123456789012:key/*"
ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
TTL_DELETIONS = json.dumps(
    {"userIdentity": {"type": ["Service"], "principalId": ["dynamodb.amazonaws.com"]}}
)
ADMINISTRATOR = f"arn:aws:iam::{ACCOUNT}:role/administrator"


def encryption_rule(**rule: Any) -> Program:
    return changed(s3(), "files-encryption", rules=[rule])


def without_statement(bucket: str, index: int) -> Program:
    """The bucket policy of `tls_only` without one of its statements."""
    statements = [
        statement for place, statement in enumerate(tls_only(f"acme-{bucket}")) if place != index
    ]
    return changed(s3(), f"{bucket}-policy", policy=document(*statements))


def with_statement(statement: dict[str, Any]) -> str:
    return document(*tls_only("acme-files"), {"Resource": "arn:aws:s3:::acme-files/*", **statement})


def plan(**rule: Any) -> Program:
    return changed(backup(), "plan", rules=[backup_rule(**rule)])


def key_policy(**statement: Any) -> Program:
    allow = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", **statement}
    root = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return changed(kms(), "key", policy=document(root, allow))


def replicated(*depends_on: str) -> Program:
    """Replication between two buckets of the program, which waits for these resources."""
    destination = {**replication()["destination"], "bucket": Ref("sink", "arn")}
    return [
        replace(resource, depends_on=depends_on)
        if resource.name == "files-replication"
        else resource
        for resource in replication_rule(destination=destination)
    ]


def replication_rule(**rule: Any) -> Program:
    return changed(s3(), "files-replication", rules=[replication(**rule)])


def lifecycle_rule(**expiration: int) -> dict[str, Any]:
    return {
        "status": "Enabled",
        "noncurrentVersionExpiration": expiration,
        "abortIncompleteMultipartUpload": ABORT,
    }


STRANGER_KEY = f"arn:aws:kms:eu-west-1:{STRANGER}:key/1"
DELIVERY = {
    "Effect": "Allow",
    "Principal": {"Service": "logging.s3.amazonaws.com"},
    "Action": "s3:PutObject",
}


def encrypted_with(key: str) -> list[dict[str, Any]]:
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": True}]


VIOLATIONS = [
    violation("GH-S3-001", "files", "BucketPublicAccessBlock", without(s3(), "files-block")),
    by_change(
        "GH-S3-001",
        s3,
        "files-block",
        "blockPublicPolicy",
        reported="files",
        blockPublicPolicy=False,
    ),
    violation(
        "GH-S3-002", "acme-prod", "AccountPublicAccessBlock", without(account(), "account-block")
    ),
    by_change(
        "GH-S3-002",
        account,
        "account-block",
        "ignorePublicAcls",
        reported="acme-prod",
        ignorePublicAcls=False,
    ),
    violation(
        "GH-S3-002",
        "acme-prod",
        "AccountPublicAccessBlock",
        without(account(accountGuards="gatehouse/prod"), "account-block"),
    ),
    violation("GH-S3-003", "files", "TLS", without_statement("files", 0)),
    violation("GH-S3-004", "files", "1.2", without_statement("files", 1)),
    violation("GH-S3-005", "files", "configuration", without(s3(), "files-encryption")),
    violation(
        "GH-S3-005",
        "files",
        "rules[0].applyServerSideEncryptionByDefault.sseAlgorithm",
        encryption_rule(applyServerSideEncryptionByDefault={"sseAlgorithm": "AES256"}),
    ),
    violation("GH-S3-006", "files", "KMS", without_statement("files", 3)),
    violation("GH-S3-006", "sink", "customer-provided", without_statement("sink", 2)),
    by_change(
        "GH-S3-007",
        s3,
        "files-versioning",
        "versioning",
        reported="files",
        versioningConfiguration={"status": "Suspended"},
    ),
    violation("GH-S3-007", "files", "versioning", without(s3(), "files-versioning")),
    by_change(
        "GH-S3-008",
        s3,
        "files-lifecycle",
        "noncurrent",
        reported="files",
        rules=[{"status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}],
    ),
    by_change(
        "GH-S3-009",
        s3,
        "files-lifecycle",
        "7",
        reported="files",
        rules=[{"status": "Enabled", "noncurrentVersionExpiration": {"noncurrentDays": 30}}],
    ),
    violation("GH-S3-010", "files", 'gatehouse:purpose="log-sink"', without(s3(), "files-logging")),
    by_change(
        "GH-S3-010",
        s3,
        "files-logging",
        "targetBucket",
        reported="files",
        targetBucket=Ref("files", "bucket"),
    ),
    by_change(
        "GH-S3-011",
        s3,
        "files-ownership",
        "BucketOwnerEnforced",
        reported="files",
        rule={"objectOwnership": "ObjectWriter"},
    ),
    violation(
        "GH-S3-011",
        "files",
        "ACL",
        [
            *s3(),
            declared("s3.BucketAcl", "files-acl", bucket=Ref("files", "bucket"), acl="private"),
        ],
    ),
    by_change("GH-S3-012", s3, "files-policy", '"*"', policy=with_statement(ANYONE)),
    by_change(
        "GH-S3-012",
        s3,
        "files-policy",
        "999999999999",
        policy=with_statement({**ANYONE, "Principal": {"AWS": "arn:aws:iam::999999999999:root"}}),
    ),
    violation("GH-S3-013", "files", "configuration", without(s3(), "files-replication")),
    violation(
        "GH-S3-013",
        "files",
        "rules[0].deleteMarkerReplication",
        replication_rule(deleteMarkerReplication={"status": "Disabled"}),
    ),
    violation("GH-S3-014", "files", "Object", without(trail(), "files-lock")),
    by_change(
        "GH-S3-014",
        trail,
        "files-lock",
        "below 30",
        reported="files",
        rule={"defaultRetention": {"mode": "COMPLIANCE", "days": 1}},
    ),
    by_change(
        "GH-S3-012",
        s3,
        "files-policy",
        "canonical",
        policy=with_statement(
            {**ANYONE, "Principal": {"CanonicalUser": "79a59df900b949e55d96a1e698fbaced"}}
        ),
    ),
    by_change(
        "GH-IAM-010", s3, "files-policy", "s3.amazonaws.com", policy=with_statement(DELIVERY)
    ),
    by_change("GH-S3-015", s3, "files", "forceDestroy", forceDestroy=True),
    by_change(
        "GH-S3-016",
        s3,
        "files-policy",
        "statement",
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
    violation("GH-S3-017", "files", "s3:DeleteObjectVersion", without_statement("files", 4)),
    violation(
        "GH-S3-018",
        "links",
        "Object Lock",
        [*ephemeral(), declared("s3.BucketObjectLockConfiguration", "links-lock", **LINKS)],
    ),
    violation(
        "GH-S3-018",
        "links",
        "links-copies",
        [
            *ephemeral(),
            declared(
                "s3.BucketReplicationConfig",
                "links-copies",
                **LINKS,
                rules=[replication()],
                depends_on=("links-versioning",),
            ),
        ],
    ),
    *(
        by_change(
            "GH-S3-018",
            ephemeral,
            "links-lifecycle",
            "within 7 days",
            reported="links",
            rules=[
                {
                    "status": "Enabled",
                    "noncurrentVersionExpiration": expiration,
                    "abortIncompleteMultipartUpload": ABORT,
                }
            ],
        )
        for expiration in (
            {"noncurrentDays": 8},
            {"noncurrentDays": 1, "newerNoncurrentVersions": 3},
        )
    ),
    *(
        violation("GH-S3-019", "files-replication", mention, replicated(*depends_on))
        for mention, depends_on in (
            ("source files", ("sink-versioning",)),
            ("destination sink", ("files-versioning",)),
        )
    ),
    by_change("GH-KMS-001", kms, "key", "enableKeyRotation", enableKeyRotation=False),
    by_change("GH-KMS-001", kms, "key", "rotationPeriodInDays", rotationPeriodInDays=730),
    by_change("GH-KMS-002", kms, "key", "policy", policy=None),
    by_change(
        "GH-KMS-002",
        kms,
        "key",
        '"*"',
        policy=document({**ANYONE, "Action": "kms:Decrypt", "Resource": "*"}),
    ),
    by_change("GH-KMS-003", kms, "key", "deletionWindowInDays", deletionWindowInDays=7),
    by_change(
        "GH-KMS-004",
        kms,
        "key",
        "bypassPolicyLockoutSafetyCheck",
        bypassPolicyLockoutSafetyCheck=True,
    ),
    violation(
        "GH-KMS-005",
        "key",
        "logs.eu-west-1.amazonaws.com",
        key_policy(Principal={"Service": "logs.eu-west-1.amazonaws.com"}),
    ),
    violation(
        "GH-KMS-006",
        "key",
        "arn:aws:iam::123456789012:role/administrator",
        key_policy(Principal={"AWS": ADMINISTRATOR}, Action="kms:*"),
    ),
    by_change(
        "GH-KMS-007",
        roles,
        "task-rights",
        "kms:Decrypt",
        policy=grant(Action="kms:Decrypt", Resource=ALL_KEYS),
    ),
    violation(
        "GH-KMS-007",
        "boundary",
        "kms:Decrypt",
        changed(
            changed(roles(), "boundary", policy=grant(Action="kms:Decrypt", Resource=ALL_KEYS)),
            "execution-role",
            permissionsBoundary="arn:aws:iam::123456789012:policy/another",
        ),
    ),
    violation("GH-KMS-008", "key", "alias", without(kms(), "key-alias")),
    by_change("GH-KMS-008", kms, "key", "description", description=None),
    by_change(
        "GH-KMS-008",
        watch,
        "trail-logs",
        "kmsKeyId",
        kmsKeyId="arn:aws:kms:eu-west-1:123456789012:alias/aws/logs",
    ),
    by_change("GH-KMS-009", kms, "key", "multiRegion", multiRegion=True),
    by_change(
        "GH-KMS-010",
        watch,
        "key",
        "events.amazonaws.com",
        reported="alarms",
        policy=events_key_policy(
            ArnLike={"aws:SourceArn": f"arn:aws:events:eu-west-1:{ACCOUNT}:rule/acme"}
        ),
    ),
    by_change("GH-SM-001", secrets, "pepper", "kmsKeyId", kmsKeyId=None),
    violation("GH-SM-002", "pepper", "SecretRotation", without(secrets(), "pepper-rotation")),
    by_change(
        "GH-SM-003",
        secrets,
        "pepper-rotation",
        "30",
        rotationRules={"scheduleExpression": "rate(60 days)"},
    ),
    by_change("GH-SM-004", secrets, "pepper-policy", "blockPublicPolicy", blockPublicPolicy=False),
    by_change(
        "GH-SM-004",
        secrets,
        "pepper-policy",
        '"*"',
        policy=document(
            {**ANYONE, "Action": "secretsmanager:GetSecretValue", "Resource": "*"}, OTHER_READERS
        ),
    ),
    by_change(
        "GH-S3-008",
        s3,
        "files-lifecycle",
        "below 7",
        reported="files",
        rules=[lifecycle_rule(noncurrentDays=1)],
    ),
    violation("GH-SM-007", "pepper", "resource policy", without(secrets(), "pepper-policy")),
    by_change(
        "GH-SM-007", secrets, "pepper-policy", "resource policy", reported="pepper", policy=None
    ),
    by_change("GH-S3-005", s3, "files-encryption", "no rule", reported="files", rules=[]),
    by_change("GH-S3-013", s3, "files-replication", "no rule", reported="files", rules=[]),
    violation(
        "GH-S3-013",
        "files",
        "sourceSelectionCriteria",
        replication_rule(sourceSelectionCriteria=None),
    ),
    violation(
        "GH-BAK-003",
        "plan",
        "copyActions",
        plan(copyActions=[{**backup_rule()["copyActions"][0], "lifecycle": {"deleteAfter": 1}}]),
    ),
    by_change("GH-SM-005", secrets, "pepper", "recoveryWindowInDays", recoveryWindowInDays=7),
    violation(
        "GH-SM-006",
        "pepper-value",
        "secretString",
        [
            *secrets(),
            declared(
                "secretsmanager.SecretVersion",
                "pepper-value",
                secretId=Ref("pepper"),
                secretString="correct horse battery staple",
            ),
        ],
    ),
    by_change(
        "GH-DDB-001", stores, "tokens", "pointInTimeRecovery.enabled", pointInTimeRecovery=None
    ),
    by_change(
        "GH-DDB-002",
        stores,
        "tokens",
        "serverSideEncryption.kmsKeyArn",
        serverSideEncryption={"enabled": True},
    ),
    by_change(
        "GH-DDB-003", stores, "tokens", "deletionProtectionEnabled", deletionProtectionEnabled=False
    ),
    by_change("GH-DDB-004", stores, "tokens", "capacity", billingMode="PROVISIONED"),
    by_change("GH-DDB-005", stores, "tokens", "ttl.enabled", ttl=None),
    by_change(
        "GH-DDB-006",
        stores,
        "expired",
        "filters[0].pattern",
        filterCriteria={"filters": [{"pattern": TTL_DELETIONS}]},
    ),
    by_change("GH-BAK-001", backup, "vault", "kmsKeyArn", kmsKeyArn=None),
    by_change("GH-PUL-007", backup, "vault", "forceDestroy", forceDestroy=True),
    by_change("GH-PUL-006", backup, "vault", STRANGER, kmsKeyArn=STRANGER_KEY),
    by_change(
        "GH-PUL-006",
        backup,
        "plan",
        "rules[0].copyActions[0].destinationVaultArn",
        rules=[
            backup_rule(
                copyActions=[
                    {
                        "destinationVaultArn": f"arn:aws:backup:eu-central-1:{STRANGER}:backup-vault:far"  # noqa: E501
                    }
                ]
            )
        ],
    ),
    by_change("GH-PUL-006", s3, "files-encryption", STRANGER, rules=encrypted_with(STRANGER_KEY)),
    violation("GH-BAK-002", "vault", "VaultLockConfiguration", without(backup(), "lock")),
    violation(
        "GH-BAK-002", "vault", "backup:DeleteRecoveryPoint", without(backup(), "vault-policy")
    ),
    violation("GH-BAK-003", "plan", "35", plan(lifecycle={"deleteAfter": 7})),
    violation("GH-BAK-003", "plan", "creates", plan(schedule="cron(0 3 ? * SUN *)")),
    violation("GH-BAK-003", "plan", "copyActions", plan(copyActions=None)),
    by_change(
        "GH-BAK-005",
        backup,
        "vault-events",
        "BACKUP_JOB_FAILED",
        backupVaultEvents=["BACKUP_JOB_FAILED", "COPY_JOB_FAILED"],
    ),
    violation("GH-BAK-004", "database", "selection", without(rds(), "selection")),
    by_change(
        "GH-BAK-004",
        s3,
        "selection",
        "selection",
        reported="files",
        resources=["arn:aws:dynamodb:*:*:table/*"],
    ),
]
