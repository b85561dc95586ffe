"""IAM roles with their inline policies, managed policies and their attachments, and identity
providers.
"""

from sandbox.emulator.request import ChangeRequest


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
