"""A drop box for files: a bucket, the log of who opened it, and a table of what is in it, under a key of their own.

The components make the safe parts; a resource beside them, here the key, is held to the same rules.
"""

import pulumi
import pulumi_aws as aws

from components import bucketpolicy
from components.bucket import Bucket, BucketArgs
from components.document import allow, document, render
from components.keyring import ADMINISTER, USE
from components.naming import Naming
from components.sections import Keep
from components.sections import Tokens as Recovery
from components.tags import tags
from components.tokens import Tokens, TokensArgs

config = pulumi.Config()
names = Naming(pulumi.get_stack(), config.require("account"), config.require("region"))
keep = Keep(protect=True, retain=True)
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

# The account administers the key, and uses it through S3 and DynamoDB alone.
through = [f"{service}.{names.region}.amazonaws.com" for service in ("s3", "dynamodb")]
key = aws.kms.Key(
    "parcels",
    description="Parcels and their table",
    enable_key_rotation=True,
    policy=render(
        document(
            allow("Administer", ADMINISTER, ["*"], principal={"AWS": names.root_arn}),
            allow(
                "Use",
                USE,
                ["*"],
                principal={"AWS": names.root_arn},
                conditions={"StringEquals": {"kms:CallerAccount": names.account, "kms:ViaService": through}},
            ),
        )
    ),
    tags=tags("confidential"),
    opts=pulumi.ResourceOptions(provider=provider, protect=True, retain_on_delete=True),
)
aws.kms.Alias("parcels", name=names.alias("parcels"), target_key_id=key.key_id, opts=opts)

sink, store = names.bucket("logs"), names.bucket("parcels")
writers = bucketpolicy.access_log_writers(names, sink, (store,))
logs = Bucket.log_sink(
    "logs",
    BucketArgs(
        sink,
        bucketpolicy.bucket_policy(names, sink, encrypted_by_key=False, writers=writers),
        "log",
        keep,
        expire_days=365,
    ),
    opts,
)
parcels = Bucket(
    "parcels",
    BucketArgs(
        store,
        bucketpolicy.bucket_policy(names, store, encrypted_by_key=True),
        "confidential",
        keep,
        key_arn=key.arn,
        log_bucket=logs.name,
    ),
    opts,
)
table = Tokens("tokens", TokensArgs(names, Recovery(recovery_days=35, deletion_protection=True), keep, key.arn), opts)

pulumi.export("bucket", parcels.name)
pulumi.export("table", table.table)
# The account's own guards (Config, GuardDuty, public access block, budget) belong to another program, which this names.
pulumi.export("accountBaseline", "gatehouse/prod")
