"""IAM: roles, their inline policies, managed policies and attachments, and identity providers."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _role_policy(make: Make) -> tuple[str, dict[str, Any]]:
    role, name = make.take("role"), make.take("name") or make.registration.name
    make.call("iam.put_role_policy", RoleName=role, PolicyName=name, PolicyDocument=make.take("policy"))
    return f"{role}:{name}", {"name": name}


def _role_parts(make: Make, role: dict[str, Any]) -> dict[str, Any]:
    for policy in make.take("inlinePolicies") or []:
        make.call("iam.put_role_policy", RoleName=role["RoleName"], PolicyName=policy["name"], PolicyDocument=policy["policy"])
    for arn in make.take("managedPolicyArns") or []:
        make.call("iam.attach_role_policy", RoleName=role["RoleName"], PolicyArn=_known(make, arn))
    return {"name": role["RoleName"], "uniqueId": role["RoleId"]}


def _attachment(make: Make) -> tuple[str, dict[str, Any]]:
    role, arn = make.take("role"), make.take("policyArn")
    make.call("iam.attach_role_policy", RoleName=role, PolicyArn=_known(make, arn))
    return f"{role}-{arn.rpartition('/')[2]}", {}


def _known(make: Make, arn: str) -> str:
    """AWS's own policies exist in every account; moto loads them only on request, here one at a time."""
    if arn.startswith("arn:aws:iam::aws:policy/"):
        from moto.iam.aws_managed_policies import aws_managed_policies_data
        from moto.iam.models import AWSManagedPolicy, iam_backends

        backend: Any = iam_backends[make.account]["aws"]
        if arn not in backend.managed_policies:
            import json

            name = arn.rpartition("/")[2]
            data = json.loads(aws_managed_policies_data).get(name)
            if data is None:
                raise make.error(f"AWS has no managed policy {arn}.")
            policy = AWSManagedPolicy.from_data(name, make.account, "aws", data)
            backend.managed_policies[policy.arn] = policy
    return arn


def _provider(make: Make, provider: dict[str, Any]) -> dict[str, Any]:
    """AWS checks GitHub's certificate against its own list of authorities, so a program gives no thumbprint."""
    held = make.call("iam.get_open_id_connect_provider", OpenIDConnectProviderArn=provider["OpenIDConnectProviderArn"])
    return {"arn": provider["OpenIDConnectProviderArn"], "thumbprintLists": held.get("ThumbprintList", [])}


def _policy_versions(make: Make, policy: dict[str, Any]) -> dict[str, Any]:
    return {"name": policy["PolicyName"], "policyId": policy["PolicyId"]}


ROWS: dict[str, Row] = {
    "aws:iam/role:Role": Row(
        call="iam.create_role",
        reply="Role",
        id="{RoleName}",
        names={"name": "RoleName", "assumeRolePolicy": "AssumeRolePolicyDocument"},
        then=_role_parts,
        by_hand=("inlinePolicies", "managedPolicyArns"),
        ignored={"forceDetachPolicies": HOW_PULUMI_WORKS},
    ),
    "aws:iam/rolePolicy:RolePolicy": Row(make=_role_policy),
    "aws:iam/policy:Policy": Row(
        call="iam.create_policy",
        reply="Policy",
        id="{Arn}",
        names={"name": "PolicyName", "policy": "PolicyDocument"},
        then=_policy_versions,
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Row(
        call="iam.create_open_id_connect_provider",
        id="{OpenIDConnectProviderArn}",
        names={"clientIdLists": "ClientIDList", "thumbprintLists": "ThumbprintList"},
        then=_provider,
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Row(make=_attachment),
}
