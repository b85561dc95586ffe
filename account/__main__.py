"""Creates the guards of one AWS account and region."""

import pulumi
import pulumi_aws as aws

from components.account.guards import AccountGuards
from components.naming import ACCOUNT, Naming, default_tags
from components.settings.loader import load_account
from components.storage.bucket import Bucket, config_bucket

settings = load_account()
names = Naming(ACCOUNT, settings.account, settings.region, settings.name_prefix)
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags={"tags": default_tags(settings)},
)
opts = pulumi.ResourceOptions(provider=provider)

log_bucket = None
if settings.guards.config_recorder:
    log_bucket = Bucket.log_bucket("config", config_bucket(names), opts)
AccountGuards("guards", names, settings, log_bucket.name if log_bucket else None, opts)

pulumi.export("account", settings.account)
pulumi.export("region", settings.region)
