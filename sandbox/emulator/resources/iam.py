"""IAM: roles, their inline policies, managed policies and attachments, and identity providers."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _put_role_policy(request: CreateRequest) -> Created:
    role, name = request.take("role"), request.take("name") or request.registration.name
    request.call("iam.put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=request.take("policy"))
    return f"{role}:{name}", {"name": name}


def _add_role_policies(request: CreateRequest, role: dict[str, Any]) -> dict[str, Any]:
    name = role["RoleName"]
    for policy in request.take("inlinePolicies") or []:
        request.call("iam.put_role_policy", RoleName=name, PolicyName=policy["name"], PolicyDocument=policy["policy"])
    for arn in request.take("managedPolicyArns") or []:
        _attach(request, name, arn)
    return {"name": name, "uniqueId": role["RoleId"]}


def _attach_role_policy(request: CreateRequest) -> Created:
    role, arn = request.take("role"), request.take("policyArn")
    _attach(request, role, arn)
    return f"{role}-{arn.rpartition('/')[2]}", {}


def _attach(request: CreateRequest, role: str, arn: str) -> None:
    if arn.startswith("arn:aws:iam::aws:policy/"):
        moto_patches.load_managed_policy(request, arn)
    request.call("iam.attach_role_policy", RoleName=role, PolicyArn=arn)


def _describe_provider(request: CreateRequest, provider: dict[str, Any]) -> dict[str, Any]:
    arn = provider["OpenIDConnectProviderArn"]
    description = request.call("iam.get_open_id_connect_provider", OpenIDConnectProviderArn=arn)
    return {"thumbprintLists": description.get("ThumbprintList", [])}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:iam/role:Role": ResourceType(
        call="iam.create_role",
        id="{RoleName}",
        finish=_add_role_policies,
    ),
    "aws:iam/rolePolicy:RolePolicy": ResourceType(create=_put_role_policy),
    "aws:iam/policy:Policy": ResourceType(call="iam.create_policy", id="{Arn}", outputs={"name": "{PolicyName}"}),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": ResourceType(
        call="iam.create_open_id_connect_provider", id="{OpenIDConnectProviderArn}", finish=_describe_provider
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ResourceType(create=_attach_role_policy),
}
