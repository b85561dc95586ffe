"""Measures the CPU time and the memory of a check of a large program: `python -m bench check`.

The program consists of equal services of 21 resources each. Decision record 44 has the results for
3,000 resources.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

RESOURCES_PER_SERVICE = 21
_PROGRAM = '''"""{services} services of {per_service} resources each."""

import json

import pulumi
import pulumi_aws as aws

ACCOUNT = "123456789012"
provider = aws.Provider("main", region="eu-west-1", allowed_account_ids=[ACCOUNT], default_tags={{"tags": {{"service": "shop"}}}})


def allow(actions, resources):
    statement = {{"Effect": "Allow", "Action": actions, "Resource": resources}}
    return json.dumps({{"Version": "2012-10-17", "Statement": [statement]}})


def trust(service):
    statement = {{"Effect": "Allow", "Principal": {{"Service": service}}, "Action": "sts:AssumeRole"}}
    return json.dumps({{"Version": "2012-10-17", "Statement": [statement]}})


class Service(pulumi.ComponentResource):
    def __init__(self, number):
        name = f"service-{{number}}"
        super().__init__("shop:index:Service", name, opts=pulumi.ResourceOptions(provider=provider))
        self.options = pulumi.ResourceOptions(parent=self)
        key = aws.kms.Key(name, enable_key_rotation=True, description=name, opts=self.options)
        aws.kms.Alias(name, target_key_id=key.key_id, name=f"alias/{{name}}", opts=self.options)
        bucket = self.storage(name, key)
        role = self.role(name, bucket)
        self.messages(name, key)
        self.function(name, role, bucket)
        self.network(name, number)
        self.register_outputs({{}})

    def storage(self, name, key):
        bucket = aws.s3.Bucket(name, opts=self.options)
        aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.id,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            opts=self.options,
        )
        aws.s3.BucketVersioning(name, bucket=bucket.id, versioning_configuration={{"status": "Enabled"}}, opts=self.options)
        encryption = {{"apply_server_side_encryption_by_default": {{"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}}}}
        aws.s3.BucketServerSideEncryptionConfiguration(name, bucket=bucket.id, rules=[encryption], opts=self.options)
        policy = bucket.arn.apply(lambda arn: allow("s3:GetObject", f"{{arn}}/*"))
        aws.s3.BucketPolicy(name, bucket=bucket.id, policy=policy, opts=self.options)
        hash_key = {{"name": "id", "type": "S"}}
        encrypted = {{"enabled": True, "kms_key_arn": key.arn}}
        aws.dynamodb.Table(
            name,
            attributes=[hash_key],
            hash_key="id",
            billing_mode="PAY_PER_REQUEST",
            server_side_encryption=encrypted,
            opts=self.options,
        )
        return bucket

    def role(self, name, bucket):
        role = aws.iam.Role(name, assume_role_policy=trust("lambda.amazonaws.com"), opts=self.options)
        reads = bucket.arn.apply(lambda arn: allow(["s3:GetObject", "s3:ListBucket"], [arn, f"{{arn}}/*"]))
        aws.iam.RolePolicy(name, role=role.id, policy=reads, opts=self.options)
        return role

    def messages(self, name, key):
        dead = aws.sqs.Queue(f"{{name}}-dead", kms_master_key_id=key.arn, opts=self.options)
        redrive = dead.arn.apply(lambda arn: json.dumps({{"deadLetterTargetArn": arn, "maxReceiveCount": 5}}))
        aws.sqs.Queue(name, kms_master_key_id=key.arn, redrive_policy=redrive, opts=self.options)
        topic = aws.sns.Topic(name, kms_master_key_id=key.arn, opts=self.options)
        dimensions = {{"QueueName": dead.name}}
        aws.cloudwatch.MetricAlarm(
            name,
            comparison_operator="GreaterThanThreshold",
            evaluation_periods=1,
            metric_name="ApproximateNumberOfMessagesVisible",
            namespace="AWS/SQS",
            period=300,
            statistic="Maximum",
            threshold=0,
            dimensions=dimensions,
            alarm_actions=[topic.arn],
            opts=self.options,
        )

    def function(self, name, role, bucket):
        aws.cloudwatch.LogGroup(name, name=f"/aws/lambda/{{name}}", retention_in_days=365, opts=self.options)
        aws.lambda_.Function(
            name,
            role=role.arn,
            runtime="python3.13",
            handler="app.handler",
            code=pulumi.AssetArchive({{"app.py": pulumi.StringAsset("")}}),
            environment={{"variables": {{"BUCKET": bucket.bucket, "LEVEL": "info"}}}},
            opts=self.options,
        )

    def network(self, name, number):
        vpc = aws.ec2.Vpc(name, cidr_block=f"10.{{number % 250}}.0.0/16", opts=self.options)
        aws.ec2.Subnet(name, vpc_id=vpc.id, cidr_block=f"10.{{number % 250}}.1.0/24", opts=self.options)
        group = aws.ec2.SecurityGroup(name, vpc_id=vpc.id, description=name, opts=self.options)
        aws.vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4="10.0.0.0/8",
            opts=self.options,
        )


for number in range({services}):
    Service(number)
'''  # noqa: E501


def main(resources: int) -> None:
    """Check a program with this number of resources. Prints the CPU time of all processes, the
    duration and the memory of the largest process."""
    with tempfile.TemporaryDirectory() as folder:
        program = write(Path(folder), resources)
        command = [sys.executable, "-m", "gatehouse_policies", "check"]
        command += ["--program", str(program), "--levels", "prod"]
        started_at = time.monotonic()
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    used = getrusage(RUSAGE_CHILDREN)
    print(" ".join(output[output.rindex("prod: ") :].split()))
    print(
        f"{used.ru_utime + used.ru_stime:.1f} s of CPU time, "
        f"{time.monotonic() - started_at:.1f} s, {used.ru_maxrss / 1024:.0f} MB"
    )


def write(folder: Path, resources: int) -> Path:
    """Write the program and its stack dev to a folder. Returns the folder."""
    services = max(1, resources // RESOURCES_PER_SERVICE)
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n", encoding="utf-8")
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n", encoding="utf-8")
    code = _PROGRAM.format(services=services, per_service=RESOURCES_PER_SERVICE)
    (folder / "__main__.py").write_text(code, encoding="utf-8")
    return folder
