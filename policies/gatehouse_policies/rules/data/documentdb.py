"""Rules for clusters of Amazon DocumentDB, Neptune and Redshift."""

from pulumi_local.type_tokens import aws

from gatehouse_policies.engine.requirements import (
    for_types,
    is_customer_key,
    is_true,
    uses_customer_key,
)
from gatehouse_policies.engine.rule import resource_rule

cluster_uses_customer_key = resource_rule(
    "GH-DOC-001",
    types=aws("docdb.Cluster", "docdb.ElasticCluster", "neptune.Cluster", "redshift.Cluster"),
).requires(
    for_types(aws("docdb.Cluster"), uses_customer_key("kmsKeyId", "storageEncrypted")),
    for_types(aws("docdb.ElasticCluster"), is_customer_key("kmsKeyId")),
    for_types(aws("redshift.Cluster"), uses_customer_key("kmsKeyId", "encrypted")),
    for_types(aws("neptune.Cluster"), uses_customer_key("kmsKeyArn", "storageEncrypted")),
)


global_cluster_is_encrypted = resource_rule(
    "GH-DOC-002", types=aws("docdb.GlobalCluster", "neptune.GlobalCluster", "rds.GlobalCluster")
).requires(
    is_true("storageEncrypted"),
    # A global cluster of an existing cluster has the encryption of that cluster.
    when=lambda cluster: not cluster.props.has("sourceDbClusterIdentifier"),
)
