"""The settings of the project `account`: the guards of an AWS account that a stack creates."""

from collections.abc import Callable, Iterator
from typing import Annotated

from components.settings.fields import (
    ACCOUNT_ID,
    ARN,
    COST_CENTRE,
    EMAILS,
    NAME_PREFIX,
    OWNER,
    PREFIX,
    STATE_BUCKET,
    TAGS,
    Flag,
    Mistake,
    Section,
    aws_region,
    integer,
    optional,
)


class GuardsSettings(Section):
    """The guards that the stack creates. Settings that every account has, such as EBS encryption by
    default, are overwritten. A guard that the stack no longer manages stays in AWS."""

    s3_public_access_block: Flag = False
    """S3 Block Public Access for every bucket of the account. Applies to all regions: set it in one
    stack of each account.
    """
    ebs_encryption: Flag = False
    """Encryption of new EBS volumes in the region by default."""
    imdsv2: Flag = False
    """IMDSv2 as the default of new EC2 instances in the region."""
    password_policy: Flag = False
    """Password policy for IAM users (CIS AWS Foundations Benchmark). Applies to all regions: set it
    in one stack of each account."""
    backup_opt_in: Flag = False
    """AWS Backup for RDS, DynamoDB and S3 in the region, with DynamoDB backups that AWS Backup
    manages, which copies to another region require."""
    block_public_vpcs: Flag = False
    """VPC Block Public Access: no VPC of the region can be reached from the internet, except
    subnets with an exclusion, such as those of the load balancers of Gatehouse."""
    access_analyzer: Flag = False
    """IAM Access Analyzer for external access. An account can have one such analyzer in each
    region.
    """
    config_recorder: Flag = False
    """AWS Config recorder for all resource types, with a bucket for its deliveries. An account can
    have one recorder in each region. `make bootstrap` creates its service-linked role."""
    guardduty: Flag = False
    """GuardDuty detector with protection of S3, RDS, Lambda and EBS. An account can have one
    detector in each region.
    """
    security_hub: Flag = False
    """Security Hub CSPM with its default standards. It can be enabled once in each region."""


class AccountBudgetSettings(Section):
    """Budget and anomalies for all costs of the account. Set them in one stack of each account."""

    monthly_usd: Annotated[int, integer(0, 1_000_000, "USD a month")] = 0
    """Monthly budget in USD. Notifications are sent at 80 and 100 percent, and when the forecast
    exceeds it. If 0, the stack creates no budget."""
    emails: Annotated[tuple[str, ...], EMAILS] = ()
    """E-mail addresses that receive the notifications."""
    anomaly_usd: Annotated[int, integer(0, 1_000_000, "USD")] = 0
    """Total impact in USD from which AWS Cost Anomaly Detection reports unusual costs of an AWS
    service, once a day. If 0, the stack reports no anomalies."""
    anomaly_monitor_arn: Annotated[
        str | None,
        optional(
            rf"{ARN}:ce::\d{{12}}:anomalymonitor/[0-9a-f-]{{36}}", "the ARN of an anomaly monitor"
        ),
    ] = None
    """Monitor of AWS services that the account has already. An account can have one, and AWS often
    creates it (`aws ce get-anomaly-monitors`). If empty, the stack creates the monitor."""


class AccountSettings(Section):
    """Settings of a stack of the project `account`. Use one stack for each account and region."""

    owner: Annotated[str, OWNER]
    """Team responsible for the account: the value of the tag Owner on every resource."""
    cost_centre: Annotated[str, COST_CENTRE]
    """Cost centre of the account: the value of the tag CostCentre on every resource."""
    tags: Annotated[tuple[str, ...], TAGS] = ()
    """Further tags of every resource, such as those that a tag policy requires."""
    name_prefix: Annotated[str, PREFIX] = NAME_PREFIX
    """Beginning of the name of every resource, the same in all stacks of an account."""
    account: Annotated[str, ACCOUNT_ID]
    """AWS account ID. The provider rejects credentials for any other account."""
    region: Annotated[str, aws_region("eu-west-1")]
    """AWS region of the guards."""
    state_bucket: Annotated[str | None, STATE_BUCKET] = None
    """S3 bucket of the Pulumi state, if it is not the bucket that `make bootstrap` creates by
    default.
    """
    guards: GuardsSettings
    budget: AccountBudgetSettings


def account_budget(settings: AccountSettings) -> Iterator[Mistake]:
    """A budget and the report of anomalies have at least one e-mail address."""
    budget = settings.budget
    for name in ("monthly_usd", "anomaly_usd"):
        if getattr(budget, name) and not budget.emails:
            yield Mistake("budget.emails", "1 to 10 e-mail addresses", f"with budget.{name}")


ACCOUNT_CHECKS: tuple[Callable[[AccountSettings], Iterator[Mistake]], ...] = (account_budget,)
