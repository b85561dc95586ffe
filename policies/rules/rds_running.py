"""Rules about how RDS databases run: what is seen of them, who hears of events, names, ports and certificates."""

from policies import tokens
from policies.rule import AFTER_DEV, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule
from policies.stack import Resource, Stack

_GUIDE = "https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide"
_HOLDERS = tokens.DB_INSTANCE + tokens.DB_CLUSTER
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
