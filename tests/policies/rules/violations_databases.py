"""Programs that violate one control: RDS and ElastiCache."""

from typing import Any

from tests.policies.pack_process import Declared
from tests.policies.rules.builders import (
    TAGS,
    Program,
    by_change,
    changed,
    declared,
    violation,
    without,
)
from tests.policies.rules.programs import rds, stores

STANDALONE_CLUSTER = declared(
    "elasticache.Cluster", "standalone-cluster", engine="memcached", tags=TAGS
)


def cache_user(**inputs: Any) -> Declared:
    return declared(
        "elasticache.User", "cache-user", accessString="on ~* +@all", tags=TAGS, **inputs
    )


def database(**inputs: Any) -> Program:
    return changed(rds(), "database", **inputs)


VIOLATIONS = [
    by_change("GH-RDS-001", rds, "database", "publiclyAccessible", publiclyAccessible=True),
    by_change("GH-RDS-002", rds, "database", "storageEncrypted", storageEncrypted=False),
    by_change("GH-RDS-002", rds, "database", "kmsKeyId", kmsKeyId=None),
    by_change("GH-RDS-003", rds, "database", "backupRetentionPeriod", backupRetentionPeriod=7),
    by_change("GH-RDS-004", rds, "database", "multiAz", multiAz=False),
    by_change("GH-RDS-005", rds, "database", "deletionProtection", deletionProtection=None),
    violation("GH-RDS-005", "database", "skipFinalSnapshot", database(skipFinalSnapshot=True)),
    by_change(
        "GH-RDS-006",
        rds,
        "database",
        "iamDatabaseAuthenticationEnabled",
        iamDatabaseAuthenticationEnabled=False,
    ),
    by_change(
        "GH-RDS-007",
        rds,
        "parameters",
        "rds.force_ssl",
        reported="database",
        parameters=[{"name": "rds.force_ssl", "value": "0"}],
    ),
    by_change(
        "GH-RDS-007", rds, "database", "parameterGroupName", parameterGroupName="default.postgres18"
    ),
    by_change(
        "GH-RDS-008",
        rds,
        "database",
        "enabledCloudwatchLogsExports",
        enabledCloudwatchLogsExports=[],
    ),
    violation("GH-RDS-009", "database", "monitoringInterval", database(monitoringInterval=None)),
    violation(
        "GH-RDS-009",
        "database",
        "performanceInsightsEnabled",
        database(performanceInsightsEnabled=False),
    ),
    by_change(
        "GH-RDS-010", rds, "database", "autoMinorVersionUpgrade", autoMinorVersionUpgrade=False
    ),
    violation("GH-RDS-011", "database", "copyTagsToSnapshot", database(copyTagsToSnapshot=None)),
    by_change("GH-RDS-012", rds, "database", "password", password="correct horse battery staple"),
    by_change(
        "GH-RDS-012", rds, "database", "manageMasterUserPassword", manageMasterUserPassword=False
    ),
    violation("GH-RDS-013", "database", "username", database(username="postgres")),
    violation("GH-RDS-014", "database", "default", database(port=None)),
    violation(
        "GH-RDS-015", "database", "caCertIdentifier", database(caCertIdentifier="rds-ca-2019")
    ),
    by_change(
        "GH-RDS-016",
        rds,
        "from-gateway",
        "from-gateway",
        reported="database",
        referencedSecurityGroupId=None,
        cidrIpv4="10.0.0.0/8",
    ),
    violation("GH-RDS-017", "database", "subscription", without(rds(), "db-instance")),
    by_change("GH-RDS-018", rds, "snapshot", "sharedAccounts", sharedAccounts=["all"]),
    by_change(
        "GH-RDS-019", rds, "parameters", "does not contain", reported="database", name="acme-main"
    ),
    by_change("GH-RDS-019", rds, "database", "engineVersion is 17.2", engineVersion="17.2"),
    by_change(
        "GH-EC-001", stores, "cache", "atRestEncryptionEnabled", atRestEncryptionEnabled=False
    ),
    violation("GH-EC-001", "standalone-cluster", "standalone", [*stores(), STANDALONE_CLUSTER]),
    violation(
        "GH-EC-001",
        "serverless-cache",
        "kmsKeyId",
        [*stores(), declared("elasticache.ServerlessCache", "serverless-cache", tags=TAGS)],
    ),
    by_change(
        "GH-EC-002", stores, "cache", "transitEncryptionMode", transitEncryptionMode="preferred"
    ),
    by_change("GH-EC-003", stores, "cache", "userGroupIds", userGroupIds=None),
    *(
        violation("GH-EC-003", "cache-user", "user", [*stores(), cache_user(**without_password)])
        for without_password in (
            {"noPasswordRequired": True},
            {"authenticationMode": {"type": "no-password-required"}},
        )
    ),
    by_change("GH-EC-004", stores, "cache", "multiAzEnabled", multiAzEnabled=False),
    by_change("GH-EC-005", stores, "cache", "snapshotRetentionLimit", snapshotRetentionLimit=0),
    by_change("GH-EC-006", stores, "cache", "engine", engine="Valkey"),
    by_change(
        "GH-EC-006", stores, "cache", "autoMinorVersionUpgrade", autoMinorVersionUpgrade=False
    ),
    by_change("GH-EC-007", stores, "cache", "subnetGroupName", subnetGroupName=None),
]
