"""ElastiCache."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _group_details(make: Make, group: dict[str, Any]) -> dict[str, Any]:
    node = group["NodeGroups"][0]
    outputs = {"arn": group["ARN"], "memberClusters": group.get("MemberClusters", [])}
    if "PrimaryEndpoint" in node:
        address = node["PrimaryEndpoint"]["Address"]
        reader = node.get("ReaderEndpoint", {}).get("Address") or address.replace("master.", "replica.", 1)
        outputs |= {"primaryEndpointAddress": address, "readerEndpointAddress": reader}
    if "ConfigurationEndpoint" in group:
        outputs["configurationEndpointAddress"] = group["ConfigurationEndpoint"]["Address"]
    return outputs


def _user_group(make: Make) -> tuple[str, dict[str, Any]]:
    """The request is checked by AWS's model, and its users must exist."""
    make.check("elasticache.create_user_group", make.parameters("elasticache.create_user_group"))
    for user in make.peek("userIds") or []:
        make.call("elasticache.describe_users", UserId=user)
    name = make.peek("userGroupId")
    return name, {"arn": f"arn:aws:elasticache:{make.region}:{make.account}:usergroup:{name}"}


def _parameter_group(make: Make) -> tuple[str, dict[str, Any]]:
    names = {"name": "CacheParameterGroupName", "family": "CacheParameterGroupFamily"}
    parameters = make.parameters("elasticache.create_cache_parameter_group", names=names, skip=("parameters",))
    parameters.setdefault("Description", "Managed by Pulumi")
    make.check("elasticache.create_cache_parameter_group", parameters)
    wanted = {"name": "ParameterName", "value": "ParameterValue"}
    make.part("elasticache.modify_cache_parameter_group", "ParameterNameValues", make.take("parameters") or [], wanted)
    name = make.peek("name")
    return name, {"arn": f"arn:aws:elasticache:{make.region}:{make.account}:parametergroup:{name}"}


ROWS: dict[str, Row] = {
    "aws:elasticache/subnetGroup:SubnetGroup": Row(
        call="elasticache.create_cache_subnet_group",
        reply="CacheSubnetGroup",
        id="{CacheSubnetGroupName}",
        names={"name": "CacheSubnetGroupName", "description": "CacheSubnetGroupDescription"},
        outputs={"arn": "{ARN}", "name": "{CacheSubnetGroupName}", "vpcId": "{VpcId}"},
    ),
    "aws:elasticache/user:User": Row(
        call="elasticache.create_user",
        id="{UserId}",
        outputs={"arn": "{ARN}"},
    ),
    "aws:elasticache/userGroup:UserGroup": Row(make=_user_group, modelled="moto has no CreateUserGroup"),
    "aws:elasticache/parameterGroup:ParameterGroup": Row(make=_parameter_group, modelled="moto has no CreateCacheParameterGroup"),
    "aws:elasticache/replicationGroup:ReplicationGroup": Row(
        call="elasticache.create_replication_group",
        reply="ReplicationGroup",
        id="{ReplicationGroupId}",
        then=_group_details,
        names={
            "description": "ReplicationGroupDescription",
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
        },
        dropped=dict.fromkeys(
            ("engineVersion", "parameterGroupName", "securityGroupIds", "subnetGroupName", "maintenanceWindow"),
            "AWS shows it on the member clusters, and moto makes no clusters for a replication group",
        ),
        ignored={"applyImmediately": HOW_PULUMI_WORKS, "finalSnapshotIdentifier": HOW_PULUMI_WORKS},
    ),
}
