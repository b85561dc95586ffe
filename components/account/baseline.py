"""Guards of an AWS account, each created by at most one stack in each account and region."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.iam.bucket_policies import CONFIG_PREFIX
from components.naming import tags
from components.settings.operations import AccountBaselineSettings

FEATURES = ("S3_DATA_EVENTS", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS", "EBS_MALWARE_PROTECTION")
"""GuardDuty features in addition to CloudTrail, VPC flow logs and DNS logs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBaselineArgs(StackArgs):
    """Arguments of `AccountBaseline`.

    account_baseline: Guards to create.
    log_bucket: Bucket for AWS Config deliveries.
    exclusions: IDs of the VPC Block Public Access exclusions. The exclusions are created before this component.
    """

    account_baseline: AccountBaselineSettings
    log_bucket: pulumi.Input[str]
    exclusions: Sequence[pulumi.Output[str]]


class AccountBaseline(Component):
    """Account-wide settings and detectors, each enabled by a setting: public access blocks, default encryption, password policy,
    AWS Backup, GuardDuty, Security Hub, AWS Config and IAM Access Analyzer.

    Why: The settings also protect resources that this program does not manage, and the detectors report changes to these
    resources.
    Cost: for a small account, about 10 USD a month for AWS Config, 5 to 20 USD for GuardDuty and 5 USD for Security Hub.
    Controls: GH-S3-002, GH-VPC-011, GH-ACC-001.
    """

    def __init__(self, name: str, args: AccountBaselineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:account:AccountBaseline", name, args, opts)
        baseline = args.account_baseline
        self._account_settings(name, args)
        if baseline.config_recorder:
            self._config_recorder(name, args)
        if baseline.guardduty:
            self._detector(name)
        if baseline.security_hub:
            aws.securityhub.Account(
                name,
                enable_default_standards=True,
                auto_enable_controls=True,
                control_finding_generator="SECURITY_CONTROL",
                opts=self.child,
            )
        if baseline.access_analyzer:
            aws.accessanalyzer.Analyzer(
                name, analyzer_name=args.names.name("access"), type="ACCOUNT", tags=tags("log"), opts=self.child
            )
        self.register_outputs({})

    def _account_settings(self, name: str, args: AccountBaselineArgs) -> None:
        """Set the account-wide defaults for S3, EBS, IAM, AWS Backup and VPC."""
        baseline = args.account_baseline
        if baseline.s3_public_access_block:
            aws.s3.AccountPublicAccessBlock(
                name,
                account_id=args.names.account,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=self.child,
            )
        if baseline.ebs_encryption:
            aws.ebs.EncryptionByDefault(name, enabled=True, opts=self.child)
        if baseline.password_policy:
            # Applies to IAM users created outside this program (CIS AWS Foundations Benchmark, "IAM").
            aws.iam.AccountPasswordPolicy(
                name,
                minimum_password_length=14,
                password_reuse_prevention=24,
                max_password_age=90,
                require_lowercase_characters=True,
                require_uppercase_characters=True,
                require_numbers=True,
                require_symbols=True,
                allow_users_to_change_password=True,
                opts=self.child,
            )
        if baseline.backup_opt_in:
            preferences = ["resourceTypeOptInPreference", "resourceTypeManagementPreference"]
            # AWS Backup can copy backups of a DynamoDB table to another region only if it manages these backups.
            aws.backup.RegionSettings(
                name,
                resource_type_opt_in_preference={"RDS": True, "DynamoDB": True, "S3": True},
                resource_type_management_preference={"DynamoDB": True},
                # AWS returns the preferences of all services. Without this option, every refresh would report a difference.
                opts=pulumi.ResourceOptions.merge(self.child, pulumi.ResourceOptions(ignore_changes=preferences)),
            )
        if baseline.block_public_vpcs:
            aws.ec2.VpcBlockPublicAccessOptions(
                name,
                # The exclusions are inputs of this component, so they are created first.
                internet_gateway_block_mode="block-ingress",
                opts=self.child,
            )

    def _detector(self, name: str) -> None:
        """Create the GuardDuty detector with `FEATURES`."""
        detector = aws.guardduty.Detector(
            name, enable=True, finding_publishing_frequency="FIFTEEN_MINUTES", tags=tags("log"), opts=self.child
        )
        for feature in FEATURES:
            aws.guardduty.DetectorFeature(
                feature.lower().replace("_", "-"), detector_id=detector.id, name=feature, status="ENABLED", opts=self.child
            )

    def _config_recorder(self, name: str, args: AccountBaselineArgs) -> None:
        """Create the AWS Config recorder and its delivery channel."""
        role = aws.iam.ServiceLinkedRole(name, aws_service_name="config.amazonaws.com", tags=tags("internal"), opts=self.child)
        recorder = aws.cfg.Recorder(
            name,
            name=args.names.name("config"),
            role_arn=role.arn,
            recording_group={"all_supported": True, "include_global_resource_types": True},
            opts=self.child,
        )
        channel = aws.cfg.DeliveryChannel(
            name,
            name=args.names.name("config"),
            s3_bucket_name=args.log_bucket,
            s3_key_prefix=CONFIG_PREFIX,
            # AWS Config rejects a delivery channel without a recorder.
            opts=self.after(recorder),
        )
        aws.cfg.RecorderStatus(name, name=recorder.name, is_enabled=True, opts=self.after(channel))
