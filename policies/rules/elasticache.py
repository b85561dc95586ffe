"""Rules about ElastiCache: encrypted at rest and on the wire, opened by users rather than one token, surviving a
node.
"""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, levels, resource_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonElastiCache/latest/dg"


@resource_rule(
    "GH-EC-001",
    title="The cache is encrypted at rest with a customer key",
    why="Snapshots and swap files hold what the cache held.",
    remedy="set atRestEncryptionEnabled=True and kmsKeyId",
    severity=Severity.HIGH,
    types=tokens.CACHE + tokens.CACHE_CLUSTER + tokens.CACHE_SERVERLESS,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ElastiCache.4",),
        checkov=("CKV_AWS_29", "CKV_AWS_191"),
        prowler=("elasticache_redis_cluster_rest_encryption_enabled",),
        cdk_nag=("AEC3",),
    ),
    url=f"{_GUIDE}/at-rest-encryption.html",
)
def the_cache_is_encrypted(cache: Resource) -> Found:
    if cache.type in tokens.CACHE_CLUSTER:
        # A node of a replication group has the group's settings; the group answers for it.
        if not cache.props.has("replicationGroupId"):
            yield Violation(
                "a cluster by itself is never encrypted at rest", "declare an aws.elasticache.ReplicationGroup, which can"
            )
    elif cache.type in tokens.CACHE_SERVERLESS:
        if not cache.props.has("kmsKeyId"):
            yield Violation("kmsKeyId is not set, so the key is the one that AWS manages", "set kmsKeyId")
    elif not cache.props.flag("atRestEncryptionEnabled"):
        yield "atRestEncryptionEnabled is not true"
    elif not cache.props.has("kmsKeyId"):
        yield "kmsKeyId is not set, so the key is the one that AWS manages"


@resource_rule(
    "GH-EC-002",
    title="The cache refuses connections without TLS",
    why='In mode "preferred" a client that forgets TLS still gets in, in the clear.',
    remedy='set transitEncryptionEnabled=True, and transitEncryptionMode="required" when it is set at all',
    severity=Severity.HIGH,
    types=tokens.CACHE,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ElastiCache.5",),
        checkov=("CKV_AWS_30",),
        prowler=("elasticache_redis_cluster_in_transit_encryption_enabled",),
        cdk_nag=("AEC3",),
    ),
    url=f"{_GUIDE}/in-transit-encryption.html",
)
def plain_connections_are_refused(cache: Resource) -> Found:
    if not cache.props.flag("transitEncryptionEnabled"):
        yield "transitEncryptionEnabled is not true"
    elif cache.props.text("transitEncryptionMode", "required") != "required":
        yield "transitEncryptionMode is not required"


@resource_rule(
    "GH-EC-003",
    title="Users open the cache, not one shared token",
    why=("A token in the program is in its state and shared by all; users have their own rights and can log in with IAM."),
    remedy="set userGroupIds and remove authToken",
    severity=Severity.HIGH,
    types=tokens.CACHE + tokens.CACHE_USER,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ElastiCache.6",),
        checkov=("CKV_AWS_31",),
        prowler=("elasticache_redis_replication_group_auth_enabled",),
        cdk_nag=("AEC6",),
    ),
    url=f"{_GUIDE}/Clusters.RBAC.html",
)
def users_open_the_cache(cache: Resource) -> Found:
    if cache.type in tokens.CACHE_USER:
        mode = cache.props.block("authenticationMode").text("type")
        open_to_all = cache.props.flag("noPasswordRequired") or mode == "no-password-required"
        if open_to_all and cache.props.text("accessString").split()[:1] != ["off"]:
            fix = 'set authenticationMode.type="iam", or accessString="off -@all" for the default user'
            yield Violation("this user is on and needs no password", fix)
        return
    for name in ("authToken", "authTokenWo"):
        if cache.props.has(name):
            yield Violation(f"{name} is set by the program", f"remove {name} and set userGroupIds")
    if not cache.props.has("userGroupIds"):
        yield "userGroupIds is empty, so whoever reaches the cache may use it"


@resource_rule(
    "GH-EC-004",
    title="The cache survives a node and a zone",
    why="Without failover a lost node is an outage until somebody rebuilds it.",
    remedy="set automaticFailoverEnabled=True and multiAzEnabled=True, with a replica",
    severity=Severity.MEDIUM,
    types=tokens.CACHE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(
        security_hub=("ElastiCache.3",),
        checkov=("CKV2_AWS_50",),
        prowler=("elasticache_redis_cluster_automatic_failover_enabled", "elasticache_redis_cluster_multi_az_enabled"),
        cdk_nag=("AEC4",),
    ),
    url=f"{_GUIDE}/AutoFailover.html",
)
def the_cache_fails_over(cache: Resource) -> Found:
    for name in ("automaticFailoverEnabled", "multiAzEnabled"):
        if not cache.props.flag(name):
            yield f"{name} is not true"


@resource_rule(
    "GH-EC-005",
    title="Snapshots of the cache are kept",
    why="Counters and sessions can then be brought back after a wrong FLUSHALL.",
    remedy="set snapshotRetentionLimit to 1 or more",
    severity=Severity.LOW,
    types=tokens.CACHE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    settings={"days_min": {"dev": 1, "staging": 1, "prod": 1}},
    upstream=Upstream(
        security_hub=("ElastiCache.1",), checkov=("CKV_AWS_134",), prowler=("elasticache_redis_cluster_backup_enabled",)
    ),
    url=f"{_GUIDE}/backups-automatic.html",
)
def snapshots_are_kept(cache: Resource) -> Found:
    days_min = cache.settings["days_min"]
    if cache.props.number("snapshotRetentionLimit") < days_min:
        yield f"snapshotRetentionLimit is below {days_min:g}"


@resource_rule(
    "GH-EC-006",
    title="The cache takes security fixes",
    why="Minor versions carry the fixes for known holes.",
    remedy='leave autoMinorVersionUpgrade on, and write engine in lower case ("valkey")',
    severity=Severity.MEDIUM,
    types=tokens.CACHE,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("ElastiCache.2",),
        checkov=("CKV_AWS_322",),
        prowler=("elasticache_redis_cluster_auto_minor_version_upgrades",),
    ),
    url=f"{_GUIDE}/VersionManagement.html",
)
def the_cache_takes_fixes(cache: Resource) -> Found:
    if not cache.props.flag("autoMinorVersionUpgrade", True):
        yield "autoMinorVersionUpgrade is false"
    engine = cache.props.text("engine")
    if engine != engine.lower():  # Version 7 of pulumi-aws takes lower case only.
        yield "engine is not in lower case"


@resource_rule(
    "GH-EC-007",
    title="The cache stands in subnets of its own",
    why="The default group is every subnet of the default VPC, public ones included.",
    remedy="set subnetGroupName to an aws.elasticache.SubnetGroup of private subnets (GH-VPC-010 reads those)",
    severity=Severity.HIGH,
    types=tokens.CACHE,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ElastiCache.7",),
        checkov=("CKV_AWS_323",),
        prowler=("elasticache_cluster_uses_public_subnet",),
        cdk_nag=("AEC1",),
    ),
    url=f"{_GUIDE}/SubnetGroups.html",
)
def the_cache_has_its_own_subnets(cache: Resource) -> Found:
    if not cache.props.has("subnetGroupName"):
        yield "subnetGroupName is not set"
    elif cache.props.known("subnetGroupName") and cache.props.text("subnetGroupName") == "default":
        yield "subnetGroupName is the default group"
