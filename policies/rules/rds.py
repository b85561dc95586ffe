"""Rules about RDS databases: who reaches them, over what, who knows the password, and what survives a bad day."""

from policies.analysis import type_tokens as tokens
from policies.analysis.network_reachability import addresses_let_in, is_public_subnet, sources_of
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide"
_HOLDERS = tokens.DB_INSTANCE + tokens.DB_CLUSTER


@resource_rule(
    "GH-RDS-001",
    title="No database is publicly accessible",
    why=("A public database has an address on the internet; one loose security group rule then exposes it to password guessing."),
    remedy="set publiclyAccessible=False or leave it out",
    severity=Severity.CRITICAL,
    types=tokens.DB_INSTANCE + tokens.DB_CLUSTER_INSTANCE,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        security_hub=("RDS.2",), cis=("3.2.3",), checkov=("CKV_AWS_17",), prowler=("rds_instance_no_public_access",)
    ),
    url=f"{_GUIDE}/USER_VPC.WorkingWithRDSInstanceinaVPC.html#USER_VPC.Hiding",
)
def databases_are_not_public(instance: Resource) -> Found:
    if instance.props.flag("publiclyAccessible"):
        yield "publiclyAccessible is true"


@resource_rule(
    "GH-RDS-002",
    title="Database storage is encrypted with a customer key",
    why=(
        "Storage, backups and replicas inherit this once and for all: an unencrypted database can only be copied, not converted."
    ),
    remedy="set storageEncrypted=True and kmsKeyId",
    severity=Severity.HIGH,
    types=_HOLDERS,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("RDS.3", "RDS.27"),
        cis=("3.2.1",),
        checkov=("CKV_AWS_16", "CKV_AWS_96", "CKV_AWS_327"),
        prowler=("rds_instance_storage_encrypted",),
        cdk_nag=("RDS2",),
    ),
    url=f"{_GUIDE}/Overview.Encryption.html",
)
def storage_is_encrypted(database: Resource) -> Found:
    if not database.props.flag("storageEncrypted"):
        yield "storageEncrypted is not true"
    elif not database.props.has("kmsKeyId"):
        yield "kmsKeyId is not set, so the key is the one that AWS manages"


@resource_rule(
    "GH-RDS-003",
    title="A database can be restored to any second of the last weeks",
    why="Point-in-time recovery reaches back as far as backups are kept; what is found later than that is lost.",
    remedy="set backupRetentionPeriod to the days that this environment asks for, and deleteAutomatedBackups=False",
    severity=Severity.HIGH,
    types=_HOLDERS,
    levels=AFTER_DEV,
    pack="resilience",
    settings={"days_min": {"dev": 7, "staging": 7, "prod": 35}},
    upstream=Upstream(
        security_hub=("RDS.11",), checkov=("CKV_AWS_133",), prowler=("rds_instance_backup_enabled",), cdk_nag=("RDS13",)
    ),
    url=f"{_GUIDE}/USER_PIT.html",
)
def any_second_can_be_restored(database: Resource) -> Found:
    days_min = database.settings["days_min"]
    if database.props.number("backupRetentionPeriod") < days_min:
        yield f"backupRetentionPeriod is below {days_min:g}"
    if database.props.flag("deleteAutomatedBackups", True) and days_min >= 35:
        yield "deleteAutomatedBackups is not false, so backups go when the database goes"


@resource_rule(
    "GH-RDS-004",
    title="The database has a standby in another zone",
    why="Without a standby, a zone's outage or a failed disk means a restore of an hour or more.",
    remedy="set multiAz=True",
    severity=Severity.MEDIUM,
    types=tokens.DB_INSTANCE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.5", "RDS.15"),
        cis=("3.2.4",),
        checkov=("CKV_AWS_157",),
        prowler=("rds_instance_multi_az",),
        cdk_nag=("RDS3",),
    ),
    url=f"{_GUIDE}/Concepts.MultiAZ.html",
)
def a_standby_waits(instance: Resource) -> Found:
    if not instance.props.flag("multiAz"):
        yield "multiAz is not true"


@resource_rule(
    "GH-RDS-005",
    title="The database cannot be deleted by mistake",
    why="One wrong command otherwise ends the database; the final snapshot is the last way back.",
    remedy="set deletionProtection=True and skipFinalSnapshot=False with a finalSnapshotIdentifier",
    severity=Severity.HIGH,
    types=_HOLDERS,
    levels=levels("-", "M", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.8", "RDS.7"),
        checkov=("CKV_AWS_293", "CKV_AWS_139"),
        prowler=("rds_instance_deletion_protection",),
        cdk_nag=("RDS10",),
    ),
    url=f"{_GUIDE}/USER_DeleteInstance.html",
)
def databases_outlive_mistakes(database: Resource) -> Found:
    if not database.props.flag("deletionProtection"):
        yield "deletionProtection is not true"
    if database.props.flag("skipFinalSnapshot"):
        yield "skipFinalSnapshot is true"


@resource_rule(
    "GH-RDS-006",
    title="Applications log in with IAM, not with a password",
    why="An IAM token lives for fifteen minutes and is signed by a role: there is no password to leak or to rotate.",
    remedy="set iamDatabaseAuthenticationEnabled=True",
    severity=Severity.MEDIUM,
    types=_HOLDERS,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("RDS.10", "RDS.12"),
        checkov=("CKV_AWS_161", "CKV_AWS_162"),
        prowler=("rds_instance_iam_authentication_enabled",),
        cdk_nag=("RDS6",),
    ),
    url=f"{_GUIDE}/UsingWithRDS.IAMDBAuth.html",
)
def iam_opens_the_database(database: Resource) -> Found:
    if not database.props.flag("iamDatabaseAuthenticationEnabled"):
        yield "iamDatabaseAuthenticationEnabled is not true"


# The parameter by which each engine refuses connections without TLS, and its values that mean yes.
_FORCE_TLS = {"postgres": "rds.force_ssl", "aurora-postgresql": "rds.force_ssl", "sqlserver": "rds.force_ssl"}
_FORCE_TLS |= dict.fromkeys(("mysql", "mariadb", "aurora-mysql"), "require_secure_transport")


@stack_rule(
    "GH-RDS-007",
    title="The database refuses connections without TLS",
    why="A client that is set up wrongly should fail, rather than send its password and data in the clear.",
    remedy="attach a parameter group of the stack that sets rds.force_ssl (MySQL: require_secure_transport) to 1",
    severity=Severity.HIGH,
    types=_HOLDERS,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("RDS.38",), checkov=("CKV2_AWS_69",), prowler=("rds_instance_transport_encrypted",)),
    url=f"{_GUIDE}/PostgreSQL.Concepts.General.SSL.html",
)
def plain_connections_are_refused(database: Resource, stack: Stack) -> Found:
    engine = database.props.text("engine")
    parameter = _FORCE_TLS.get("sqlserver" if engine.startswith("sqlserver") else engine)
    if parameter is None:
        return  # Oracle and Db2 force TLS by option groups; a replica takes its engine, and its group, from its source.
    prop = "parameterGroupName" if database.type in tokens.DB_INSTANCE else "dbClusterParameterGroupName"
    groups = stack.targets(database, prop, tokens.DB_PARAMETERS + tokens.DB_CLUSTER_PARAMETERS)
    if not groups:
        yield f"{prop} names no parameter group of this stack"
    for group in groups:
        values = {one.text("name"): one.text("value") for one in group.props.blocks("parameters")}
        if values.get(parameter, "").upper() not in ("1", "ON", "TRUE"):
            yield f"{parameter} is not 1 in {group.name}"


@resource_rule(
    "GH-RDS-008",
    title="The database's logs leave the database",
    why="Logs that stay on the instance are gone with it, and after days anyway.",
    remedy='set enabledCloudwatchLogsExports, for PostgreSQL to ["postgresql", "upgrade"]',
    severity=Severity.MEDIUM,
    types=_HOLDERS,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.9", "RDS.36"),
        checkov=("CKV_AWS_129", "CKV2_AWS_30"),
        prowler=("rds_instance_integration_cloudwatch_logs",),
    ),
    url=f"{_GUIDE}/USER_LogAccess.Procedural.UploadtoCloudWatch.html",
)
def logs_leave_the_database(database: Resource) -> Found:
    if not database.props.size("enabledCloudwatchLogsExports"):
        yield "enabledCloudwatchLogsExports is empty"


@resource_rule(
    "GH-RDS-010",
    title="Security fixes of the engine are installed",
    why="Minor versions carry the fixes for known holes.",
    remedy="set autoMinorVersionUpgrade=True or leave it out",
    severity=Severity.MEDIUM,
    types=tokens.DB_INSTANCE + tokens.DB_CLUSTER_INSTANCE,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("RDS.13", "RDS.35"),
        cis=("3.2.2",),
        checkov=("CKV_AWS_226",),
        prowler=("rds_instance_minor_version_upgrade_enabled",),
    ),
    url=f"{_GUIDE}/USER_UpgradeDBInstance.Upgrading.html",
)
def fixes_are_installed(instance: Resource) -> Found:
    if not instance.props.flag("autoMinorVersionUpgrade", True):
        yield "autoMinorVersionUpgrade is false"


@resource_rule(
    "GH-RDS-012",
    title="Nobody but RDS knows the owner's password",
    why="A password in the program is in its state and history; RDS can make, store and rotate it out of sight.",
    remedy="set manageMasterUserPassword=True and masterUserSecretKmsKeyId, and remove password",
    severity=Severity.CRITICAL,
    types=_HOLDERS,
    levels=ALWAYS,
    exemptible=False,
    url=f"{_GUIDE}/rds-secrets-manager.html",
)
def nobody_knows_the_password(database: Resource) -> Found:
    for name in ("password", "passwordWo", "masterPassword", "masterPasswordWo"):
        if database.props.has(name):
            yield f"{name} is set by the program"
    if any(database.props.has(name) for name in ("replicateSourceDb", "replicationSourceIdentifier")):
        return  # A replica has its source's users.
    if not database.props.flag("manageMasterUserPassword"):
        yield "manageMasterUserPassword is not true"
    elif not database.props.has("masterUserSecretKmsKeyId"):
        yield "masterUserSecretKmsKeyId is not set, so the key is the one that AWS manages"


@stack_rule(
    "GH-RDS-016",
    title="Only named groups reach the database, on private subnets",
    why="An address range lets in whatever takes an address there later; a security group lets in what was meant.",
    remedy="use private subnets, and let in security groups (referencedSecurityGroupId), not address ranges",
    severity=Severity.HIGH,
    types=_HOLDERS,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("RDS.18", "EC2.19", "RDS.46"),
        prowler=("rds_instance_inside_vpc", "ec2_securitygroup_allow_ingress_from_internet_to_tcp_port_postgres_5432"),
        cdk_nag=("RDS8",),
    ),
    url=f"{_GUIDE}/Overview.RDSSecurityGroups.html",
)
def only_named_groups_reach_it(database: Resource, stack: Stack) -> Found:
    subnet_groups = stack.targets(database, "dbSubnetGroupName", tokens.DB_SUBNETS)
    if not database.props.has("dbSubnetGroupName"):
        yield Violation("dbSubnetGroupName is not set, so the database is in the default VPC", "set dbSubnetGroupName")
    for subnet in (s for group in subnet_groups for s in stack.targets(group, "subnetIds", tokens.SUBNET)):
        if is_public_subnet(subnet, stack):
            yield f"the subnet {subnet.name} is public"
    if not database.props.size("vpcSecurityGroupIds"):
        yield Violation("vpcSecurityGroupIds is empty, so the VPC's default group applies", "set vpcSecurityGroupIds")
    for group in stack.targets(database, "vpcSecurityGroupIds", tokens.SECURITY_GROUP):
        for source in sources_of(group, stack):
            if addresses_let_in(source.props):
                yield f"{source.name} lets an address range in"


@resource_rule(
    "GH-RDS-018",
    title="No snapshot is shared",
    why="A snapshot is the whole database; shared with all, it is published.",
    remedy="remove sharedAccounts",
    severity=Severity.CRITICAL,
    types=tokens.DB_SNAPSHOT,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("RDS.1",), checkov=("CKV_AWS_302",), prowler=("rds_snapshots_public_access",)),
    url=f"{_GUIDE}/USER_ShareSnapshot.html",
)
def snapshots_are_not_shared(snapshot: Resource) -> Found:
    if snapshot.props.has("sharedAccounts"):
        yield "sharedAccounts is set"


_COPIED = ("replicateSourceDb", "replicationSourceIdentifier", "snapshotIdentifier")


@resource_rule(
    "GH-RDS-009",
    title="One sees inside a slow database",
    why="When the database is slow, only its own insights say which query, lock or disk it is.",
    remedy="set monitoringInterval and monitoringRoleArn, performanceInsightsEnabled=True and performanceInsightsKmsKeyId",
    severity=Severity.LOW,
    types=tokens.DB_INSTANCE + tokens.DB_CLUSTER_INSTANCE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.6",),
        checkov=("CKV_AWS_118", "CKV_AWS_353", "CKV_AWS_354"),
        prowler=("rds_instance_enhanced_monitoring_enabled",),
    ),
    url=f"{_GUIDE}/USER_PerfInsights.html",
)
def one_sees_inside(instance: Resource) -> Found:
    if not instance.props.number("monitoringInterval"):
        yield "monitoringInterval is 0"
    if not instance.props.flag("performanceInsightsEnabled"):
        yield "performanceInsightsEnabled is not true"
    elif not instance.props.has("performanceInsightsKmsKeyId"):
        yield "performanceInsightsKmsKeyId is not set, so queries are encrypted with the key that AWS manages"


@resource_rule(
    "GH-RDS-011",
    title="Snapshots carry the database's tags",
    why="A snapshot without tags has no owner, no data class and no cost centre.",
    remedy="set copyTagsToSnapshot=True",
    severity=Severity.LOW,
    types=_HOLDERS,
    levels=levels("A", "A", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("RDS.17", "RDS.16"),
        checkov=("CKV2_AWS_60", "CKV_AWS_313"),
        prowler=("rds_instance_copy_tags_to_snapshots",),
    ),
    url=f"{_GUIDE}/USER_Tagging.html",
)
def snapshots_carry_tags(database: Resource) -> Found:
    if not database.props.flag("copyTagsToSnapshot"):
        yield "copyTagsToSnapshot is not true"


_DEFAULT_OWNERS = frozenset({"admin", "administrator", "awsuser", "mysql", "postgres", "root", "sa", "sysadmin"})


@resource_rule(
    "GH-RDS-013",
    title="The owner of the database is not called what everybody guesses",
    why="Whoever guesses passwords tries these names first.",
    remedy="set another username",
    severity=Severity.LOW,
    types=_HOLDERS,
    levels=levels("A", "A", "M"),
    upstream=Upstream(security_hub=("RDS.25", "RDS.24"), prowler=("rds_instance_default_admin",)),
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/rds-controls.html#rds-25",
)
def the_owner_has_another_name(database: Resource) -> Found:
    name = database.props.text("username") or database.props.text("masterUsername")
    if name.lower() in _DEFAULT_OWNERS:
        yield "the owner has a name that everybody guesses"
    if not name and not any(database.props.has(one) for one in _COPIED):
        yield Violation("the program does not name the owner", "set username")


_PORTS = {"postgres": 5432, "aurora-postgresql": 5432, "mysql": 3306, "mariadb": 3306, "aurora-mysql": 3306}


@resource_rule(
    "GH-RDS-014",
    title="The database listens on a port of its own",
    why="A scan for the usual port then finds nothing; it stops no one who looks further, so this is advice only.",
    remedy="set port to another number",
    severity=Severity.LOW,
    types=_HOLDERS,
    levels=levels("-", "-", "A"),
    upstream=Upstream(security_hub=("RDS.23",), prowler=("rds_instance_non_default_port",), cdk_nag=("RDS11",)),
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/rds-controls.html#rds-23",
)
def the_port_is_its_own(database: Resource) -> Found:
    usual = _PORTS.get(database.props.text("engine"))
    if usual is not None and database.props.number("port", usual) == usual:
        yield "port is the engine's usual one"


# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.SSL.html#UsingWithRDS.SSL.RegionCertificateAuthorities
_CERTIFICATES = ("rds-ca-rsa2048-g1", "rds-ca-rsa4096-g1", "rds-ca-ecc384-g1")


@resource_rule(
    "GH-RDS-015",
    title="The database shows a current certificate",
    why="rds-ca-2019 ended in 2024: clients that check certificates cannot connect any more, and those that can do not check.",
    remedy='set caCertIdentifier="rds-ca-rsa2048-g1" or leave it out',
    severity=Severity.MEDIUM,
    types=tokens.DB_INSTANCE + tokens.DB_CLUSTER_INSTANCE,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_211",), prowler=("rds_instance_certificate_expiration",)),
    url=f"{_GUIDE}/UsingWithRDS.SSL.html",
)
def the_certificate_is_current(instance: Resource) -> Found:
    if instance.props.text("caCertIdentifier", _CERTIFICATES[0]) not in _CERTIFICATES:
        yield "caCertIdentifier is not a current certificate authority"


@stack_rule(
    "GH-RDS-017",
    title="Somebody hears what happens to the database",
    why="Failovers, failed backups and changed parameters are told once, as events, to whoever asked for them.",
    remedy='add an aws.rds.EventSubscription with a topic and this sourceType ("" for all)',
    severity=Severity.LOW,
    # Security Hub also asks for db-security-group events (RDS.22), of EC2-Classic, which AWS ended in 2022:
    # https://aws.amazon.com/blogs/aws/ec2-classic-is-retiring-heres-how-to-prepare/
    types=_HOLDERS,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(security_hub=("RDS.20", "RDS.21", "RDS.22"), prowler=("rds_instance_critical_event_subscription",)),
    url=f"{_GUIDE}/USER_Events.overview.html",
)
def events_are_heard(database: Resource, stack: Stack) -> Found:
    subscriptions = [one.props for one in stack.of(tokens.DB_EVENTS) if one.props.flag("enabled", True)]
    heard = {one.text("sourceType") for one in subscriptions if one.has("snsTopic")}
    wanted = ("db-instance" if database.type in tokens.DB_INSTANCE else "db-cluster", "db-parameter-group")
    for kind in wanted if "" not in heard else ():
        if kind not in heard:
            yield f"nobody hears {kind} events"
