"""Measures the CPU time and the memory of a check of a large program: `python -m bench check`."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

RESOURCES_PER_SERVICE = 21
_PROGRAM = """import json

import pulumi
import pulumi_aws as aws

provider = aws.Provider(
    "main", region="eu-west-1", allowed_account_ids=["123456789012"],
    default_tags={"tags": {"service": "shop"}},
)


def document(**statement):
    statements = [{"Effect": "Allow", **statement}]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


TRUST = document(Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")


class Service(pulumi.ComponentResource):
    def __init__(self, number):
        name, network = f"service-{number}", f"10.{number % 250}"
        super().__init__("shop:index:Service", name, opts=pulumi.ResourceOptions(provider=provider))
        opts = pulumi.ResourceOptions(parent=self)
        key = aws.kms.Key(name, enable_key_rotation=True, description=name, opts=opts)
        aws.kms.Alias(name, target_key_id=key.key_id, name=f"alias/{name}", opts=opts)

        bucket = aws.s3.Bucket(name, opts=opts)
        aws.s3.BucketPublicAccessBlock(
            name, bucket=bucket.id, block_public_acls=True, block_public_policy=True,
            ignore_public_acls=True, restrict_public_buckets=True, opts=opts,
        )
        enabled = {"status": "Enabled"}
        aws.s3.BucketVersioning(
            name, bucket=bucket.id, versioning_configuration=enabled, opts=opts
        )
        encryption = {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn}
        aws.s3.BucketServerSideEncryptionConfiguration(
            name, bucket=bucket.id, opts=opts,
            rules=[{"apply_server_side_encryption_by_default": encryption}],
        )
        policy = bucket.arn.apply(
            lambda arn: document(Action="s3:GetObject", Resource=f"{arn}/*")
        )
        aws.s3.BucketPolicy(name, bucket=bucket.id, policy=policy, opts=opts)
        aws.dynamodb.Table(
            name, attributes=[{"name": "id", "type": "S"}], hash_key="id",
            billing_mode="PAY_PER_REQUEST", opts=opts,
            server_side_encryption={"enabled": True, "kms_key_arn": key.arn},
        )

        role = aws.iam.Role(name, assume_role_policy=TRUST, opts=opts)
        actions = ["s3:GetObject", "s3:ListBucket"]
        reads = bucket.arn.apply(
            lambda arn: document(Action=actions, Resource=[arn, f"{arn}/*"])
        )
        aws.iam.RolePolicy(name, role=role.id, policy=reads, opts=opts)
        group = f"/aws/lambda/{name}"
        aws.cloudwatch.LogGroup(name, name=group, retention_in_days=365, opts=opts)
        code = pulumi.AssetArchive({"app.py": pulumi.StringAsset("")})
        variables = {"variables": {"BUCKET": bucket.bucket, "LEVEL": "info"}}
        aws.lambda_.Function(
            name, role=role.arn, runtime="python3.13", handler="app.handler", code=code,
            environment=variables, opts=opts,
        )

        dead = aws.sqs.Queue(f"{name}-dead", kms_master_key_id=key.arn, opts=opts)
        redrive = dead.arn.apply(
            lambda arn: json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 5})
        )
        aws.sqs.Queue(name, kms_master_key_id=key.arn, redrive_policy=redrive, opts=opts)
        topic = aws.sns.Topic(name, kms_master_key_id=key.arn, opts=opts)
        aws.cloudwatch.MetricAlarm(
            name, namespace="AWS/SQS", metric_name="ApproximateNumberOfMessagesVisible",
            statistic="Maximum", period=300, comparison_operator="GreaterThanThreshold",
            evaluation_periods=1, threshold=0, dimensions={"QueueName": dead.name},
            alarm_actions=[topic.arn], opts=opts,
        )

        vpc = aws.ec2.Vpc(name, cidr_block=f"{network}.0.0/16", opts=opts)
        aws.ec2.Subnet(name, vpc_id=vpc.id, cidr_block=f"{network}.1.0/24", opts=opts)
        group = aws.ec2.SecurityGroup(name, vpc_id=vpc.id, description=name, opts=opts)
        aws.vpc.SecurityGroupIngressRule(
            name, security_group_id=group.id, ip_protocol="tcp", from_port=443, to_port=443,
            cidr_ipv4="10.0.0.0/8", opts=opts,
        )
        self.register_outputs({})


for number in range(SERVICES):
    Service(number)
"""


def main(resources: int) -> None:
    """Check a program with this number of resources. Prints the CPU time of all processes, the
    duration and the memory of the largest process.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = write(Path(folder), resources)
        command = [sys.executable, "-m", "gatehouse_policies", "check", "--levels", "prod"]
        command += ["--program", str(program)]
        started_at = time.monotonic()
        output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
        duration_s, used = time.monotonic() - started_at, getrusage(RUSAGE_CHILDREN)
    print(" ".join(output[output.rindex("prod: ") :].split()))
    cpu_s, memory_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{cpu_s:.1f} s of CPU time, {duration_s:.1f} s, {memory_mb:.0f} MB")


def write(folder: Path, resources: int) -> Path:
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")
    (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    services = max(1, resources // RESOURCES_PER_SERVICE)
    (folder / "__main__.py").write_text(_PROGRAM.replace("SERVICES", str(services)))
    return folder
