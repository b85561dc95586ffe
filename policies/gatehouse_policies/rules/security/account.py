"""Rules for the AWS account: public access block, security services and cost monitoring.

An account needs these resources only once, and they can be managed outside Pulumi, such as by AWS
Control Tower. Missing ones are therefore reported only for a stack that the key `account_stacks` of
the configuration file lists.
"""

from functools import partial

from pulumi_local.type_tokens import STACK, aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    for_types,
    is_exactly,
    is_not_false,
    is_true,
    satisfies,
    where,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule
from gatehouse_policies.rules.data.s3 import PUBLIC_ACCESS_FLAGS

ACCOUNT_STACKS: dict[str, tuple[str, ...]] = {"account_stacks": ()}
"""The parameter with the stacks that manage an account, as "project/stack"."""

_account_rule = partial(stack_rule, types=(STACK,), lists=ACCOUNT_STACKS)


def manages_account(resource: Resource) -> bool:
    """True for a resource of a stack that manages its account."""
    stack, project, *_ = resource.urn.removeprefix("urn:pulumi:").split("::")
    return f"{project}/{stack}" in resource.lists["account_stacks"]


@_account_rule("GH-S3-002")
def account_blocks_public_access(root: Resource, stack: Stack) -> CheckResults:
    blocks = stack.of_type(aws("s3.AccountPublicAccessBlock"))
    if not blocks and manages_account(root):
        yield "the program has no AccountPublicAccessBlock"
    for block in blocks:
        flags = [flag for flag in PUBLIC_ACCESS_FLAGS if not block.props.flag(flag)]
        if flags:
            yield f"{', '.join(flags)} is not true in {block.name}"


_BASELINE = {
    "AWS Config": "cfg.Recorder",
    "GuardDuty": "guardduty.Detector",
    "Security Hub": "securityhub.Account",
    "Access Analyzer": "accessanalyzer.Analyzer",
    "EBS encryption by default": "ebs.EncryptionByDefault",
}


@_account_rule("GH-ACC-001", needs="account_stacks")
def security_services_are_enabled(root: Resource, stack: Stack) -> CheckResults:
    if not manages_account(root):
        return
    for service, resource_class in _BASELINE.items():
        if not stack.of_type(aws(resource_class)):
            yield f"{service} (aws.{resource_class}) is not enabled"


_PUBLIC_SHARING = "/ssm/documents/console/public-sharing-permission"


def _names_findings(filter: Properties) -> bool:
    """True if a filter of GuardDuty selects findings by other values than their severity."""
    return any(
        criterion.text("field") != "severity"
        and (criterion.has("equals") or criterion.has("matches"))
        for criterion in filter.block("findingCriteria").blocks("criterions")
    )


protections_are_enabled = resource_rule(
    "GH-ACC-003",
    types=aws(
        *(
            "cfg.RecorderStatus",
            "guardduty.Detector",
            "guardduty.Filter",
            "ebs.EncryptionByDefault",
        ),
        *("ebs.SnapshotBlockPublicAccess", "ec2.ImageBlockPublicAccess"),
        *("ec2.InstanceMetadataDefaults", "emr.BlockPublicAccessConfiguration"),
        "ssm.ServiceSetting",
    ),
).requires(
    for_types(aws("cfg.RecorderStatus"), is_true("isEnabled")),
    for_types(aws("guardduty.Detector"), is_not_false("enable")),
    for_types(
        aws("guardduty.Filter"),
        satisfies(
            "action",
            lambda each, key: each.text(key) != "ARCHIVE" or _names_findings(each),
            "archives findings of all kinds and resources",
            "limit the filter to kinds or resources with equals or matches",
        ),
    ),
    for_types(aws("ebs.EncryptionByDefault"), is_not_false("enabled")),
    for_types(
        aws("ebs.SnapshotBlockPublicAccess"),
        is_exactly("state", "block-all-sharing", "block-new-sharing"),
    ),
    for_types(aws("ec2.ImageBlockPublicAccess"), is_exactly("state", "block-new-sharing")),
    for_types(aws("ec2.InstanceMetadataDefaults"), is_exactly("httpTokens", "required")),
    for_types(aws("emr.BlockPublicAccessConfiguration"), is_true("blockPublicSecurityGroupRules")),
    # https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-ssm-sharing.html
    where(
        lambda holder: holder.props.text("settingId").endswith(_PUBLIC_SHARING),
        is_exactly("settingValue", "Disable"),
    ),
)


@stack_rule("GH-ACC-002", types=aws("cfg.Recorder"))
def recorder_is_complete(recorder: Resource, stack: Stack) -> CheckResults:
    group = recorder.props.block("recordingGroup")
    strategies = {block.text("useOnly") for block in group.blocks("recordingStrategies")}
    if not group.flag("allSupported", True) and "EXCLUSION_BY_RESOURCE_TYPES" not in strategies:
        yield (
            "recordingGroup.allSupported is false, so only the types in resourceTypes are recorded"
        )
    statuses = stack.referencing(recorder, aws("cfg.RecorderStatus"), "name")
    if not any(status.props.flag("isEnabled") for status in statuses):
        yield "no RecorderStatus starts the recorder"


@_account_rule("GH-COST-001")
def costs_are_monitored(root: Resource, stack: Stack) -> CheckResults:
    budgets = stack.of_type(aws("budgets.Budget"))
    notified = set() if budgets or manages_account(root) else {"ACTUAL", "FORECASTED"}
    for budget in budgets:
        for notification in budget.props.blocks("notifications"):
            subscribers = ("subscriberEmailAddresses", "subscriberSnsTopicArns")
            if any(map(notification.has, subscribers)):
                notified.add(notification.text("notificationType"))
    for kind in ("ACTUAL", "FORECASTED"):
        if kind not in notified:
            yield f"no budget notifies subscribers of {kind} cost"
    for monitor in stack.of_type(aws("costexplorer.AnomalyMonitor")):
        if not stack.referencing(
            monitor, aws("costexplorer.AnomalySubscription"), "monitorArnLists"
        ):
            yield (
                f"the AnomalyMonitor {monitor.name} has no AnomalySubscription, so nobody is "
                f"notified"
            )
