"""Programs that violate one control: RDS and ElastiCache."""

from __future__ import annotations

from typing import Any

from policies.testing.pack_process import Declared
from tests.policies.rules import programs
from tests.policies.rules.builders import TAGS, Program, changed, violation, without

STANDALONE_CLUSTER = Declared("aws:elasticache/cluster:Cluster", "standalone-cluster", {"engine": "memcached", "tags": TAGS})


def cache_user(**inputs: Any) -> Declared:
    return Declared("aws:elasticache/user:User", "cache-user", {"accessString": "on ~* +@all", "tags": TAGS, **inputs})


def database(**inputs: Any) -> Program:
    return changed(programs.rds(), "database", **inputs)


VIOLATIONS = [
    violation("GH-RDS-001", "database", "publiclyAccessible", changed(programs.rds(), "database", publiclyAccessible=True)),
    violation("GH-RDS-002", "database", "storageEncrypted", changed(programs.rds(), "database", storageEncrypted=False)),
    violation("GH-RDS-002", "database", "kmsKeyId", changed(programs.rds(), "database", kmsKeyId=None)),
    violation("GH-RDS-003", "database", "backupRetentionPeriod", changed(programs.rds(), "database", backupRetentionPeriod=7)),
    violation("GH-RDS-004", "database", "multiAz", changed(programs.rds(), "database", multiAz=False)),
    violation("GH-RDS-005", "database", "deletionProtection", changed(programs.rds(), "database", deletionProtection=None)),
    violation(
        "GH-RDS-006",
        "database",
        "iamDatabaseAuthenticationEnabled",
        changed(programs.rds(), "database", iamDatabaseAuthenticationEnabled=False),
    ),
    violation(
        "GH-RDS-007",
        "database",
        "rds.force_ssl",
        changed(programs.rds(), "parameters", parameters=[{"name": "rds.force_ssl", "value": "0"}]),
    ),
    violation(
        "GH-RDS-007",
        "database",
        "parameterGroupName",
        changed(programs.rds(), "database", parameterGroupName="default.postgres18"),
    ),
    violation(
        "GH-RDS-008",
        "database",
        "enabledCloudwatchLogsExports",
        changed(programs.rds(), "database", enabledCloudwatchLogsExports=[]),
    ),
    violation("GH-RDS-009", "database", "monitoringInterval", database(monitoringInterval=None)),
    violation("GH-RDS-009", "database", "performanceInsightsEnabled", database(performanceInsightsEnabled=False)),
    violation(
        "GH-RDS-010", "database", "autoMinorVersionUpgrade", changed(programs.rds(), "database", autoMinorVersionUpgrade=False)
    ),
    violation("GH-RDS-011", "database", "copyTagsToSnapshot", database(copyTagsToSnapshot=None)),
    violation("GH-RDS-012", "database", "password", changed(programs.rds(), "database", password="correct horse battery staple")),
    violation(
        "GH-RDS-012", "database", "manageMasterUserPassword", changed(programs.rds(), "database", manageMasterUserPassword=False)
    ),
    violation("GH-RDS-013", "database", "username", database(username="postgres")),
    violation("GH-RDS-014", "database", "default", database(port=None)),
    violation("GH-RDS-015", "database", "caCertIdentifier", database(caCertIdentifier="rds-ca-2019")),
    violation(
        "GH-RDS-016",
        "database",
        "from-gateway",
        changed(programs.rds(), "from-gateway", referencedSecurityGroupId=None, cidrIpv4="10.0.0.0/8"),
    ),
    violation("GH-RDS-017", "database", "subscription", without(programs.rds(), "db-instance")),
    violation("GH-RDS-018", "snapshot", "sharedAccounts", changed(programs.rds(), "snapshot", sharedAccounts=["all"])),
    violation(
        "GH-EC-001", "cache", "atRestEncryptionEnabled", changed(programs.stores(), "cache", atRestEncryptionEnabled=False)
    ),
    violation("GH-EC-001", "standalone-cluster", "standalone", [*programs.stores(), STANDALONE_CLUSTER]),
    violation(
        "GH-EC-001",
        "serverless-cache",
        "kmsKeyId",
        [*programs.stores(), Declared("aws:elasticache/serverlessCache:ServerlessCache", "serverless-cache", {"tags": TAGS})],
    ),
    violation(
        "GH-EC-002", "cache", "transitEncryptionMode", changed(programs.stores(), "cache", transitEncryptionMode="preferred")
    ),
    violation("GH-EC-003", "cache", "userGroupIds", changed(programs.stores(), "cache", userGroupIds=None)),
    *(
        violation("GH-EC-003", "cache-user", "user", [*programs.stores(), cache_user(**without_password)])
        for without_password in ({"noPasswordRequired": True}, {"authenticationMode": {"type": "no-password-required"}})
    ),
    violation("GH-EC-004", "cache", "multiAzEnabled", changed(programs.stores(), "cache", multiAzEnabled=False)),
    violation("GH-EC-005", "cache", "snapshotRetentionLimit", changed(programs.stores(), "cache", snapshotRetentionLimit=0)),
    violation("GH-EC-006", "cache", "engine", changed(programs.stores(), "cache", engine="Valkey")),
    violation(
        "GH-EC-006", "cache", "autoMinorVersionUpgrade", changed(programs.stores(), "cache", autoMinorVersionUpgrade=False)
    ),
    violation("GH-EC-007", "cache", "subnetGroupName", changed(programs.stores(), "cache", subnetGroupName=None)),
]
