"""IAM roles with their inline policies, managed policies and their attachments, and identity providers."""

from sandbox.emulator.resource_type import ResourceType

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:iam/role:Role": ResourceType(
        call="iam.create_role", id="{RoleName}", outputs={"name": "{RoleName}", "uniqueId": "{RoleId}"}
    ),
    "aws:iam/rolePolicy:RolePolicy": ResourceType(call="iam.put_role_policy", id="{role}:{name}"),
    "aws:iam/policy:Policy": ResourceType(call="iam.create_policy", id="{Arn}", outputs={"name": "{PolicyName}"}),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": ResourceType(
        call="iam.create_open_id_connect_provider", id="{OpenIDConnectProviderArn}"
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ResourceType(call="iam.attach_role_policy", id="{role}/{policyArn}"),
}
