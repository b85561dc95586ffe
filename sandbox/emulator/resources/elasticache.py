"""ElastiCache replication groups, users, user groups, subnet and parameter groups."""

from typing import Any

from sandbox.emulator.request import CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _describe_replication_group(_request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    node = group["NodeGroups"][0]
    outputs = {"memberClusters": group.get("MemberClusters", [])}
    if "PrimaryEndpoint" in node:
        address = node["PrimaryEndpoint"]["Address"]
        reader = node.get("ReaderEndpoint", {}).get("Address") or address.replace("master.", "replica.", 1)
        outputs |= {"primaryEndpointAddress": address, "readerEndpointAddress": reader}
    if "ConfigurationEndpoint" in group:
        outputs["configurationEndpointAddress"] = group["ConfigurationEndpoint"]["Address"]
    return outputs


def _require_users(request: CreateRequest, _group: dict[str, Any]) -> None:
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)


def _validate_parameters(request: CreateRequest, _group: dict[str, Any]) -> None:
    names = {"name": "ParameterName", "value": "ParameterValue"}
    request.part("elasticache.modify_cache_parameter_group", "ParameterNameValues", request.take("parameters") or [], names)


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:elasticache/subnetGroup:SubnetGroup": ResourceType(
        call="elasticache.create_cache_subnet_group",
        id="{CacheSubnetGroupName}",
        outputs={"name": "{CacheSubnetGroupName}"},
    ),
    "aws:elasticache/user:User": ResourceType(call="elasticache.create_user", id="{UserId}"),
    "aws:elasticache/userGroup:UserGroup": ResourceType(
        call="elasticache.create_user_group",
        id="{userGroupId}",
        finish=_require_users,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:usergroup:{userGroupId}"},
        modelled="moto has no CreateUserGroup",
    ),
    "aws:elasticache/parameterGroup:ParameterGroup": ResourceType(
        call="elasticache.create_cache_parameter_group",
        id="{name}",
        defaults={"description": "Managed by Pulumi"},
        finish=_validate_parameters,
        outputs={"arn": "arn:aws:elasticache:{region}:{account}:parametergroup:{name}"},
        modelled="moto has no CreateCacheParameterGroup",
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": ResourceType(
        call="elasticache.create_replication_group",
        id="{ReplicationGroupId}",
        names={
            "nodeType": "CacheNodeType",
            "parameterGroupName": "CacheParameterGroupName",
            "subnetGroupName": "CacheSubnetGroupName",
            "maintenanceWindow": "PreferredMaintenanceWindow",
        },
        finish=_describe_replication_group,
        dropped=dict.fromkeys(
            ("engineVersion", "parameterGroupName", "securityGroupIds", "subnetGroupName", "maintenanceWindow"),
            "AWS shows it on the member clusters, and moto makes no clusters for a replication group",
        ),
    ),
}
