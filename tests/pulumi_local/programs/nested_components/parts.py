"""Two components, one of which contains the other."""

import pulumi
import pulumi_aws as aws


class Storage(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__("demo:parts:Storage", name, {}, opts)
        own = pulumi.ResourceOptions(parent=self)
        self.bucket = aws.s3.Bucket(name, bucket="application-data", opts=own)
        document = self.bucket.arn.apply(
            lambda arn: '{"Version": "2012-10-17", "Statement": [], "Id": "' + arn + '"}'
        )
        self.policy = aws.s3.BucketPolicy(name, bucket=self.bucket.id, policy=document, opts=own)
        self.register_outputs({"name": self.bucket.bucket})


class Application(pulumi.ComponentResource):
    def __init__(self, name: str, size: str) -> None:
        super().__init__("demo:parts:Application", name, {"size": size})
        self.storage = Storage("storage", pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
