"""The guards of a whole AWS account, which exactly one of its stacks sets."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.bucket_policies import CONFIG_PREFIX
from components.naming import Naming
from components.tags import tags

FEATURES = ("S3_DATA_EVENTS", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS", "EBS_MALWARE_PROTECTION")
"""What GuardDuty looks at beside CloudTrail, flow logs and DNS."""


@dataclass(frozen=True, kw_only=True)
class AccountBaselineArgs:
    """What the baseline is told.

    names: the stack's names. log_bucket: where Config keeps its history.
    block_public_vpcs: no VPC of the region is reached from the internet but through an exclusion.
    exclusions: ids of the exclusions that must stand first.
    """

    names: Naming
    log_bucket: pulumi.Input[str]
    block_public_vpcs: bool
    exclusions: Sequence[pulumi.Output[str]]


class AccountBaseline(pulumi.ComponentResource):
    """Account-wide switches and watchers: public access to buckets and VPCs, disk encryption, password policy,
    GuardDuty, Security Hub, Config and Access Analyzer.

    Why: a stack is no safer than the account in which it lies; these tell of what somebody does beside this program.
    Cost: for a small account about 10 USD a month for Config, 5 to 20 for GuardDuty, 5 for Security Hub.
    Controls: GH-S3-002, GH-VPC-011, GH-ACC-001.
    """

    def __init__(self, name: str, args: AccountBaselineArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:account:AccountBaseline", name, component_inputs(args), opts)
        self._switches(name, args)
        self._record(name, args)
        detector = aws.guardduty.Detector(
            name,
            enable=True,
            finding_publishing_frequency="FIFTEEN_MINUTES",
            tags=tags("log"),
            opts=self._child(),
        )
        for feature in FEATURES:
            aws.guardduty.DetectorFeature(
                feature.lower().replace("_", "-"), detector_id=detector.id, name=feature, status="ENABLED", opts=self._child()
            )
        aws.securityhub.Account(
            name,
            enable_default_standards=True,
            auto_enable_controls=True,
            control_finding_generator="SECURITY_CONTROL",
            opts=self._child(),
        )
        aws.accessanalyzer.Analyzer(
            name, analyzer_name=args.names.name("access"), type="ACCOUNT", tags=tags("log"), opts=self._child()
        )
        self.register_outputs({})

    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self)

    def _switches(self, name: str, args: AccountBaselineArgs) -> None:
        aws.s3.AccountPublicAccessBlock(
            name,
            account_id=args.names.account,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self._child(),
        )
        aws.ebs.EncryptionByDefault(name, enabled=True, opts=self._child())
        # The program makes no IAM user; this is for those whom somebody makes by hand (CIS AWS Foundations, "IAM").
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
            opts=self._child(),
        )
        # AWS Backup copies a DynamoDB table to another region only with its own management of such backups.
        aws.backup.RegionSettings(
            name,
            resource_type_opt_in_preference={"RDS": True, "DynamoDB": True, "S3": True},
            resource_type_management_preference={"DynamoDB": True},
            opts=self._child(),
        )
        if args.block_public_vpcs:
            aws.ec2.VpcBlockPublicAccessOptions(
                name,
                # The inputs of this component carry the exclusions, so this waits for them.
                internet_gateway_block_mode="block-ingress",
                opts=self._child(),
            )

    def _record(self, name: str, args: AccountBaselineArgs) -> None:
        """AWS Config: what every resource of the account looks like, and looked like."""
        role = aws.iam.ServiceLinkedRole(name, aws_service_name="config.amazonaws.com", tags=tags("internal"), opts=self._child())
        recorder = aws.cfg.Recorder(
            name,
            name=args.names.name("config"),
            role_arn=role.arn,
            recording_group=aws.cfg.RecorderRecordingGroupArgs(all_supported=True, include_global_resource_types=True),
            opts=self._child(),
        )
        channel = aws.cfg.DeliveryChannel(
            name,
            name=args.names.name("config"),
            s3_bucket_name=args.log_bucket,
            s3_key_prefix=CONFIG_PREFIX,
            # A channel without a recorder is refused.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[recorder]),
        )
        aws.cfg.RecorderStatus(
            name, name=recorder.name, is_enabled=True, opts=pulumi.ResourceOptions(parent=self, depends_on=[channel])
        )
