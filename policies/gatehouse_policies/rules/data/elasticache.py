"""Rules for ElastiCache."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.engine.requirements import (
    for_types,
    in_order,
    is_customer_key,
    is_exactly,
    is_not,
    is_not_false,
    is_not_set,
    is_set,
    is_true,
    names_own_group,
    satisfies,
    uses_customer_key,
    where,
)
from gatehouse_policies.engine.rule import resource_rule

_group_rule = partial(resource_rule, types=aws("elasticache.ReplicationGroup"))


cache_uses_customer_key = resource_rule(
    "GH-EC-001",
    types=aws("elasticache.ReplicationGroup", "elasticache.Cluster", "elasticache.ServerlessCache"),
).requires(
    for_types(
        aws("elasticache.ReplicationGroup"),
        uses_customer_key("kmsKeyId", "atRestEncryptionEnabled"),
    ),
    for_types(aws("elasticache.ServerlessCache"), is_customer_key("kmsKeyId")),
    # A node of a replication group inherits the settings of the group, which is evaluated
    # separately.
    for_types(
        aws("elasticache.Cluster"),
        is_set("replicationGroupId", "a standalone cluster does not support encryption at rest"),
    ),
)


tls_is_required = resource_rule(
    "GH-EC-002", types=aws("elasticache.ReplicationGroup", "memorydb.Cluster")
).requires(
    for_types(
        aws("elasticache.ReplicationGroup"),
        in_order(
            is_true("transitEncryptionEnabled"),
            is_exactly("transitEncryptionMode", "required", default="required"),
        ),
    ),
    for_types(aws("memorydb.Cluster"), is_not_false("tlsEnabled")),
)


def _needs_no_password(user: Properties) -> bool:
    mode = user.block("authenticationMode").text("type")
    return user.flag("noPasswordRequired") or mode == "no-password-required"


def _is_off(access: str) -> bool:
    """True if an access string disables its user. The rules of the string apply in order."""
    rules = access.lower().split()
    return rules[:1] == ["off"] and "on" not in rules


users_authenticate = resource_rule(
    "GH-EC-003",
    types=aws(
        *("elasticache.ReplicationGroup", "elasticache.ServerlessCache", "elasticache.User"),
        *("elasticache.UserGroup", "elasticache.UserGroupAssociation", "memorydb.Cluster"),
    ),
).requires(
    for_types(
        aws("elasticache.User"),
        satisfies(
            "accessString",
            lambda user, key: not _needs_no_password(user) or _is_off(user.text(key)),
            "enables the user, who needs no password",
            'set authenticationMode.type="iam", or accessString="off -@all" for the default user',
        ),
    ),
    for_types(aws("elasticache.UserGroupAssociation"), is_not("userId", "default")),
    for_types(aws("memorydb.Cluster"), is_not("aclName", "open-access")),
    for_types(
        aws("elasticache.UserGroup"),
        satisfies(
            "userIds",
            lambda group, key: "default" not in group.texts(key),
            'contains the user "default" of ElastiCache, who needs no password',
            'replace "default" with a user with userName="default" and accessString="off -@all"',
        ),
    ),
    where(
        lambda cache: (
            cache.type in aws("elasticache.ServerlessCache")
            and cache.props.text("engine").lower() != "memcached"
        ),
        is_set("userGroupId", "clients are not authenticated"),
    ),
    for_types(
        aws("elasticache.ReplicationGroup"),
        is_not_set("authToken"),
        is_not_set("authTokenWo"),
        is_set("userGroupIds", "clients are not authenticated"),
    ),
)


subnet_group_is_set = _group_rule("GH-EC-007").requires(names_own_group("subnetGroupName"))
