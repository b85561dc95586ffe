"""A component in a component with a bucket and its policy, and exports of several shapes."""

import pulumi
import pulumi_aws as aws
from parts import House  # type: ignore[import-not-found]

config = pulumi.Config()
house = House("home", colour=config.require("colour"))
rooms = config.require_object("rooms")
topic = aws.sns.Topic("bell", name="bell", tags={"Rooms": str(len(rooms))}, opts=pulumi.ResourceOptions(protect=True))

pulumi.export("bucket", house.cellar.bucket.bucket)
pulumi.export("topic", {"arn": topic.arn, "rooms": rooms})
pulumi.export("organization", pulumi.get_organization())
