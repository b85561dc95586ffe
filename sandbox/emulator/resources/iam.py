"""IAM roles with their inline policies, managed policies and their attachments, and identity
providers.
"""

from sandbox.emulator.request import ChangeRequest
from sandbox.emulator.resource_type import ResourceType, Setting


def _delete_old_versions(request: ChangeRequest) -> None:
    policy = {"PolicyArn": request.old.id}
    for row in request.call("iam.list_policy_versions", policy)["Versions"]:
        if not row["IsDefaultVersion"]:
            request.call("iam.delete_policy_version", policy, VersionId=row["VersionId"])


def update_policy(request: ChangeRequest) -> None:
    """Create a new default version. A policy has at most five versions, so the others are deleted
    first.
    """
    if "policy" in request.unused_changes:
        _delete_old_versions(request)
        document = {"PolicyArn": request.old.id, "PolicyDocument": request.take("policy")}
        request.call("iam.create_policy_version", document, SetAsDefault=True)


def delete_policy(request: ChangeRequest) -> None:
    _delete_old_versions(request)
    request.call("iam.delete_policy", PolicyArn=request.old.id)


TYPES = {
    "iam.Role": ResourceType(
        "iam.create_role",
        "{RoleName}",
        outputs={"name": "{RoleName}", "uniqueId": "{RoleId}"},
        settings=(
            Setting(
                "iam.update_assume_role_policy",
                ["assumeRolePolicy"],
                names={"assumeRolePolicy": "PolicyDocument"},
                created=True,
            ),
            Setting(
                "iam.update_role",
                ["description", "maxSessionDuration"],
                parameters={"Description": "", "MaxSessionDuration": 3600},
                created=True,
            ),
            Setting(
                "iam.put_role_permissions_boundary",
                ["permissionsBoundary"],
                removal="iam.delete_role_permissions_boundary",
                created=True,
            ),
        ),
    ),
    "iam.RolePolicy": ResourceType("iam.put_role_policy", "{role}:{name}"),
    "iam.Policy": ResourceType(
        "iam.create_policy",
        "{Arn}",
        outputs={"name": "{PolicyName}"},
        update=update_policy,
        delete=delete_policy,
    ),
    "iam.OpenIdConnectProvider": ResourceType(
        "iam.create_open_id_connect_provider", "{OpenIDConnectProviderArn}"
    ),
    "iam.RolePolicyAttachment": ResourceType("iam.attach_role_policy", "{role}/{policyArn}"),
}
