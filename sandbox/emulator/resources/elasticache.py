"""ElastiCache replication groups, users, user groups, subnet and parameter groups."""

from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _describe_replication_group(request: CreateRequest, group: dict[str, Any]) -> dict[str, Any]:
    node = group["NodeGroups"][0]
    outputs = {"arn": group["ARN"], "memberClusters": group.get("MemberClusters", [])}
    if "PrimaryEndpoint" in node:
        address = node["PrimaryEndpoint"]["Address"]
        reader = node.get("ReaderEndpoint", {}).get("Address") or address.replace("master.", "replica.", 1)
        outputs |= {"primaryEndpointAddress": address, "readerEndpointAddress": reader}
    if "ConfigurationEndpoint" in group:
        outputs["configurationEndpointAddress"] = group["ConfigurationEndpoint"]["Address"]
    return outputs


def _validate_user_group(request: CreateRequest) -> Created:
    """The request is validated and its users must exist."""
    request.check("elasticache.create_user_group", request.parameters("elasticache.create_user_group"))
    for user in request.peek("userIds") or []:
        request.call("elasticache.describe_users", UserId=user)
    name = request.peek("userGroupId")
    return name, {"arn": request.arn("elasticache", f"usergroup:{name}")}


def _create_parameter_group(request: CreateRequest) -> Created:
    names = {"name": "CacheParameterGroupName", "family": "CacheParameterGroupFamily"}
    parameters = request.parameters("elasticache.create_cache_parameter_group", names=names, skip=("parameters",))
    parameters.setdefault("Description", "Managed by Pulumi")
    request.check("elasticache.create_cache_parameter_group", parameters)
    names = {"name": "ParameterName", "value": "ParameterValue"}
    request.part("elasticache.modify_cache_parameter_group", "ParameterNameValues", request.take("parameters") or [], names)
    name = request.peek("name")
    return name, {"arn": request.arn("elasticache", f"parametergroup:{name}")}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:elasticache/subnetGroup:SubnetGroup": ResourceType(
        call="elasticache.create_cache_subnet_group",
        result="CacheSubnetGroup",
        id="{CacheSubnetGroupName}",
        names={"name": "CacheSubnetGroupName", "description": "CacheSubnetGroupDescription"},
        outputs={"arn": "{ARN}", "name": "{CacheSubnetGroupName}", "vpcId": "{VpcId}"},
    ),
    "aws:elasticache/user:User": ResourceType(
        call="elasticache.create_user",
        id="{UserId}",
        outputs={"arn": "{ARN}"},
    ),
    "aws:elasticache/userGroup:UserGroup": ResourceType(create=_validate_user_group, modelled="moto has no CreateUserGroup"),
    "aws:elasticache/parameterGroup:ParameterGroup": ResourceType(
        create=_create_parameter_group, modelled="moto has no CreateCacheParameterGroup"
    ),
    "aws:elasticache/replicationGroup:ReplicationGroup": ResourceType(
        call="elasticache.create_replication_group",
        result="ReplicationGroup",
        id="{ReplicationGroupId}",
        finish=_describe_replication_group,
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
        ignored={"applyImmediately": PULUMI_ONLY, "finalSnapshotIdentifier": PULUMI_ONLY},
    ),
}
