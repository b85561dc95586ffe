"""File storage: a bucket with access logs, and a table with its alarms.

The data is encrypted with one key, and the bucket is replicated to a second Region. AWS Backup
creates daily backups. Most resources come from components; the key and the alarm topic are declared
directly.
"""

from dataclasses import replace
from functools import partial

import pulumi
import pulumi_aws as aws

from components.backup.backup_plan import BackupPlan, BackupPlanArgs
from components.component import RegionKey
from components.database.secret_links_table import SecretLinksTable, SecretLinksTableArgs
from components.iam import backup_roles, bucket_policies
from components.iam.documents import Document, Statement, allow, deny, document, render
from components.iam.key_policies import ADMINISTER, USE
from components.iam.roles import PermissionsBoundary, PermissionsBoundaryArgs, Roles, RolesArgs
from components.monitoring.metric_alarms import metric_alarm, table_alarms
from components.naming import Naming, tags
from components.settings.data import (
    BackupSettings,
    BucketsSettings,
    ProtectionSettings,
    SecretLinksTableSettings,
)
from components.storage.bucket import Bucket, BucketArgs, BucketReplica

config = pulumi.Config()
names = Naming(pulumi.get_stack(), config.require("account"), config.require("region"))
replica_names = replace(names, region=config.require("secondRegion"))
runbooks = "https://example.com/parcels/runbooks"
protection = ProtectionSettings(protect=True, retain_on_delete=True)
provider = aws.Provider(
    "aws",
    region=names.region,
    allowed_account_ids=[names.account],
    default_tags=aws.ProviderDefaultTagsArgs(
        tags={
            **{
                "Project": "parcels",
                "Environment": pulumi.get_stack(),
                "Owner": "post",
                "CostCentre": "4711",
            },
            **{"ManagedBy": "pulumi", "DataClass": "none"},
        }
    ),
)
opts = pulumi.ResourceOptions(provider=provider)
protected = pulumi.ResourceOptions(provider=provider, protect=True, retain_on_delete=True)

# Roles for S3 replication and AWS Backup, limited by a permissions boundary.
boundary = PermissionsBoundary(
    "boundary",
    PermissionsBoundaryArgs(names=names, regions=(names.region, replica_names.region)),
    opts,
)
roles = Roles(
    "access",
    RolesArgs(
        names=names,
        definitions=backup_roles.role_definitions(names, replication_region=replica_names.region),
        boundary_arn=boundary.arn,
    ),
    opts,
)

# The account administers the key and uses it through S3, DynamoDB and AWS Backup only.
PUBLISHERS = ["cloudwatch.amazonaws.com", "backup.amazonaws.com"]
users = backup_roles.key_statements(
    names, replication_region=replica_names.region, replica_region=replica_names.region
)


def key_policy(names_in_region: Naming, *statements: Statement) -> Document:
    """The key policy for the key or the replica of the key."""
    through = [
        f"{service}.{names_in_region.region}.amazonaws.com"
        for service in ("s3", "dynamodb", "backup")
    ]
    caller = {"kms:CallerAccount": names.account, "kms:ViaService": through}
    account = {"AWS": names.root_arn}
    return document(
        allow("Administer", ADMINISTER, ["*"], principal=account),
        allow("Use", USE, ["*"], principal=account, conditions={"StringEquals": caller}),
        *statements,
    )


publish_with_key = allow(
    "Publish",
    ["kms:Decrypt", "kms:GenerateDataKey*"],
    ["*"],
    principal={"Service": PUBLISHERS},
    conditions={"StringEquals": {"aws:SourceAccount": names.account}},
)
key = aws.kms.Key(
    "parcels",
    description="Files, their table, backups and alarm topic",
    multi_region=True,
    enable_key_rotation=True,
    policy=render(key_policy(names, *users["data"], *users["backup"], publish_with_key)),
    tags=tags("confidential"),
    # KMS rejects a key policy with a role that does not exist.
    opts=pulumi.ResourceOptions.merge(protected, pulumi.ResourceOptions(depends_on=[roles])),
)
aws.kms.Alias("parcels", name=names.alias("parcels"), target_key_id=key.key_id, opts=opts)
replica_key = aws.kms.ReplicaKey(
    "parcels",
    region=replica_names.region,
    primary_key_arn=key.arn,
    description="Files and backups, second Region",
    policy=render(key_policy(replica_names, *users["replica"])),
    tags=tags("confidential"),
    opts=protected,
)
aws.kms.Alias(
    "replica",
    name=names.alias("parcels"),
    region=replica_names.region,
    target_key_id=replica_key.id,
    opts=opts,
)


def file_bucket(
    name: str,
    names_in_region: Naming,
    key_arn: pulumi.Input[str],
    replica: BucketReplica | None = None,
) -> Bucket:
    """A bucket for files and a bucket for its access logs."""
    log_name, name_in_region = names_in_region.bucket("logs"), names_in_region.bucket("data")
    bucket_args = partial(BucketArgs, protection=protection, region=names_in_region.region)
    writers = bucket_policies.access_log_writers(names_in_region, log_name, (name_in_region,))
    policy = bucket_policies.bucket_policy(
        names_in_region, log_name, encrypted_by_key=False, writers=writers
    )
    logs = Bucket.log_bucket(
        f"{name}-logs",
        bucket_args(bucket_name=log_name, policy=policy, data_class="log", expire_days=365),
        opts,
    )
    policy = bucket_policies.bucket_policy(names_in_region, name_in_region, encrypted_by_key=True)
    return Bucket(
        name,
        bucket_args(
            bucket_name=name_in_region,
            policy=policy,
            data_class="confidential",
            key_arn=key_arn,
            log_bucket=logs.name,
            replica=replica,
        ),
        opts,
    )


replica = file_bucket("replica", replica_names, replica_key.arn)
files = file_bucket(
    "files",
    names,
    key.arn,
    BucketReplica(replica.arn, replica_key.arn, roles.arns[backup_roles.REPLICATION]),
)
table = SecretLinksTable(
    "tokens",
    SecretLinksTableArgs(
        names=names,
        secret_links_table=SecretLinksTableSettings(recovery_days=35, deletion_protection=True),
        protection=protection,
        key_arn=key.arn,
    ),
    opts,
)

# Alarms.
topic = aws.sns.Topic(
    "alarms", name=names.name("alarms"), kms_master_key_id=key.arn, tags=tags("internal"), opts=opts
)
arn = names.arn("sns", names.name("alarms"))
aws.sns.TopicPolicy(
    "alarms",
    arn=topic.arn,
    policy=render(
        document(
            deny(
                "RequireTls",
                ["sns:Publish"],
                [arn],
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
            allow(
                "Publish",
                ["sns:Publish"],
                [arn],
                principal={"Service": PUBLISHERS},
                conditions={"StringEquals": {"aws:SourceAccount": names.account}},
            ),
        )
    ),
    opts=opts,
)
for alarm in table_alarms(table.table):
    metric_alarm(alarm, names, runbooks, topic.arn, table)
metrics = [
    ["AWS/DynamoDB", metric, "TableName", names.name("tokens")]
    for metric in ("ReadThrottleEvents", "WriteThrottleEvents")
]
widget = {
    "type": "metric",
    "width": 24,
    "height": 6,
    "properties": {"region": names.region, "title": "Table", "metrics": metrics},
}
aws.cloudwatch.Dashboard(
    "overview",
    dashboard_name=names.name("overview"),
    dashboard_body=pulumi.Output.json_dumps({"widgets": [widget]}),
    opts=opts,
)
BackupPlan(
    "backup",
    BackupPlanArgs(
        names=names,
        backup=BackupSettings(retention_days=35, cross_region_copy=True, vault_lock="GOVERNANCE"),
        protection=protection,
        buckets=BucketsSettings(force_destroy=False),
        key_arn=key.arn,
        role_arn=roles.arns[backup_roles.BACKUP],
        topic_arn=topic.arn,
        resources=(table.arn, files.arn),
        replica=RegionKey(replica_names.region, replica_key.arn),
    ),
    opts,
)

pulumi.export("bucket", files.name)
pulumi.export("table", table.table)
# Another stack manages the account baseline (AWS Config, GuardDuty, public access block, budget).
pulumi.export("accountGuards", "gatehouse/prod")
