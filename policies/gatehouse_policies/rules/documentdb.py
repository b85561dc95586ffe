"""Rules for Amazon DocumentDB clusters and parameter groups."""

from functools import partial

from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    contains,
    for_types,
    is_at_least,
    is_customer_key,
    is_true,
    sets_no_secret,
    uses_customer_key,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule

_GUIDE = "https://docs.aws.amazon.com/documentdb/latest/developerguide"
_cluster_rule = partial(resource_rule, types=aws("docdb.Cluster"))


cluster_uses_customer_key = resource_rule(
    "GH-DOC-001",
    title="DocumentDB and Neptune clusters are encrypted with a customer managed key",
    severity="high",
    types=aws("docdb.Cluster", "docdb.ElasticCluster", "neptune.Cluster"),
    upstream="DocumentDB.1 CKV_AWS_74 CKV_AWS_182 DOC1",
    url=f"{_GUIDE}/encryption-at-rest.html",
).requires(
    for_types(aws("docdb.Cluster"), uses_customer_key("kmsKeyId", "storageEncrypted")),
    for_types(aws("docdb.ElasticCluster"), is_customer_key("kmsKeyId")),
    for_types(aws("neptune.Cluster"), uses_customer_key("kmsKeyArn", "storageEncrypted")),
)


global_cluster_is_encrypted = resource_rule(
    "GH-DOC-002",
    title="Global clusters of DocumentDB, Neptune and RDS are encrypted",
    severity="high",
    types=aws("docdb.GlobalCluster", "neptune.GlobalCluster", "rds.GlobalCluster"),
    upstream="CKV_AWS_292",
    url=f"{_GUIDE}/global-clusters.html",
).requires(
    is_true("storageEncrypted"),
    # A global cluster of an existing cluster has the encryption of that cluster.
    when=lambda cluster: not cluster.props.has("sourceDbClusterIdentifier"),
)


@resource_rule(
    "GH-DOC-003",
    title="DocumentDB clusters and parameter groups require TLS and audit logs",
    remedy=(
        "set dbClusterParameterGroupName to an aws.docdb.ClusterParameterGroup without the "
        "parameter tls and with the parameter audit_logs set to enabled"
    ),
    severity="high",
    types=aws("docdb.ClusterParameterGroup", "docdb.Cluster"),
    upstream="CKV_AWS_90 CKV_AWS_104",
    url=f"{_GUIDE}/security.encryption.ssl.html",
)
def parameters_are_secure(group: Resource) -> CheckResults:
    if group.type in aws("docdb.Cluster"):
        name = "dbClusterParameterGroupName"
        if not group.props.has(name) or group.props.known_text(name).startswith("default."):
            yield f"{name} is not set to a group with audit logs, which the default group disables"
        return
    parameters = group.props.name_values("parameters")
    if parameters.get("tls", "").lower() == "disabled":
        yield "the parameter tls is disabled"
    if parameters.get("audit_logs", "disabled").lower() in ("disabled", "none"):
        yield "the parameter audit_logs is not enabled"


logs_are_exported = _cluster_rule(
    "GH-DOC-004",
    title="DocumentDB clusters export audit and profiler logs",
    upstream="DocumentDB.4 CKV_AWS_85",
    url=f"{_GUIDE}/event-auditing.html",
).requires(contains("enabledCloudwatchLogsExports", "audit", "profiler"))


backups_are_retained = _cluster_rule(
    "GH-DOC-005",
    title="DocumentDB clusters retain backups and have deletion protection enabled",
    levels="-MM",
    pack="resilience",
    settings={"days_min": {"dev": 1, "staging": 7, "prod": 7}},
    upstream="DocumentDB.2 DocumentDB.5 CKV_AWS_360 DOC4",
    url=f"{_GUIDE}/backup_restore.html",
).requires(is_at_least("backupRetentionPeriod", "days_min", 1), is_true("deletionProtection"))


program_sets_no_password = _cluster_rule(
    "GH-DOC-006",
    title="The program does not set passwords of DocumentDB",
    remedy='replace the password by manageMasterUserPassword=True or authType="SECRET_ARN"',
    severity="critical",
    types=aws("docdb.Cluster", "docdb.ElasticCluster"),
    upstream="DOC3",
    url=f"{_GUIDE}/docdb-secrets-manager.html",
).requires(sets_no_secret(), when=lambda cluster: cluster.props.text("authType") != "SECRET_ARN")
