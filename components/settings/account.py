"""The settings of the project `account`: the guards of an AWS account that a stack creates or
adopts.
"""

from collections.abc import Callable, Iterator
from typing import Annotated

from components.settings.fields import (
    ACCOUNT_ID,
    COST_CENTRE,
    EMAILS,
    MANAGER,
    OWNER,
    STATE_BUCKET,
    Mistake,
    Section,
    aws_region,
    choice,
    integer,
    optional,
    optional_integer,
)

NONE, CREATE, ADOPT = "none", "create", "adopt"
"""Modes of a guard."""
MODE = choice(NONE, CREATE, ADOPT)


class GuardsSettings(Section):
    """Mode of each guard. `none`: the stack does not manage the guard. `create`: the stack creates
    the guard; settings that every account has, such as EBS encryption by default, are overwritten.
    `adopt`: the stack imports the guard that the account has already, and changes its properties to
    those of this project. A guard that the stack no longer manages stays in AWS. The guide
    docs/guides/deploy.md lists the commands that show the guards of an account."""

    s3_public_access_block: Annotated[str, MODE] = NONE
    """S3 Block Public Access for every bucket of the account. Applies to all regions: set it in one
    stack of each account.
    """
    ebs_encryption: Annotated[str, MODE] = NONE
    """Encryption of new EBS volumes in the region by default."""
    imdsv2: Annotated[str, choice(NONE, CREATE)] = NONE
    """IMDSv2 as the default of new EC2 instances in the region. The provider cannot import this
    setting.
    """
    password_policy: Annotated[str, MODE] = NONE
    """Password policy for IAM users (CIS AWS Foundations Benchmark). Applies to all regions: set it
    in one stack of each account."""
    backup_opt_in: Annotated[str, MODE] = NONE
    """AWS Backup for RDS, DynamoDB and S3 in the region, with DynamoDB backups that AWS Backup
    manages, which copies to another region require."""
    block_public_vpcs: Annotated[str, MODE] = NONE
    """VPC Block Public Access: no VPC of the region can be reached from the internet, except the
    subnets with an exclusion, such as those of the load balancers of Gatehouse. Affects every VPC
    of the region."""
    access_analyzer: Annotated[str, MODE] = NONE
    """IAM Access Analyzer for external access. An account can have one such analyzer in each
    region.
    """
    config_recorder: Annotated[str, MODE] = NONE
    """AWS Config recorder for all resource types, with a bucket for its deliveries. An account can
    have one recorder in each region. `make bootstrap` creates its service-linked role."""
    guardduty: Annotated[str, MODE] = NONE
    """GuardDuty detector with protection of S3, RDS, Lambda and EBS. An account can have one
    detector in each region.
    """
    security_hub: Annotated[str, MODE] = NONE
    """Security Hub CSPM. With `create`, the default standards are enabled; with `adopt`, the
    enabled standards stay.
    """

    def mode(self, guard: str) -> str:
        """The mode of a guard."""
        return str(getattr(self, guard))

    @property
    def managed(self) -> tuple[str, ...]:
        """Names of the guards that the stack manages."""
        return tuple(name for name, mode in self if mode != NONE)


class ExistingGuardsSettings(Section):
    """IDs of the guards with the mode `adopt`. The IDs of the other guards follow from the account
    and the region. Keep the mode and the ID after the import."""

    analyzer_name: Annotated[
        str | None, optional(r"[A-Za-z][A-Za-z0-9._-]{0,254}", "the name of an analyzer")
    ] = None
    """Analyzer, with `guards.access_analyzer: adopt`."""
    recorder_name: Annotated[
        str | None, optional(r"[A-Za-z0-9._-]{1,256}", "the name of a recorder, such as default")
    ] = None
    """Recorder, with `guards.config_recorder: adopt`."""
    delivery_channel_name: Annotated[
        str | None,
        optional(r"[A-Za-z0-9._-]{1,256}", "the name of a delivery channel, such as default"),
    ] = None
    """Delivery channel of the recorder, with `guards.config_recorder: adopt`."""
    detector_id: Annotated[
        str | None, optional(r"[0-9a-f]{32}", "the ID of a detector, 32 hexadecimal digits")
    ] = None
    """Detector, with `guards.guardduty: adopt`."""


class AccountBudgetSettings(Section):
    """Budget for all costs of the account. Set it in one stack of each account."""

    monthly_usd: Annotated[int | None, optional_integer(1, 1_000_000, "USD a month")] = None
    """Monthly budget in USD. Notifications are sent at 80 and 100 percent of the budget, and when
    the forecast exceeds it. If empty, the stack creates no budget."""
    emails: Annotated[tuple[str, ...], EMAILS] = ()
    """E-mail addresses that receive the notifications."""


class AccountSettings(Section):
    """Settings of a stack of the project `account`. Use one stack for each account and region."""

    owner: Annotated[str, OWNER]
    """Team responsible for the account: the value of the tag Owner on every resource."""
    cost_centre: Annotated[str, COST_CENTRE]
    """Cost centre of the account: the value of the tag CostCentre on every resource."""
    account: Annotated[str, ACCOUNT_ID]
    """AWS account ID. The provider rejects credentials for any other account."""
    region: Annotated[str, aws_region("eu-west-1")]
    """AWS region of the guards."""
    managed_by: Annotated[str, MANAGER] = ""
    """Who manages the guards with the mode `none`: another stack as project/stack, or `external` if
    they are managed outside Pulumi, such as by AWS Control Tower. The policy packs read the value
    from the stack output accountGuards. If empty, the policy packs report missing guards."""
    state_bucket: Annotated[str | None, STATE_BUCKET] = None
    """S3 bucket of the Pulumi state, if it is not the bucket that `make bootstrap` creates by
    default.
    """
    config_retention_days: Annotated[int, integer(90, 3650, "days")] = 400
    """Number of days to retain the deliveries of AWS Config in the bucket that the stack creates
    for them.
    """
    guards: GuardsSettings
    existing: ExistingGuardsSettings
    budget: AccountBudgetSettings


IDS = {
    "access_analyzer": ("analyzer_name",),
    "config_recorder": ("recorder_name", "delivery_channel_name"),
    "guardduty": ("detector_id",),
}
"""Keys of `existing` that the mode `adopt` of a guard requires."""


def existing_guards(settings: AccountSettings) -> Iterator[Mistake]:
    """The mode `adopt` requires the IDs of the guard in `existing`, and the other modes do not
    allow them.
    """
    for guard, names in IDS.items():
        mode = settings.guards.mode(guard)
        for name in names:
            value = getattr(settings.existing, name)
            if (mode == ADOPT) != bool(value):
                allowed = "the ID of the guard" if mode == ADOPT else "empty"
                yield Mistake(f"existing.{name}", allowed, f"with guards.{guard} {mode}")


def account_budget(settings: AccountSettings) -> Iterator[Mistake]:
    """A budget has at least one e-mail address."""
    budget = settings.budget
    if budget.monthly_usd and not budget.emails:
        yield Mistake("budget.emails", "1 to 10 e-mail addresses", "with budget.monthly_usd")


ACCOUNT_CHECKS: tuple[Callable[[AccountSettings], Iterator[Mistake]], ...] = (
    existing_guards,
    account_budget,
)
