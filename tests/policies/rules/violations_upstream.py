"""Programs that violate one control in the way that a check of another catalogue describes and no other program shows."""

from typing import Any

from policies.testing.pack_process import Ref
from tests.policies.rules.account_programs import METHOD_SETTINGS, account, api, trail
from tests.policies.rules.builders import (
    PATTERNS,
    TAGS,
    Case,
    Program,
    by_change,
    changed,
    declared,
    document,
    github_trust,
    kms,
    roles,
    tls_only,
    violation,
    without,
)
from tests.policies.rules.network_programs import edge
from tests.policies.rules.programs import ecs, rds, s3, secrets, stores, watch
from tests.policies.rules.violations_access import trust
from tests.policies.rules.violations_compute import task, with_container
from tests.policies.rules.violations_network import network_acl

EVERYONE = {"AWS": "*"}
DECRYPTION = {"Effect": "Allow", "Principal": EVERYONE, "Action": "kms:Decrypt", "Resource": "*"}
LOCKOUT = {"Effect": "Deny", "Principal": EVERYONE, "Action": "s3:*", "Resource": "arn:aws:s3:::acme-files"}
ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"


def aurora(**inputs: Any) -> Program:
    """A compliant program with a database cluster. inputs: changed inputs of the cluster."""
    cluster = declared(
        "rds.Cluster",
        "aurora",
        engine="aurora-postgresql",
        masterUsername="acme_owner",
        port=5433,
        copyTagsToSnapshot=True,
        storageEncrypted=True,
        kmsKeyId=Ref("key", "arn"),
        backupRetentionPeriod=35,
        deleteAutomatedBackups=False,
        deletionProtection=True,
        skipFinalSnapshot=False,
        iamDatabaseAuthenticationEnabled=True,
        dbClusterParameterGroupName=Ref("cluster-parameters", "name"),
        dbSubnetGroupName=Ref("database-subnets", "name"),
        vpcSecurityGroupIds=[Ref("database-group")],
        enabledCloudwatchLogsExports=["postgresql"],
        manageMasterUserPassword=True,
        masterUserSecretKmsKeyId=Ref("key", "arn"),
        tags=TAGS,
    )
    parameters = declared(
        "rds.ClusterParameterGroup",
        "cluster-parameters",
        name="acme-aurora",
        family="aurora-postgresql17",
        parameters=[{"name": "rds.force_ssl", "value": "1"}],
    )
    events = declared("rds.EventSubscription", "db-cluster", sourceType="db-cluster", snsTopic="arn:aws:sns:::alarms")
    selected = changed(rds(), "selection", resources=[Ref("database", "arn"), Ref("aurora", "arn")])
    return [*selected, events, parameters, cluster.with_inputs(**inputs)]


def cluster(rule: str, mention: str, **inputs: Any) -> Case:
    return violation(rule, "aurora", mention, aurora(**inputs))


def bucket_acl(**inputs: Any) -> Program:
    return [*s3(), declared("s3.BucketAcl", "files-acl", bucket=Ref("files", "bucket"), **inputs)]


VIOLATIONS = [
    *(
        violation("GH-CW-004", "trail", f"5.{number}", without(watch(), f"{name}-filter"))
        for number, name in enumerate(PATTERNS, 1)
        if number not in (3, 14)
    ),
    by_change("GH-ACC-001", account, "ebs-encryption", "enabled is false", reported="acme-prod", enabled=False),
    by_change(
        "GH-ACM-001",
        edge,
        "certificate",
        "TransparencyLogging",
        options={"certificateTransparencyLoggingPreference": "DISABLED"},
    ),
    by_change("GH-API-005", api, "settings", "cacheDataEncrypted", settings={**METHOD_SETTINGS, "cachingEnabled": True}),
    by_change("GH-ACM-001", edge, "certificate", "keyAlgorithm", keyAlgorithm="RSA_1024"),
    by_change("GH-API-005", api, "post", "requestValidatorId", requestValidatorId=None),
    by_change("GH-CT-001", trail, "trail", "enableLogging", enableLogging=False),
    by_change("GH-CW-001", watch, "trail-logs", "is below", retentionInDays=None),
    by_change("GH-CW-003", watch, "errors", "actionsEnabled", actionsEnabled=False),
    by_change("GH-EC-001", stores, "cache", "kmsKeyId", kmsKeyId=None),
    by_change("GH-EC-002", stores, "cache", "transitEncryptionEnabled", transitEncryptionEnabled=False),
    violation("GH-ECS-001", "task", "container gateway", with_container(privileged=True)),
    violation("GH-ECS-004", "task", "pidMode is", task(pidMode="host")),
    by_change("GH-ECS-008", ecs, "service", "platformVersion is", platformVersion="1.3.0", launchType="FARGATE"),
    by_change("GH-IAM-004", roles, "task-role", "everyone", assumeRolePolicy=trust(EVERYONE)),
    by_change(
        "GH-IAM-005",
        roles,
        "deployer",
        "require a subject (sub)",
        assumeRolePolicy=github_trust(StringEquals={"token.actions.githubusercontent.com:aud": "sts.amazonaws.com"}),
    ),
    *(
        violation("GH-IAM-006", "robot", mention, [declared(kind, "robot", **inputs)])
        for mention, kind, inputs in (
            ("IAM User", "iam.User", {"name": "robot"}),
            ("UserPolicyAttachment", "iam.UserPolicyAttachment", {"user": "robot", "policyArn": "arn:aws:iam::aws:policy/A"}),
            ("UserLoginProfile", "iam.UserLoginProfile", {"user": "robot"}),
        )
    ),
    by_change(
        "GH-KMS-002",
        kms,
        "key",
        "allows everyone",
        policy=document(DECRYPTION),
    ),
    by_change("GH-LAM-001", watch, "rotate", "runtime", runtime="python3.7"),
    by_change("GH-LAM-003", watch, "rotate", "kmsKeyArn", kmsKeyArn=None),
    by_change("GH-LAM-003", watch, "rotate", "AWS_VALUE", environment={"variables": {"AWS_VALUE": "AKIAIOSFODNN7EXAMPLE"}}),
    by_change("GH-LAM-004", watch, "rotate-from-secrets", "principalOrgId", principal="*", sourceAccount=None),
    by_change("GH-LAM-004", watch, "rotate-url", "authorizationType", authorizationType="NONE"),
    by_change("GH-LAM-005", watch, "rotate", "reservedConcurrentExecutions", reservedConcurrentExecutions=None),
    by_change("GH-LAM-005", watch, "rotate", "tracingConfig", tracingConfig=None),
    by_change("GH-RDS-003", rds, "database", "is below", backupRetentionPeriod=0),
    by_change("GH-RDS-009", rds, "database", "performanceInsightsKmsKeyId", performanceInsightsKmsKeyId=None),
    cluster("GH-RDS-002", "storageEncrypted", storageEncrypted=False),
    cluster("GH-RDS-002", "kmsKeyId", kmsKeyId=None),
    cluster("GH-RDS-005", "deletionProtection", deletionProtection=False),
    cluster("GH-RDS-006", "iamDatabaseAuthenticationEnabled", iamDatabaseAuthenticationEnabled=False),
    cluster("GH-RDS-008", "enabledCloudwatchLogsExports", enabledCloudwatchLogsExports=None),
    cluster("GH-RDS-011", "copyTagsToSnapshot", copyTagsToSnapshot=None),
    by_change("GH-S3-016", s3, "files-policy", "denies policy changes", policy=document(*tls_only("acme-files"), LOCKOUT)),
    *(
        by_change("GH-S3-001", s3, "files-block", flag, reported="files", **{flag: False})
        for flag in ("blockPublicAcls", "ignorePublicAcls", "restrictPublicBuckets")
    ),
    violation("GH-S3-011", "files", "the ACL", bucket_acl(acl="public-read")),
    violation("GH-S3-011", "files", "has the ACL", bucket_acl(acl="public-read-write")),
    violation(
        "GH-S3-011",
        "files",
        "ACL files-acl",
        bucket_acl(accessControlPolicy={"grants": [{"grantee": {"type": "Group", "uri": ALL_USERS}, "permission": "READ_ACP"}]}),
    ),
    by_change("GH-SM-003", secrets, "pepper-rotation", "days", rotationRules={"automaticallyAfterDays": 91}),
    by_change("GH-WAF-001", edge, "web-acl", "KnownBadInputs", rules=[]),
    violation(
        "GH-VPC-007",
        "acl",
        "port 22",
        network_acl(
            {"ruleNo": 10, "action": "deny", "fromPort": 3389, "toPort": 3389},
            {"ruleNo": 20, "action": "allow", "fromPort": 22, "toPort": 22},
        ),
    ),
]
