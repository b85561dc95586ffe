"""Guards of an AWS account and region: settings and detectors that also affect resources of other
programs.
"""

import pulumi
import pulumi_aws as aws

from components.account.budget import notifications
from components.component import Component
from components.iam.bucket_policies import CONFIG_PREFIX
from components.naming import Naming, tags
from components.settings.account import AccountBudgetSettings, AccountSettings, GuardsSettings

FEATURES = ("S3_DATA_EVENTS", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS", "EBS_MALWARE_PROTECTION")
"""GuardDuty features in addition to CloudTrail, VPC flow logs and DNS logs."""
CONFIG_ROLE = "role/aws-service-role/config.amazonaws.com/AWSServiceRoleForConfig"
"""Service-linked role of AWS Config, which the stacks of all regions share. `make bootstrap`
creates it.
"""


class AccountGuards(Component):
    """The guards of an account and region that the settings enable: public access blocks, default
    encryption, IMDSv2, password policy, AWS Backup, GuardDuty, Security Hub, AWS Config, IAM Access
    Analyzer, a budget and reports of cost anomalies.

    Why: The settings also protect resources of other programs, and the detectors report changes to
    these resources. The provider removes or resets most guards when it deletes them (EBS
    encryption, VPC Block Public Access), or deletes their findings (GuardDuty, Security Hub), so
    Pulumi retains all of them.

    log_bucket: Bucket for the deliveries of AWS Config; None without `guards.config_recorder`.
    """

    def __init__(
        self,
        name: str,
        names: Naming,
        settings: AccountSettings,
        log_bucket: pulumi.Input[str] | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, opts)
        self._names = names
        # The guards stay in AWS when Pulumi deletes them.
        self._retained = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        self._storage_and_compute(name, settings.guards)
        self._iam_and_backup(name, settings.guards)
        self._detectors(name, settings.guards)
        if log_bucket is not None:
            self._config_recorder(name, log_bucket)
        if settings.budget.monthly_usd:
            aws.budgets.Budget(
                name,
                name=names.name("monthly"),
                account_id=names.account,
                budget_type="COST",
                time_unit="MONTHLY",
                limit_amount=str(settings.budget.monthly_usd),
                limit_unit="USD",
                notifications=notifications(emails=list(settings.budget.emails)),
                tags=tags("internal"),
                opts=self.child,
            )
        if settings.budget.anomaly_usd:
            self._anomalies(name, settings.budget)
        self.register_outputs({})

    def _anomalies(self, name: str, budget: AccountBudgetSettings) -> None:
        """Report unusual costs by e-mail. Immediate reports require an SNS topic (Cost Explorer API
        Reference, AnomalySubscription, 2026-11-29).
        """
        monitor = budget.anomaly_monitor_arn or (
            aws.costexplorer.AnomalyMonitor(
                name,
                name=self._names.name("services"),
                monitor_type="DIMENSIONAL",
                monitor_dimension="SERVICE",
                opts=self._retained,
            ).arn
        )
        aws.costexplorer.AnomalySubscription(
            name,
            name=self._names.name("anomalies"),
            frequency="DAILY",
            monitor_arn_lists=[monitor],
            subscribers=[{"type": "EMAIL", "address": address} for address in budget.emails],
            threshold_expression={
                "dimension": {
                    "key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                    "match_options": ["GREATER_THAN_OR_EQUAL"],
                    "values": [str(budget.anomaly_usd)],
                }
            },
            opts=self.child,
        )

    def _storage_and_compute(self, name: str, guards: GuardsSettings) -> None:
        if guards.s3_public_access_block:
            aws.s3.AccountPublicAccessBlock(
                name,
                account_id=self._names.account,
                block_public_acls=True,
                block_public_policy=True,
                ignore_public_acls=True,
                restrict_public_buckets=True,
                opts=self._retained,
            )
        if guards.ebs_encryption:
            aws.ebs.EncryptionByDefault(name, enabled=True, opts=self._retained)
        if guards.imdsv2:
            aws.ec2.InstanceMetadataDefaults(name, http_tokens="required", opts=self._retained)
        if guards.block_public_vpcs:
            aws.ec2.VpcBlockPublicAccessOptions(
                name, internet_gateway_block_mode="block-ingress", opts=self._retained
            )

    def _iam_and_backup(self, name: str, guards: GuardsSettings) -> None:
        if guards.password_policy:
            # Applies to IAM users created outside this program (CIS AWS Foundations Benchmark,
            # "IAM").
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
                opts=self._retained,
            )
        if guards.backup_opt_in:
            preferences = ["resourceTypeOptInPreference", "resourceTypeManagementPreference"]
            # AWS Backup can copy backups of a DynamoDB table to another region only if it manages
            # these backups.
            aws.backup.RegionSettings(
                name,
                resource_type_opt_in_preference={"RDS": True, "DynamoDB": True, "S3": True},
                resource_type_management_preference={"DynamoDB": True},
                # AWS returns the preferences of all services. Without this option, every refresh
                # would report a difference.
                opts=pulumi.ResourceOptions(
                    parent=self, retain_on_delete=True, ignore_changes=preferences
                ),
            )

    def _detectors(self, name: str, guards: GuardsSettings) -> None:
        """Create the detector of GuardDuty with `FEATURES`, Security Hub and the analyzer."""
        if guards.guardduty:
            detector = aws.guardduty.Detector(
                name,
                enable=True,
                finding_publishing_frequency="FIFTEEN_MINUTES",
                tags=tags("log"),
                opts=self._retained,
            )
            for feature in FEATURES:
                aws.guardduty.DetectorFeature(
                    feature.lower().replace("_", "-"),
                    detector_id=detector.id,
                    name=feature,
                    status="ENABLED",
                    opts=self._retained,
                )
        if guards.security_hub:
            aws.securityhub.Account(
                name,
                enable_default_standards=True,
                auto_enable_controls=True,
                control_finding_generator="SECURITY_CONTROL",
                opts=self._retained,
            )
        if guards.access_analyzer:
            aws.accessanalyzer.Analyzer(
                name,
                analyzer_name=self._names.name("access"),
                type="ACCOUNT",
                tags=tags("log"),
                opts=self._retained,
            )

    def _config_recorder(self, name: str, log_bucket: pulumi.Input[str]) -> None:
        """Create the AWS Config recorder and its delivery channel, and start the recorder."""
        recorder = aws.cfg.Recorder(
            name,
            name=self._names.name("config"),
            role_arn=self._names.any_arn("iam", CONFIG_ROLE),
            recording_group={"all_supported": True, "include_global_resource_types": True},
            opts=self._retained,
        )
        channel = aws.cfg.DeliveryChannel(
            name,
            name=self._names.name("config"),
            s3_bucket_name=log_bucket,
            s3_key_prefix=CONFIG_PREFIX,
            # AWS Config rejects a delivery channel without a recorder.
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True, depends_on=[recorder]),
        )
        aws.cfg.RecorderStatus(
            name,
            name=recorder.name,
            is_enabled=True,
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=True, depends_on=[channel]),
        )
