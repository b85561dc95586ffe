"""Rules for Amazon Redshift clusters, parameter groups and serverless namespaces."""

from functools import partial

from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    for_types,
    has_resource,
    is_at_least,
    is_customer_key,
    is_not,
    is_not_false,
    is_not_true,
    is_set,
    is_true,
    names_own_group,
    sets_no_secret,
    uses_customer_key,
)
from gatehouse_policies.engine.rule import CheckResults, Requirement, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/redshift/latest/mgmt"
_WORKGROUPS = aws("redshiftserverless.Workgroup")
_cluster_rule = partial(resource_rule, types=aws("redshift.Cluster"))


cluster_uses_customer_key = _cluster_rule(
    "GH-RS-001",
    title="Redshift clusters are encrypted with a customer managed key",
    severity="high",
    upstream="Redshift.10 CKV_AWS_64 CKV_AWS_142 RS6",
    url=f"{_GUIDE}/working-with-db-encryption.html",
).requires(uses_customer_key("kmsKeyId", "encrypted"))


namespace_uses_customer_key = resource_rule(
    "GH-RS-002",
    title=(
        "Redshift Serverless namespaces and snapshot copies are encrypted with a customer "
        "managed key"
    ),
    types=aws("redshiftserverless.Namespace", "redshift.SnapshotCopyGrant"),
    upstream="CKV_AWS_281 CKV_AWS_282",
    url=f"{_GUIDE}/serverless-workgroups-and-namespaces-rotate-kms-key.html",
).requires(is_customer_key("kmsKeyId"))


cluster_is_private = resource_rule(
    "GH-RS-003",
    title="Redshift clusters and workgroups are private and use enhanced VPC routing",
    severity="high",
    types=aws("redshift.Cluster") + _WORKGROUPS,
    upstream="Redshift.1 Redshift.7 CKV_AWS_87 CKV_AWS_154 CKV_AWS_321 CKV_AWS_391 RS2 RS8",
    url=f"{_GUIDE}/managing-clusters-vpc.html",
).requires(
    is_not_true("publiclyAccessible"),
    for_types(aws("redshift.Cluster"), names_own_group("clusterSubnetGroupName")),
    for_types(_WORKGROUPS, is_set("subnetIds")),
    is_true("enhancedVpcRouting"),
)


audit_logging_is_enabled = stack_rule(
    "GH-RS-004",
    title="Redshift clusters have audit logging enabled",
    types=aws("redshift.Cluster"),
    upstream="Redshift.4 CKV_AWS_71 RS5",
    url=f"{_GUIDE}/db-auditing.html",
).requires(
    has_resource("redshift.Logging", "clusterIdentifier", missing="the cluster has no Logging")
)


def _secure_parameters(group: Resource, _stack: Stack) -> CheckResults:
    parameters = group.props.name_values("parameters")
    for block in group.props.blocks("configParameters"):
        parameters[block.text("parameterKey")] = block.text("parameterValue")
    # A namespace logs user activity (logExports).
    names = ("require_ssl", "enable_user_activity_logging")[: 1 if group.type in _WORKGROUPS else 2]
    for name in names:
        if parameters.get(name, "").lower() != "true":
            yield f"the parameter {name} is not true"


parameters_are_secure = resource_rule(
    "GH-RS-005",
    title="Parameters of Redshift clusters and workgroups require TLS and log user activity",
    types=aws("redshift.ParameterGroup", "redshift.Cluster") + _WORKGROUPS,
    upstream="Redshift.2 CKV_AWS_105 RS1 RS11",
    url=f"{_GUIDE}/connecting-ssl-support.html",
).requires(
    for_types(
        aws("redshift.ParameterGroup") + _WORKGROUPS,
        Requirement(
            _secure_parameters,
            "set the parameters require_ssl and enable_user_activity_logging to true",
        ),
    ),
    for_types(aws("redshift.Cluster"), names_own_group("clusterParameterGroupName")),
)


cluster_is_maintained = _cluster_rule(
    "GH-RS-006",
    title="Redshift clusters have automatic upgrades and snapshots",
    pack="resilience",
    settings={"days_min": {"dev": 1, "staging": 7, "prod": 7}},
    upstream="Redshift.3 Redshift.6 CKV_AWS_141 CKV_AWS_343 RS9 RS10",
    url=f"{_GUIDE}/managing-snapshots-console.html",
).requires(
    is_not_false("allowVersionUpgrade"),
    is_at_least("automatedSnapshotRetentionPeriod", "days_min", 1),
)


names_are_not_default = _cluster_rule(
    "GH-RS-007",
    title="Redshift clusters do not use the default administrator and database names",
    remedy="set masterUsername and databaseName to other names than awsuser, admin and dev",
    severity="low",
    upstream="Redshift.8 Redshift.9 CKV_AWS_320 RS3",
    url=f"{_GUIDE}/create-cluster.html",
).requires(
    is_not("masterUsername", "awsuser", "admin"), is_not("databaseName", "dev", default="dev")
)


program_sets_no_password = resource_rule(
    "GH-RS-008",
    title="The program does not set passwords of Redshift",
    remedy=(
        "remove the password, and set manageMasterPassword=True (cluster) or "
        "manageAdminPassword=True (namespace)"
    ),
    severity="critical",
    types=aws("redshift.Cluster", "redshiftserverless.Namespace"),
    url=f"{_GUIDE}/redshift-secrets-manager-integration.html",
).requires(sets_no_secret())
