"""One broken property at a time in what holds data: S3, KMS, Secrets Manager, RDS, DynamoDB, ElastiCache."""

from __future__ import annotations

from typing import Any

from policies.testing.harness import Declared, Ref
from tests.policies import programs
from tests.policies.breaks import Program, broken, changed, without
from tests.policies.programs import TAGS, document, grant, tls_only

EVERY_KEY = "arn:aws:kms:*:123456789012:key/*"


def task(**inputs: Any) -> Program:
    return changed(programs.ecs(), "task", **inputs)


def logging(**options: Any) -> dict[str, Any]:
    merged = {"mode": "non-blocking", "awslogs-group": "/acme/gateway", **options}
    return {"logDriver": "awslogs", "options": {key: value for key, value in merged.items() if value is not None}}


def encrypted(**rule: Any) -> Program:
    return changed(programs.s3(), "files-encryption", rules=[rule])


def more_in(statement: dict[str, Any]) -> str:
    return document(*tls_only("acme-files"), {"Resource": "arn:aws:s3:::acme-files/*", **statement})


def user(**inputs: Any) -> Declared:
    return Declared("aws:elasticache/user:User", "anyone", {"accessString": "on ~* +@all", "tags": TAGS, **inputs})


ALONE = Declared("aws:elasticache/cluster:Cluster", "alone", {"engine": "memcached", "tags": TAGS})
WORLD_SSH = {"cidrIpv4": "0.0.0.0/0", "ipProtocol": "tcp", "fromPort": 22, "toPort": 22}
ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}


CASES = [
    # --- S3
    broken("GH-S3-001", "files", "no public access block belongs to this bucket", without(programs.s3(), "files-block")),
    broken(
        "GH-S3-001",
        "files",
        "blockPublicPolicy is not true in files-block",
        changed(programs.s3(), "files-block", blockPublicPolicy=False),
        fix="set blockPublicPolicy=True there",
    ),
    broken(
        "GH-S3-003",
        "files",
        "the bucket policy does not deny requests without TLS on the bucket and on its objects",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[1:])),
    ),
    broken(
        "GH-S3-004",
        "files",
        "no bucket policy denies TLS below 1.2 on the bucket and on its objects",
        changed(programs.s3(), "files-policy", policy=document(*tls_only("acme-files")[:1], *tls_only("acme-files")[2:])),
    ),
    broken(
        "GH-S3-005",
        "files",
        "no encryption configuration belongs to this bucket",
        without(programs.s3(), "files-encryption"),
    ),
    broken(
        "GH-S3-005",
        "files",
        "rules[0].applyServerSideEncryptionByDefault.sseAlgorithm is not aws:kms",
        encrypted(applyServerSideEncryptionByDefault={"sseAlgorithm": "AES256"}),
    ),
    broken(
        "GH-S3-007",
        "files",
        "versioning is not enabled for this bucket",
        changed(programs.s3(), "files-versioning", versioningConfiguration={"status": "Suspended"}),
    ),
    broken("GH-S3-007", "files", "versioning is not enabled for this bucket", without(programs.s3(), "files-versioning")),
    broken(
        "GH-S3-008",
        "files",
        "no enabled lifecycle rule expires noncurrent versions",
        changed(
            programs.s3(),
            "files-lifecycle",
            rules=[{"status": "Enabled", "abortIncompleteMultipartUpload": {"daysAfterInitiation": 7}}],
        ),
    ),
    broken(
        "GH-S3-009",
        "files",
        "no enabled lifecycle rule ends unfinished uploads within 7 days",
        changed(
            programs.s3(),
            "files-lifecycle",
            rules=[{"status": "Enabled", "noncurrentVersionExpiration": {"noncurrentDays": 30}}],
        ),
    ),
    broken(
        "GH-S3-010",
        "files",
        'access is not logged; a bucket that receives logs says so with the tag gatehouse:purpose="log-sink"',
        without(programs.s3(), "files-logging"),
    ),
    broken(
        "GH-S3-010",
        "files",
        "the access log goes into the bucket that it is about",
        changed(programs.s3(), "files-logging", targetBucket=Ref("files", "bucket")),
    ),
    broken(
        "GH-S3-011",
        "files",
        "object ownership is not BucketOwnerEnforced",
        changed(programs.s3(), "files-ownership", rule={"objectOwnership": "ObjectWriter"}),
    ),
    broken(
        "GH-S3-011",
        "files",
        "the ACL files-acl is used",
        [
            *programs.s3(),
            Declared("aws:s3/bucketAcl:BucketAcl", "files-acl", {"bucket": Ref("files", "bucket"), "acl": "private"}),
        ],
        fix="remove it and say the same in the bucket policy",
    ),
    broken(
        "GH-S3-012",
        "files-policy",
        'a statement allows to anyone ("*") without a condition that ties the request to somebody known',
        changed(programs.s3(), "files-policy", policy=more_in(ANYONE)),
    ),
    broken(
        "GH-S3-012",
        "files-policy",
        "a statement allows to account 999999999999, which is not one of the provider's allowedAccountIds",
        changed(
            programs.s3(),
            "files-policy",
            policy=more_in({**ANYONE, "Principal": {"AWS": "arn:aws:iam::999999999999:root"}}),
        ),
    ),
    broken("GH-S3-015", "files", "forceDestroy is true", changed(programs.s3(), "files", forceDestroy=True)),
    broken(
        "GH-S3-016",
        "files-policy",
        "a statement denies everyone to change this policy again",
        changed(
            programs.s3(),
            "files-policy",
            policy=more_in(
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
    # --- KMS
    broken("GH-KMS-001", "key", "enableKeyRotation is not true", changed(programs.kms(), "key", enableKeyRotation=False)),
    broken(
        "GH-KMS-001",
        "key",
        "rotationPeriodInDays is above 365",
        changed(programs.kms(), "key", rotationPeriodInDays=730),
    ),
    broken("GH-KMS-002", "key", "the key has no policy of its own", changed(programs.kms(), "key", policy=None)),
    broken(
        "GH-KMS-002",
        "key",
        'the key policy allows to anyone ("*") without kms:CallerAccount or another such condition',
        changed(programs.kms(), "key", policy=document({**ANYONE, "Action": "kms:Decrypt", "Resource": "*"})),
    ),
    broken("GH-KMS-003", "key", "deletionWindowInDays is below 30", changed(programs.kms(), "key", deletionWindowInDays=7)),
    broken(
        "GH-KMS-004",
        "key",
        "bypassPolicyLockoutSafetyCheck is true",
        changed(programs.kms(), "key", bypassPolicyLockoutSafetyCheck=True),
    ),
    broken(
        "GH-KMS-007",
        "task-rights",
        "a statement allows kms:Decrypt or kms:ReEncryptFrom on every key",
        changed(
            programs.roles(),
            "task-rights",
            policy=grant(Action="kms:Decrypt", Resource=EVERY_KEY),
        ),
    ),
    broken(
        "GH-KMS-007",
        "ceiling",
        "a statement allows kms:Decrypt or kms:ReEncryptFrom on every key",
        changed(
            changed(programs.roles(), "ceiling", policy=grant(Action="kms:Decrypt", Resource=EVERY_KEY)),
            "execution-role",
            permissionsBoundary="arn:aws:iam::123456789012:policy/another",
        ),
    ),
    # --- Secrets Manager
    broken(
        "GH-SM-001",
        "pepper",
        "kmsKeyId is not set, so the key is the one that AWS manages",
        changed(programs.secrets(), "pepper", kmsKeyId=None),
    ),
    broken("GH-SM-002", "pepper", "no rotation belongs to this secret", without(programs.secrets(), "pepper-rotation")),
    broken(
        "GH-SM-003",
        "pepper-rotation",
        "the secret rotates less often than every 30 days",
        changed(programs.secrets(), "pepper-rotation", rotationRules={"scheduleExpression": "rate(60 days)"}),
    ),
    broken(
        "GH-SM-004",
        "pepper-policy",
        "blockPublicPolicy is not true",
        changed(programs.secrets(), "pepper-policy", blockPublicPolicy=False),
    ),
    broken(
        "GH-SM-004",
        "pepper-policy",
        'the resource policy allows to anyone ("*") without a condition that ties the request to somebody known',
        changed(
            programs.secrets(),
            "pepper-policy",
            policy=document({**ANYONE, "Action": "secretsmanager:GetSecretValue", "Resource": "*"}),
        ),
    ),
    broken(
        "GH-SM-005",
        "pepper",
        "recoveryWindowInDays is below 30",
        changed(programs.secrets(), "pepper", recoveryWindowInDays=7),
    ),
    broken(
        "GH-SM-006",
        "pepper-value",
        "secretString is set by the program",
        [
            *programs.secrets(),
            Declared(
                "aws:secretsmanager/secretVersion:SecretVersion",
                "pepper-value",
                {"secretId": Ref("pepper"), "secretString": "correct horse battery staple"},
            ),
        ],
    ),
    # --- RDS
    broken(
        "GH-RDS-001",
        "database",
        "publiclyAccessible is true",
        changed(programs.rds(), "database", publiclyAccessible=True),
    ),
    broken(
        "GH-RDS-002",
        "database",
        "storageEncrypted is not true",
        changed(programs.rds(), "database", storageEncrypted=False),
    ),
    broken(
        "GH-RDS-002",
        "database",
        "kmsKeyId is not set, so the key is the one that AWS manages",
        changed(programs.rds(), "database", kmsKeyId=None),
    ),
    broken(
        "GH-RDS-003",
        "database",
        "backupRetentionPeriod is below 35",
        changed(programs.rds(), "database", backupRetentionPeriod=7),
    ),
    broken("GH-RDS-004", "database", "multiAz is not true", changed(programs.rds(), "database", multiAz=False)),
    broken(
        "GH-RDS-005",
        "database",
        "deletionProtection is not true",
        changed(programs.rds(), "database", deletionProtection=None),
    ),
    broken(
        "GH-RDS-006",
        "database",
        "iamDatabaseAuthenticationEnabled is not true",
        changed(programs.rds(), "database", iamDatabaseAuthenticationEnabled=False),
    ),
    broken(
        "GH-RDS-007",
        "database",
        "rds.force_ssl is not 1 in parameters",
        changed(programs.rds(), "parameters", parameters=[{"name": "rds.force_ssl", "value": "0"}]),
    ),
    broken(
        "GH-RDS-007",
        "database",
        "parameterGroupName names no parameter group of this stack",
        changed(programs.rds(), "database", parameterGroupName="default.postgres18"),
    ),
    broken(
        "GH-RDS-008",
        "database",
        "enabledCloudwatchLogsExports is empty",
        changed(programs.rds(), "database", enabledCloudwatchLogsExports=[]),
    ),
    broken(
        "GH-RDS-010",
        "database",
        "autoMinorVersionUpgrade is false",
        changed(programs.rds(), "database", autoMinorVersionUpgrade=False),
    ),
    broken(
        "GH-RDS-012",
        "database",
        "password is set by the program",
        changed(programs.rds(), "database", password="correct horse battery staple"),
    ),
    broken(
        "GH-RDS-012",
        "database",
        "manageMasterUserPassword is not true",
        changed(programs.rds(), "database", manageMasterUserPassword=False),
    ),
    broken(
        "GH-RDS-016",
        "database",
        "from-gateway lets an address range in",
        changed(programs.rds(), "from-gateway", referencedSecurityGroupId=None, cidrIpv4="10.0.0.0/8"),
    ),
    broken("GH-RDS-018", "snapshot", "sharedAccounts is set", changed(programs.rds(), "snapshot", sharedAccounts=["all"])),
    # --- DynamoDB and ElastiCache
    broken(
        "GH-DDB-001",
        "tokens",
        "pointInTimeRecovery.enabled is not true",
        changed(programs.stores(), "tokens", pointInTimeRecovery=None),
    ),
    broken(
        "GH-DDB-002",
        "tokens",
        "serverSideEncryption.kmsKeyArn is not set, so the key is the one that AWS manages",
        changed(programs.stores(), "tokens", serverSideEncryption={"enabled": True}),
    ),
    broken(
        "GH-DDB-003",
        "tokens",
        "deletionProtectionEnabled is not true",
        changed(programs.stores(), "tokens", deletionProtectionEnabled=False),
    ),
    broken("GH-DDB-005", "tokens", "ttl.enabled is not true", changed(programs.stores(), "tokens", ttl=None)),
    broken(
        "GH-EC-001",
        "cache",
        "atRestEncryptionEnabled is not true",
        changed(programs.stores(), "cache", atRestEncryptionEnabled=False),
    ),
    broken(
        "GH-EC-002",
        "cache",
        "transitEncryptionMode is not required",
        changed(programs.stores(), "cache", transitEncryptionMode="preferred"),
    ),
    broken(
        "GH-EC-003",
        "cache",
        "userGroupIds is empty, so whoever reaches the cache may use it",
        changed(programs.stores(), "cache", userGroupIds=None),
    ),
    broken(
        "GH-EC-001",
        "alone",
        "a cluster by itself is never encrypted at rest",
        [*programs.stores(), ALONE],
        fix="declare an aws.elasticache.ReplicationGroup, which can",
    ),
    broken(
        "GH-EC-001",
        "instant",
        "kmsKeyId is not set, so the key is the one that AWS manages",
        [*programs.stores(), Declared("aws:elasticache/serverlessCache:ServerlessCache", "instant", {"tags": TAGS})],
        fix="set kmsKeyId",
    ),
    *(
        broken(
            "GH-EC-003",
            "anyone",
            "this user is on and needs no password",
            [*programs.stores(), user(**open_to_all)],
            fix='set authenticationMode.type="iam", or accessString="off -@all" for the default user',
        )
        for open_to_all in ({"noPasswordRequired": True}, {"authenticationMode": {"type": "no-password-required"}})
    ),
    broken("GH-EC-004", "cache", "multiAzEnabled is not true", changed(programs.stores(), "cache", multiAzEnabled=False)),
    broken(
        "GH-EC-005",
        "cache",
        "snapshotRetentionLimit is below 1",
        changed(programs.stores(), "cache", snapshotRetentionLimit=0),
    ),
]
