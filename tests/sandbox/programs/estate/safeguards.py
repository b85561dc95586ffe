"""What guards data and account: network ACLs, copies in a second region, backups, budgets, watchers of the account."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws

AWAY = "eu-central-1"


def network(vpc: aws.ec2.Vpc, subnet: aws.ec2.Subnet, o: pulumi.ResourceOptions) -> None:
    """An ACL that lets in one port, and both halves of blocking public access."""
    rule: Any = {
        "rule_no": 10,
        "action": "allow",
        "protocol": "tcp",
        "cidr_block": "10.0.0.0/16",
        "from_port": 5432,
        "to_port": 5432,
    }
    aws.ec2.NetworkAcl("data", vpc_id=vpc.id, subnet_ids=[subnet.id], ingress=[rule], egress=[rule], opts=o)
    aws.ec2.VpcBlockPublicAccessExclusion(
        "data", subnet_id=subnet.id, internet_gateway_exclusion_mode="allow-bidirectional", opts=o
    )
    aws.ec2.VpcBlockPublicAccessOptions("all", internet_gateway_block_mode="block-ingress", opts=o)


def copies(source: pulumi.Output[str], role_arn: pulumi.Output[str], o: pulumi.ResourceOptions) -> aws.kms.Key:
    """A key with a replica, and a bucket that is copied to the region of the replica."""
    policy = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*", "Resource": "*"}
    key = aws.kms.Key("copies", description="copies", multi_region=True, opts=o)
    replica = aws.kms.ReplicaKey(
        "copies",
        region=AWAY,
        primary_key_arn=key.arn,
        description="copies, away",
        policy=json.dumps({"Version": "2012-10-17", "Statement": [policy]}),
        opts=o,
    )
    aws.kms.Alias("here", name="alias/copies", target_key_id=key.key_id, opts=o)
    aws.kms.Alias("away", name="alias/copies", region=AWAY, target_key_id=replica.key_id, opts=o)
    target = aws.s3.Bucket("away", bucket="estate-away", region=AWAY, opts=o)
    aws.s3.BucketVersioning("away", bucket=target.id, region=AWAY, versioning_configuration={"status": "Enabled"}, opts=o)
    rule: Any = {
        "id": "all",
        "status": "Enabled",
        "filter": {"prefix": "kept/"},
        "delete_marker_replication": {"status": "Enabled"},
        "source_selection_criteria": {"sse_kms_encrypted_objects": {"status": "Enabled"}},
        "destination": {
            "bucket": target.arn,
            "encryption_configuration": {"replica_kms_key_id": replica.arn},
            "replication_time": {"status": "Enabled", "time": {"minutes": 15}},
            "metrics": {"status": "Enabled", "event_threshold": {"minutes": 15}},
        },
    }
    aws.s3.BucketReplicationConfig("data", bucket=source, role=role_arn, rules=[rule], opts=o)
    return key


def backups(
    key: aws.kms.Key,
    table: pulumi.Output[str],
    role_arn: pulumi.Output[str],
    topic: pulumi.Output[str],
    o: pulumi.ResourceOptions,
) -> None:
    """A locked vault, and a plan for one table."""
    vault = aws.backup.Vault("vault", name="estate", kms_key_arn=key.arn, opts=o)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "backup:DeleteRecoveryPoint", "Resource": "*"}
    aws.backup.VaultPolicy(
        "vault", backup_vault_name=vault.name, policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}), opts=o
    )
    aws.backup.VaultLockConfiguration("vault", backup_vault_name=vault.name, min_retention_days=35, opts=o)
    aws.backup.VaultNotifications(
        "vault", backup_vault_name=vault.name, sns_topic_arn=topic, backup_vault_events=["BACKUP_JOB_FAILED"], opts=o
    )
    rule: Any = {
        "rule_name": "daily",
        "target_vault_name": vault.name,
        "schedule": "cron(0 5 * * ? *)",
        "lifecycle": {"delete_after": 35},
        "copy_actions": [{"destination_vault_arn": vault.arn, "lifecycle": {"delete_after": 40}}],
    }
    plan = aws.backup.Plan("plan", name="estate", rules=[rule], opts=o)
    aws.backup.Selection("plan", name="estate", plan_id=plan.id, iam_role_arn=role_arn, resources=[table], opts=o)
    aws.backup.RegionSettings("region", resource_type_opt_in_preference={"S3": True}, opts=o)


def costs(topic: pulumi.Output[str], o: pulumi.ResourceOptions) -> None:
    """A budget with a forecast, and an anomaly monitor."""
    alert: Any = {
        "notification_type": "FORECASTED",
        "comparison_operator": "GREATER_THAN",
        "threshold": 100,
        "threshold_type": "PERCENTAGE",
        "subscriber_sns_topic_arns": [topic],
        "subscriber_email_addresses": ["money@example.com"],
    }
    aws.budgets.Budget(
        "budget",
        name="estate",
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount="100",
        limit_unit="USD",
        metrics="UnblendedCost",
        filter_expression={"tags": {"key": "Project", "values": ["estate"], "match_options": ["EQUALS"]}},
        notifications=[alert],
        opts=o,
    )
    tagged = json.dumps({"Tags": {"Key": "Project", "Values": ["estate"]}})
    monitor = aws.costexplorer.AnomalyMonitor("costs", name="estate", monitor_type="CUSTOM", monitor_specification=tagged, opts=o)
    aws.costexplorer.AnomalySubscription(
        "costs",
        name="estate",
        frequency="IMMEDIATE",
        monitor_arn_lists=[monitor.arn],
        subscribers=[{"type": "SNS", "address": topic}],
        threshold_expression={
            "dimension": {
                "key": "ANOMALY_TOTAL_IMPACT_ABSOLUTE",
                "match_options": ["GREATER_THAN_OR_EQUAL"],
                "values": ["10"],
            }
        },
        opts=o,
    )


def proxy(
    subnets: list[aws.ec2.Subnet],
    group: pulumi.Output[str],
    role_arn: pulumi.Output[str],
    database: pulumi.Output[str],
    o: pulumi.ResourceOptions,
) -> None:
    """A proxy with IAM sign-in."""
    made = aws.rds.Proxy(
        "proxy",
        name="estate",
        engine_family="POSTGRESQL",
        default_auth_scheme="IAM_AUTH",
        require_tls=True,
        role_arn=role_arn,
        vpc_subnet_ids=[subnet.id for subnet in subnets],
        vpc_security_group_ids=[group],
        opts=o,
    )
    pool = aws.rds.ProxyDefaultTargetGroup(
        "proxy", db_proxy_name=made.name, connection_pool_config={"max_connections_percent": 90}, opts=o
    )
    aws.rds.ProxyTarget("proxy", db_proxy_name=made.name, target_group_name=pool.name, db_instance_identifier=database, opts=o)


def account(bucket: pulumi.Output[str], o: pulumi.ResourceOptions) -> None:
    """Everything that watches or closes a whole account."""
    aws.s3.AccountPublicAccessBlock(
        "account",
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=o,
    )
    aws.ebs.EncryptionByDefault("account", enabled=True, opts=o)
    aws.iam.AccountPasswordPolicy("account", minimum_password_length=14, require_numbers=True, opts=o)
    detector = aws.guardduty.Detector("account", enable=True, finding_publishing_frequency="ONE_HOUR", opts=o)
    for feature in ("S3_DATA_EVENTS", "RDS_LOGIN_EVENTS"):
        aws.guardduty.DetectorFeature(feature, detector_id=detector.id, name=feature, status="ENABLED", opts=o)
    aws.securityhub.Account("account", enable_default_standards=True, auto_enable_controls=True, opts=o)
    aws.accessanalyzer.Analyzer("account", analyzer_name="estate", type="ACCOUNT", opts=o)
    role = aws.iam.ServiceLinkedRole("config", aws_service_name="config.amazonaws.com", opts=o)
    recorder = aws.cfg.Recorder("config", name="estate", role_arn=role.arn, recording_group={"all_supported": True}, opts=o)
    channel = aws.cfg.DeliveryChannel(
        "config",
        name="estate",
        s3_bucket_name=bucket,
        s3_key_prefix="config",
        opts=pulumi.ResourceOptions(provider=o.provider, depends_on=[recorder]),
    )
    aws.cfg.RecorderStatus(
        "config", name=recorder.name, is_enabled=True, opts=pulumi.ResourceOptions(provider=o.provider, depends_on=[channel])
    )
