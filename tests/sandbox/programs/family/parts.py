"""Two components, one inside the other."""

import pulumi
import pulumi_aws as aws


class Cellar(pulumi.ComponentResource):
    """A bucket and its policy."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__("demo:parts:Cellar", name, {}, opts)
        own = pulumi.ResourceOptions(parent=self)
        self.bucket = aws.s3.Bucket(name, bucket="cellar-of-the-house", opts=own)
        document = self.bucket.arn.apply(lambda arn: '{"Version": "2012-10-17", "Statement": [], "Id": "' + arn + '"}')
        self.policy = aws.s3.BucketPolicy(name, bucket=self.bucket.id, policy=document, opts=own)
        self.register_outputs({"name": self.bucket.bucket})


class House(pulumi.ComponentResource):
    """A cellar and a colour."""

    def __init__(self, name: str, colour: str) -> None:
        super().__init__("demo:parts:House", name, {"colour": colour})
        self.cellar = Cellar("cellar", pulumi.ResourceOptions(parent=self))
        self.register_outputs({})
