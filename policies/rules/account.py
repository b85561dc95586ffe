"""Rules about the AWS account and its bill: what must watch over everything that a program makes there.

Each account needs these once. A stack whose account gets them from another stack says so with a stack output
`accountBaseline` that names it as project/stack. That is its word: whether the other stack does so is judged where that one is
checked.
"""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, levels, stack_rule

BASELINE_OUTPUT = "accountBaseline"
_STACKS = (tokens.STACK,)
_PUBLIC_ACCESS_FLAGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


def baseline_is_elsewhere(root: Resource) -> bool:
    """True when the stack names another one that keeps the account's baseline. Its own name excuses nothing."""
    stack, project, *_ = root.urn.removeprefix("urn:pulumi:").split("::")
    return root.props.text(BASELINE_OUTPUT) not in ("", f"{project}/{stack}")


@stack_rule(
    "GH-S3-002",
    title="The account blocks public buckets",
    why="The account's block holds for every bucket, also for one that somebody makes by hand next year.",
    remedy=(
        "add an aws.s3.AccountPublicAccessBlock with all four flags True, or name the program that has it in the stack output "
        f"{BASELINE_OUTPUT}"
    ),
    severity=Severity.HIGH,
    types=_STACKS,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("S3.1",), cis=("3.1.4",), prowler=("s3_account_level_public_access_blocks",)),
    url="https://docs.aws.amazon.com/AmazonS3/latest/userguide/configuring-block-public-access-account.html",
)
def the_account_blocks_public_buckets(root: Resource, stack: Stack) -> Found:
    if baseline_is_elsewhere(root) or not stack.of(tokens.BUCKET):
        return
    blocks = stack.of(tokens.ACCOUNT_PUBLIC_ACCESS_BLOCK)
    if not blocks:
        yield "the program has buckets, and no public access block for the account"
    for block in blocks:
        for flag in _PUBLIC_ACCESS_FLAGS:
            if not block.props.flag(flag):
                yield f"{flag} is not true in {block.name}"


_BASELINE = {
    "AWS Config (aws.cfg.Recorder)": tokens.CONFIG_RECORDER,
    "GuardDuty (aws.guardduty.Detector)": tokens.GUARD_DUTY,
    "Security Hub (aws.securityhub.Account)": tokens.SECURITY_HUB,
    "Access Analyzer (aws.accessanalyzer.Analyzer)": tokens.ACCESS_ANALYZER,
    "encryption of new disks (aws.ebs.EncryptionByDefault)": tokens.DISK_ENCRYPTION,
}


@stack_rule(
    "GH-ACC-001",
    title="The account has its watchers",
    why="Config, GuardDuty, Security Hub and Access Analyzer see what no program declares: what people and intruders do.",
    remedy=f"add it, or name the program that has it in the stack output {BASELINE_OUTPUT}",
    severity=Severity.HIGH,
    types=_STACKS,
    levels=levels("-", "A", "M"),
    upstream=Upstream(
        security_hub=("Config.1", "GuardDuty.1", "EC2.7"),
        cis=("4.3", "5.16", "2.18", "6.1.1"),
        checkov=("CKV2_AWS_45", "CKV2_AWS_3"),
        prowler=(
            "config_recorder_all_regions_enabled",
            "guardduty_is_enabled",
            "securityhub_enabled",
            "accessanalyzer_enabled",
        ),
    ),
    url="https://docs.aws.amazon.com/securityhub/latest/userguide/fsbp-standard.html",
)
def the_account_has_its_watchers(root: Resource, stack: Stack) -> Found:
    if baseline_is_elsewhere(root):
        return
    for words, types in _BASELINE.items():
        if not stack.of(types):
            yield f"the program does not set up {words}"
    for detector in stack.of(tokens.GUARD_DUTY):
        if not detector.props.flag("enable", True):
            yield f"enable is false in {detector.name}"
    for switch in stack.of(tokens.DISK_ENCRYPTION):
        if not switch.props.flag("enabled", True):
            yield f"enabled is false in {switch.name}"


@stack_rule(
    "GH-COST-001",
    title="The bill is watched",
    why="A loop, an attack or a forgotten test shows up in the bill first; a forecast tells of it before the month ends.",
    remedy=(
        "add an aws.budgets.Budget with notifications of type ACTUAL and FORECASTED that reach somebody, and an "
        "aws.costexplorer.AnomalyMonitor"
    ),
    severity=Severity.LOW,
    types=_STACKS,
    levels=AFTER_DEV,
    pack="resilience",
    url="https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html",
)
def the_bill_is_watched(root: Resource, stack: Stack) -> Found:
    if baseline_is_elsewhere(root) and not stack.of(tokens.BUDGET):
        return
    told = set()
    for budget in stack.of(tokens.BUDGET):
        for notification in budget.props.blocks("notifications"):
            reached = ("subscriberEmailAddresses", "subscriberSnsTopicArns")
            if any(notification.has(name) for name in reached):
                told.add(notification.text("notificationType"))
    for kind in ("ACTUAL", "FORECASTED"):
        if kind not in told:
            yield f"no budget tells anybody of {kind} cost"
    if not stack.of(tokens.ANOMALY_MONITOR):
        yield "no anomaly monitor watches the cost"
