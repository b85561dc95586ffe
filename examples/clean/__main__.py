"""A drop box for files: a bucket, the log of who opened it, and a table of what is in it, under a key of their own; each has a
copy in a second region and a daily backup, and somebody is told when one of them fails.

The components make the safe parts; a resource beside them, here the key and the topic, is held to the same rules.
"""

from dataclasses import replace
from functools import partial

import pulumi
import pulumi_aws as aws

from components.backup.backup_plan import BackupPlan, BackupPlanArgs, BackupReplica
from components.database.secret_links_table import SecretLinksTable, SecretLinksTableArgs
from components.encryption.kms_keys import ADMINISTER, USE
from components.iam import backup_roles, bucket_policies
from components.iam.documents import Document, Statement, allow, deny, document, render
from components.iam.permissions_boundary import PermissionsBoundary, PermissionsBoundaryArgs
from components.iam.roles import Roles, RolesArgs
from components.monitoring import metric_alarms
from components.monitoring.alarm_resource import metric_alarm
from components.naming import Naming
from components.settings.data import BackupSettings, ProtectionSettings, SecretLinksTableSettings
from components.storage.bucket import Bucket, BucketArgs, BucketReplica
from components.tags import tags

config = pulumi.Config()
names = Naming(pulumi.get_stack(), config.require("account"), config.require("region"))
away = replace(names, region=config.require("secondRegion"))
runbooks = "https://example.com/parcels/runbooks"
protection = ProtectionSettings(protect=True, retain_on_delete=True)
provider = aws.Provider(
    "aws",
    region=names.region,
    allowed_account_ids=[names.account],
    default_tags=aws.ProviderDefaultTagsArgs(
        tags={
            **{"Project": "parcels", "Environment": pulumi.get_stack(), "Owner": "post", "CostCentre": "4711"},
            **{"ManagedBy": "pulumi", "DataClass": "none"},
        }
    ),
)
opts = pulumi.ResourceOptions(provider=provider)
kept = pulumi.ResourceOptions(provider=provider, protect=True, retain_on_delete=True)

# Who copies: a role of S3 and one of AWS Backup, neither of which can ever be made to do more.
ceiling = PermissionsBoundary("boundary", PermissionsBoundaryArgs(names=names, regions=(names.region, away.region)), opts)
access = Roles(
    "access",
    RolesArgs(names=names, definitions=backup_roles.role_definitions(names, replicated=away.region), boundary_arn=ceiling.arn),
    opts,
)

# The account administers the key, and uses it through S3, DynamoDB and Backup alone.
TELLERS = ["cloudwatch.amazonaws.com", "backup.amazonaws.com"]
users = backup_roles.key_users(names, replicated=away.region, away=away.region)


def key_policy(there: Naming, *more: Statement) -> Document:
    """Of the key, or of its replica."""
    through = [f"{service}.{there.region}.amazonaws.com" for service in ("s3", "dynamodb", "backup")]
    caller = {"kms:CallerAccount": names.account, "kms:ViaService": through}
    account = {"AWS": names.root_arn}
    return document(
        allow("Administer", ADMINISTER, ["*"], principal=account),
        allow("Use", USE, ["*"], principal=account, conditions={"StringEquals": caller}),
        *more,
    )


tellers = allow(
    "Tell",
    ["kms:Decrypt", "kms:GenerateDataKey*"],
    ["*"],
    principal={"Service": TELLERS},
    conditions={"StringEquals": {"aws:SourceAccount": names.account}},
)
key = aws.kms.Key(
    "parcels",
    description="Parcels, their table, their backups and what is told of them",
    multi_region=True,
    enable_key_rotation=True,
    policy=render(key_policy(names, *users["data"], *users["backup"], tellers)),
    tags=tags("confidential"),
    # KMS refuses a policy that names a role which does not exist yet.
    opts=pulumi.ResourceOptions.merge(kept, pulumi.ResourceOptions(depends_on=[access])),
)
aws.kms.Alias("parcels", name=names.alias("parcels"), target_key_id=key.key_id, opts=opts)
far_key = aws.kms.ReplicaKey(
    "parcels",
    region=away.region,
    primary_key_arn=key.arn,
    description="Parcels and their backups, second region",
    policy=render(key_policy(away, *users["away"])),
    tags=tags("confidential"),
    opts=kept,
)
aws.kms.Alias("away", name=names.alias("parcels"), region=away.region, target_key_id=far_key.id, opts=opts)


def closed_bucket(name: str, there: Naming, key_arn: pulumi.Input[str], replica: BucketReplica | None = None) -> Bucket:
    """A bucket for parcels, and beside it the one with the log of who opened them."""
    sink, store = there.bucket("logs"), there.bucket("data")
    made = partial(BucketArgs, protection=protection, region=there.region)
    writers = bucket_policies.access_log_writers(there, sink, (store,))
    policy = bucket_policies.bucket_policy(there, sink, encrypted_by_key=False, writers=writers)
    logs = Bucket.log_sink(f"{name}-logs", made(bucket_name=sink, policy=policy, data_class="log", expire_days=365), opts)
    policy = bucket_policies.bucket_policy(there, store, encrypted_by_key=True)
    return Bucket(
        name,
        made(bucket_name=store, policy=policy, data_class="confidential", key_arn=key_arn, log_bucket=logs.name, replica=replica),
        opts,
    )


far = closed_bucket("away", away, far_key.arn)
parcels = closed_bucket("parcels", names, key.arn, BucketReplica(far.arn, far_key.arn, access.arns[backup_roles.REPLICATION]))
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

# Who is told, and of what.
topic = aws.sns.Topic("alarms", name=names.name("alarms"), kms_master_key_id=key.arn, tags=tags("internal"), opts=opts)
arn = names.arn("sns", names.name("alarms"))
aws.sns.TopicPolicy(
    "alarms",
    arn=topic.arn,
    policy=render(
        document(
            deny("OnlyTls", ["sns:Publish"], [arn], conditions={"Bool": {"aws:SecureTransport": "false"}}),
            allow(
                "Tell",
                ["sns:Publish"],
                [arn],
                principal={"Service": TELLERS},
                conditions={"StringEquals": {"aws:SourceAccount": names.account}},
            ),
        )
    ),
    opts=opts,
)
for alarm in metric_alarms.of_table(table.table):
    metric_alarm(alarm, names, runbooks, topic.arn, table)
metrics = [
    ["AWS/DynamoDB", metric, "TableName", names.name("tokens")] for metric in ("ReadThrottleEvents", "WriteThrottleEvents")
]
shown = {"type": "metric", "width": 24, "height": 6, "properties": {"region": names.region, "title": "Table", "metrics": metrics}}
aws.cloudwatch.Dashboard(
    "overview",
    dashboard_name=names.name("overview"),
    dashboard_body=pulumi.Output.json_dumps({"widgets": [shown]}),
    opts=opts,
)
BackupPlan(
    "backup",
    BackupPlanArgs(
        names=names,
        backup=BackupSettings(retention_days=35, cross_region_copy=True, vault_lock="GOVERNANCE"),
        protection=protection,
        force_destroy=False,
        key_arn=key.arn,
        role_arn=access.arns[backup_roles.BACKUP],
        topic_arn=topic.arn,
        resources=(table.arn, parcels.arn),
        replica=BackupReplica(away.region, far_key.arn),
    ),
    opts,
)

pulumi.export("bucket", parcels.name)
pulumi.export("table", table.table)
# The account's own guards (Config, GuardDuty, public access block, budget) belong to another stack, which this names.
pulumi.export("accountBaseline", "gatehouse/prod")
