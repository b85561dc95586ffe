"""Nested components, and exports of several shapes."""

import pulumi
import pulumi_aws as aws
from parts import Application  # type: ignore[import-not-found]

config = pulumi.Config()
application = Application("application", size=config.require("size"))
zones = config.require_object("zones")
topic = aws.sns.Topic(
    "alerts",
    name="alerts",
    tags={"Zones": str(len(zones))},
    opts=pulumi.ResourceOptions(protect=True),
)

pulumi.export("bucket", application.storage.bucket.bucket)
pulumi.export("topic", {"arn": topic.arn, "zones": zones})
pulumi.export("organization", pulumi.get_organization())
