"""What is counted in log lines: the changes to an account that the CIS benchmark watches, and keys that the gateway refuses."""

from collections.abc import Iterator
from dataclasses import dataclass

_ROUTES = ("CreateRoute", "CreateRouteTable", "ReplaceRoute", "ReplaceRouteTableAssociation", "DeleteRouteTable", "DeleteRoute")


@dataclass(frozen=True, slots=True)
class Filter:
    """One metric filter with its alarm.

    name: of filter, metric and alarm. words: what has happened. pattern: which lines (CloudWatch Logs user guide, "Filter
    pattern syntax"). more_than: lines in `period_s` that are no alarm yet.
    """

    name: str
    words: str
    pattern: str
    more_than: int = 0
    period_s: int = 300


def of_account() -> Iterator[Filter]:
    """The fifteen of the CIS AWS Foundations Benchmark, section Monitoring, over CloudTrail's events."""
    yield Filter(
        "cis-unauthorized-calls",
        "Many AWS calls of the account are refused: somebody tries what they may not do.",
        '{ ($.errorCode = "*UnauthorizedOperation") || ($.errorCode = "AccessDenied*") }',
        more_than=20,
    )
    yield Filter(
        "cis-no-mfa",
        "Somebody has signed in to the AWS console without a second factor.",
        '{ ($.eventName = "ConsoleLogin") && ($.additionalEventData.MFAUsed != "Yes") '
        '&& ($.userIdentity.type = "IAMUser") && ($.responseElements.ConsoleLogin = "Success") }',
    )
    yield Filter(
        "cis-root",
        "The root user of the account has done something; nothing needs it day to day.",
        '{ $.userIdentity.type = "Root" && $.userIdentity.invokedBy NOT EXISTS && $.eventType != "AwsServiceEvent" }',
    )
    yield Filter("cis-iam-changes", "A policy of a role, user or group has changed.", _calls(*_iam()))
    yield Filter(
        "cis-trail-changes",
        "The audit trail itself has been changed or stopped.",
        _calls("CreateTrail", "UpdateTrail", "DeleteTrail", "StartLogging", "StopLogging"),
    )
    yield Filter(
        "cis-sign-in-failures",
        "Sign-ins to the AWS console fail again and again.",
        '{ ($.eventName = "ConsoleLogin") && ($.errorMessage = "Failed authentication") }',
        more_than=3,
    )
    yield Filter(
        "cis-key-deletion",
        "A KMS key has been disabled or scheduled for deletion: what it encrypts is lost with it.",
        _calls("DisableKey", "ScheduleKeyDeletion", source="kms.amazonaws.com"),
    )
    yield Filter("cis-bucket-policies", "Who may reach a bucket has changed.", _calls(*_buckets(), source="s3.amazonaws.com"))
    yield Filter(
        "cis-config-changes",
        "AWS Config, which records what changes, has itself been changed or stopped.",
        _calls(
            *("StopConfigurationRecorder", "DeleteDeliveryChannel", "PutDeliveryChannel", "PutConfigurationRecorder"),
            source="config.amazonaws.com",
        ),
    )
    yield Filter(
        "cis-security-groups",
        "Who may connect to whom has changed: a security group or a rule of it.",
        _calls(
            *("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress", "RevokeSecurityGroupIngress"),
            *("RevokeSecurityGroupEgress", "CreateSecurityGroup", "DeleteSecurityGroup", "ModifySecurityGroupRules"),
        ),
    )
    yield Filter(
        "cis-network-acls",
        "A network ACL has changed.",
        _calls(
            *("CreateNetworkAcl", "CreateNetworkAclEntry", "DeleteNetworkAcl", "DeleteNetworkAclEntry"),
            *("ReplaceNetworkAclEntry", "ReplaceNetworkAclAssociation"),
        ),
    )
    yield Filter(
        "cis-gateways",
        "A way from a network to the internet or to another network has changed.",
        _calls(
            *("CreateCustomerGateway", "DeleteCustomerGateway", "AttachInternetGateway", "CreateInternetGateway"),
            *("DeleteInternetGateway", "DetachInternetGateway"),
        ),
    )
    yield Filter(
        "cis-routes",
        "Where a subnet's packets go has changed.",
        _calls(*_ROUTES, "DisassociateRouteTable", source="ec2.amazonaws.com"),
    )
    yield Filter(
        "cis-vpcs",
        "A network has been made, deleted, or joined to another.",
        _calls(
            *("CreateVpc", "DeleteVpc", "ModifyVpcAttribute", "AcceptVpcPeeringConnection", "CreateVpcPeeringConnection"),
            *("DeleteVpcPeeringConnection", "RejectVpcPeeringConnection", "AttachClassicLinkVpc", "DetachClassicLinkVpc"),
            *("DisableVpcClassicLink", "EnableVpcClassicLink"),
        ),
    )
    yield Filter("cis-organization", "The organization that the account belongs to has changed.", _organization())


def of_gateway(rejected_max: int) -> Iterator[Filter]:
    """What the gateway's log says about keys, by the code of each decision."""
    yield Filter(
        "keys-rejected",
        "The gateway refuses far more keys than usual: guessing, a leaked key, or a client with a wrong one.",
        '{ ($.code = "NOT_FOUND") || ($.code = "FORBIDDEN") || ($.code = "EXPIRED") || ($.code = "DISABLED") }',
        more_than=rejected_max,
    )
    yield Filter(
        "keys-unavailable",
        "The gateway cannot vouch for its answers and refuses requests with good keys.",
        '{ $.code = "UNAVAILABLE" }',
        more_than=10,
    )
    yield Filter(
        "keys-abused",
        "A key that is known is refused again and again: it leaked, or its client does not stop. The line names the key.",
        '{ ($.event = "unusual use") && ($.kind = "refusals") }',
    )


def _calls(*names: str, source: str = "") -> str:
    wanted = " || ".join(f'($.eventName = "{name}")' for name in names)
    return f'{{ ($.eventSource = "{source}") && ({wanted}) }}' if source else f"{{ {wanted} }}"


def _iam() -> Iterator[str]:
    for holder in ("Group", "Role", "User"):
        yield from (f"{verb}{holder}Policy" for verb in ("Put", "Delete", "Attach", "Detach"))
    yield from ("CreatePolicy", "DeletePolicy", "CreatePolicyVersion", "DeletePolicyVersion")


def _buckets() -> Iterator[str]:
    yield from ("PutBucketAcl", "PutBucketPolicy", "PutBucketCors", "PutBucketLifecycle", "PutBucketReplication")
    yield from ("DeleteBucketPolicy", "DeleteBucketCors", "DeleteBucketLifecycle", "DeleteBucketReplication")


def _organization() -> str:
    names = (
        *(
            "AcceptHandshake",
            "AttachPolicy",
            "CancelHandshake",
            "CreateAccount",
            "CreateOrganization",
            "CreateOrganizationalUnit",
        ),
        *("CreatePolicy", "DeclineHandshake", "DeleteOrganization", "DeleteOrganizationalUnit", "DeletePolicy", "DetachPolicy"),
        *("DisablePolicyType", "EnableAllFeatures", "EnablePolicyType", "InviteAccountToOrganization", "LeaveOrganization"),
        *("MoveAccount", "RemoveAccountFromOrganization", "UpdateOrganizationalUnit", "UpdatePolicy"),
    )
    return _calls(*names, source="organizations.amazonaws.com")
