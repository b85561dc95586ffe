"""Rules for RDS instances, clusters and snapshots."""

import re
from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis import network_reachability as network
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    contains,
    has_elements,
    in_order,
    is_at_least,
    is_customer_key,
    is_exactly,
    is_not_set,
    is_not_true,
    is_true,
    sets_no_secret,
    uses_customer_key,
    where,
    with_severity,
)
from gatehouse_policies.engine.rule import CheckResults, Violation, resource_rule, stack_rule

_DATABASES = aws("rds.Instance", "rds.Cluster")
_database_rule = partial(resource_rule, types=_DATABASES)
_database_stack_rule = partial(stack_rule, types=_DATABASES)
_instance_rule = partial(resource_rule, types=aws("rds.Instance", "rds.ClusterInstance"))


database_is_not_public = resource_rule(
    "GH-RDS-001",
    types=aws("rds.Instance", "rds.ClusterInstance", "rds.Cluster", "rds.ShardGroup"),
    exemptible=False,
).requires(is_not_true("publiclyAccessible"))


storage_uses_customer_key = _database_rule("GH-RDS-002").requires(
    in_order(
        is_true("storageEncrypted"),
        where(lambda database: not _has_key_of_source(database), is_customer_key("kmsKeyId")),
    )
)


def _has_key_of_source(database: Resource) -> bool:
    """True for a read replica in the Region of its source, which has the key of the source. The
    source in another Region is an ARN.

    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstanceReadReplica.html
    """
    source, props = "replicateSourceDb", database.props
    is_arn = props.known_text(source).startswith("arn:")
    return props.has(source) and not is_arn and not props.has("kmsKeyId")


@_database_rule("GH-RDS-003", settings={"days_min": {"dev": 7, "staging": 7, "prod": 35}})
def backups_are_retained(database: Resource) -> CheckResults:
    if is_read_replica(database):
        return  # The backups of its source contain the same data.
    days_min = database.settings["days_min"]
    if database.props.number("backupRetentionPeriod") < days_min:
        yield f"backupRetentionPeriod is below {days_min:g}"
    if database.props.flag("deleteAutomatedBackups", True) and days_min >= 35:
        yield "deleteAutomatedBackups is not false, so deleting the database deletes its backups"


deletion_protection_is_enabled = _database_rule("GH-RDS-005").requires(
    is_true("deletionProtection"),
    is_not_true("skipFinalSnapshot"),
    # A replica has no data of its own, and RDS takes no final snapshot of a replica.
    when=lambda database: not is_read_replica(database),
)


iam_authentication_is_enabled = _database_rule("GH-RDS-006", strict=True).requires(
    is_true("iamDatabaseAuthenticationEnabled"),
    # These engines do not support it.
    when=lambda database: (
        not database.props.text("engine").startswith(("custom", "db2", "oracle", "sqlserver"))
    ),
)


# Parameter that makes TLS mandatory, keyed by the start of engines and parameter group families.
# Oracle and Db2 configure TLS in option groups.
_FORCE_TLS = dict.fromkeys(("postgres", "aurora-postgresql", "sqlserver"), "rds.force_ssl")
_FORCE_TLS |= dict.fromkeys(("mysql", "mariadb", "aurora-mysql"), "require_secure_transport")


def _force_tls(engine: str) -> str:
    """The parameter that makes TLS mandatory; "" for an engine without such a parameter. The
    provider ignores the case of an engine.
    """
    names = (name for start, name in _FORCE_TLS.items() if engine.lower().startswith(start))
    return next(names, "")


@_database_stack_rule("GH-RDS-007")
def tls_is_required(database: Resource, stack: Stack) -> CheckResults:
    # A copy of a snapshot or another database inherits its engine.
    engine = database.props.text("engine")
    if engine and not _force_tls(engine):
        return
    prop = (
        "parameterGroupName"
        if database.type in aws("rds.Instance")
        else "dbClusterParameterGroupName"
    )
    groups = stack.referenced_by(
        database, prop, aws("rds.ParameterGroup", "rds.ClusterParameterGroup")
    )
    # A replica without a group inherits that of its source.
    if not groups and (database.props.has(prop) or not is_read_replica(database)):
        yield f"{prop} is not a parameter group of this stack"
    for group in groups:
        parameter = _force_tls(engine or group.props.text("family"))
        values = group.props.name_values("parameters")
        if parameter and values.get(parameter, "").upper() not in ("1", "ON", "TRUE"):
            yield f"{parameter} is not 1 in {group.name}"


logs_are_exported = _database_rule("GH-RDS-008").requires(
    has_elements("enabledCloudwatchLogsExports"),
    where(
        lambda database: database.props.text("engine").startswith("aurora-mysql"),
        contains("enabledCloudwatchLogsExports", "audit"),
    ),
)


master_password_is_managed = _database_rule("GH-RDS-012", exemptible=False).requires(
    in_order(
        sets_no_secret(),
        # A replica has the users of its source. AWS manages no password in a global database.
        where(
            lambda each: not (is_read_replica(each) or each.props.has("globalClusterIdentifier")),
            in_order(
                is_true("manageMasterUserPassword"),
                with_severity("low", is_customer_key("masterUserSecretKmsKeyId")),
            ),
        ),
    )
)


@_database_stack_rule("GH-RDS-016")
def access_is_by_security_group(database: Resource, stack: Stack) -> CheckResults:
    # The group "default" is in the default VPC. A replica is in the group of its source.
    is_set = database.props.has("dbSubnetGroupName") or is_read_replica(database)
    if not is_set or database.props.known_text("dbSubnetGroupName").lower() == "default":
        yield Violation(
            "dbSubnetGroupName is not set or default, so the database is in the default VPC",
            "set dbSubnetGroupName",
        )
    if not database.props.size("vpcSecurityGroupIds"):
        yield Violation(
            "vpcSecurityGroupIds is empty, so the default security group applies",
            "set vpcSecurityGroupIds",
        )
    for group in stack.referenced_by(database, "vpcSecurityGroupIds", aws("ec2.SecurityGroup")):
        for location, rule in network.ingress_rules(group, stack):
            # GH-VPC-004 reports the internet.
            if network.address_ranges(rule) and not network.allows_internet(rule):
                yield f"{location} allows an address range"


snapshots_are_private = resource_rule(
    "GH-RDS-018",
    types=aws("rds.Snapshot", "rds.SnapshotCopy", "rds.ClusterSnapshot", "rds.ClusterSnapshotCopy"),
).requires(is_not_set("sharedAccounts"))


_REPLICA_SOURCES = ("replicateSourceDb", "replicationSourceIdentifier")


def is_read_replica(database: Resource) -> bool:
    return any(database.props.has(name) for name in _REPLICA_SOURCES)


monitoring_is_enabled = _instance_rule("GH-RDS-009").requires(
    is_at_least("monitoringInterval", 1),
    uses_customer_key("performanceInsightsKmsKeyId", "performanceInsightsEnabled"),
)


snapshots_have_tags = _database_rule("GH-RDS-011").requires(is_true("copyTagsToSnapshot"))


# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html#UsingWithRDS.SSL.RegionCertificateAuthorities
_CERTIFICATES = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")


certificate_is_current = _instance_rule("GH-RDS-015").requires(
    is_exactly(
        "caCertIdentifier",
        *_CERTIFICATES,
        default=_CERTIFICATES[0],
        message="is not a current certificate authority",
    )
)


@_database_stack_rule(
    "GH-RDS-017",
    strict=True,
    # Security Hub also requires db-security-group events (RDS.22), which belong to EC2-Classic,
    # retired in 2022:
    # https://aws.amazon.com/blogs/aws/ec2-classic-is-retiring-heres-how-to-prepare/
)
def event_subscription_exists(database: Resource, stack: Stack) -> CheckResults:
    subscribed = {
        each.props.text("sourceType")
        for each in stack.of_type(aws("rds.EventSubscription"))
        if each.props.flag("enabled", True) and each.props.has("snsTopic")
        # Without IDs, a subscription is for all sources of its type.
        if each.props.text("sourceType") == "db-parameter-group"
        or not each.props.has("sourceIds")
        or stack.references(each, "sourceIds", database)
    }
    source_types = (
        "db-instance" if database.type in aws("rds.Instance") else "db-cluster",
        "db-parameter-group",
    )
    for source_type in source_types if "" not in subscribed else ():
        if source_type not in subscribed:
            yield f"no event subscription for {source_type} events"


@stack_rule("GH-RDS-019", types=aws("rds.Instance"))
def major_version_can_be_upgraded(instance: Resource, stack: Stack) -> CheckResults:
    for group in stack.referenced_by(instance, "parameterGroupName", aws("rds.ParameterGroup")):
        family = re.fullmatch(r"(?:postgres|mysql|mariadb)([\d.]+)", group.props.text("family"))
        if family is None:
            continue
        version = instance.props.text("engineVersion")
        if version and not f"{version}.".startswith(f"{family[1]}."):
            yield f"engineVersion is {version}, but the family of {group.name} is {family[0]}"
        if group.props.has("name") and family[1].replace(".", "") not in re.sub(
            r"\D", "", group.props.text("name")
        ):
            yield f"the name of {group.name} does not contain the version of its family"
