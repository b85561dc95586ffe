"""Example program that violates more than twenty controls. Do not deploy it.

A comment at the end of a line names the control that the line violates; a test compares the report
with the comments.
"""

import json

import pulumi
import pulumi_aws as aws

protected = pulumi.ResourceOptions(protect=True)

# A public bucket that accepts HTTP. `pulumi destroy` deletes the bucket with all objects.
photos = aws.s3.Bucket("photos", force_destroy=True, opts=protected)  # GH-S3-001, GH-S3-015
public = {
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "*",
}  # GH-S3-012
aws.s3.BucketPolicy(
    "photos",
    bucket=photos.id,
    policy=json.dumps({"Version": "2012-10-17", "Statement": [public]}),  # GH-S3-003
)

# A public, unencrypted database without backups, with its password in the program.
aws.rds.Instance(
    "orders",
    engine="postgres",
    instance_class="db.t4g.micro",
    allocated_storage=20,
    username="shop",
    password="correct-horse-battery",  # noqa: S106  GH-RDS-012
    publicly_accessible=True,  # GH-RDS-001
    storage_encrypted=False,  # GH-RDS-002
    backup_retention_period=0,  # GH-RDS-003
    multi_az=True,
    deletion_protection=True,
    final_snapshot_identifier="orders-last",
    iam_database_authentication_enabled=True,
    enabled_cloudwatch_logs_exports=["postgresql", "upgrade"],
    opts=protected,
)

# SSH access from the internet.
web = aws.ec2.SecurityGroup("web", description="Web servers of the shop")
aws.vpc.SecurityGroupIngressRule(
    "ssh",
    security_group_id=web.id,
    description="SSH from everywhere",
    ip_protocol="tcp",
    from_port=22,
    to_port=22,
    cidr_ipv4="0.0.0.0/0",  # GH-VPC-004
)

# A load balancer that serves HTTP and forwards invalid headers.
front = aws.lb.LoadBalancer(
    "front",
    subnets=["subnet-1", "subnet-2"],
    security_groups=[web.id],
    drop_invalid_header_fields=False,  # GH-ALB-003
    enable_deletion_protection=True,
    access_logs=aws.lb.LoadBalancerAccessLogsArgs(bucket="shop-logs", enabled=True),
    opts=protected,
)
target = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop/0123456789abcdef"
aws.lb.Listener(
    "plain",
    load_balancer_arn=front.arn,
    port=80,
    protocol="HTTP",
    default_actions=[
        aws.lb.ListenerDefaultActionArgs(type="forward", target_group_arn=target)
    ],  # GH-ALB-001
)

# A privileged task with a mutable image and a secret in its environment.
shop = {
    "name": "shop",
    "image": "shop:latest",  # GH-ECS-014
    "privileged": True,  # GH-ECS-001
    "user": "root",  # GH-ECS-003
    "environment": [{"name": "PAYMENT_API_KEY", "value": "paid-0000"}],  # GH-ECS-005
    "readonlyRootFilesystem": True,
    "linuxParameters": {"capabilities": {"drop": ["ALL"]}},
    "healthCheck": {"command": ["CMD", "/shop", "health"]},
    "logConfiguration": {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "shop", "mode": "non-blocking"},
    },
}
aws.ecs.TaskDefinition(
    "shop",
    family="shop",
    network_mode="awsvpc",
    requires_compatibilities=["FARGATE"],
    cpu="256",
    memory="512",
    task_role_arn="arn:aws:iam::123456789012:role/shop",
    execution_role_arn="arn:aws:iam::123456789012:role/shop-start",
    container_definitions=json.dumps([shop]),
)

# A policy with full administrative privileges.
admin = {"Effect": "Allow", "Action": "*", "Resource": "*"}  # GH-IAM-001
aws.iam.RolePolicy(
    "worker", role="worker", policy=json.dumps({"Version": "2012-10-17", "Statement": [admin]})
)

# A key without rotation or key policy, and a single-Region trail without log file validation.
aws.kms.Key(
    "shop",  # GH-KMS-002
    description="Photos and orders",
    enable_key_rotation=False,  # GH-KMS-001
    opts=protected,
)
aws.cloudtrail.Trail(
    "audit",
    s3_bucket_name="shop-trail",
    is_multi_region_trail=False,  # GH-CT-001
    enable_log_file_validation=False,  # GH-CT-003
    kms_key_id="arn:aws:kms:eu-west-1:123456789012:key/00000000-0000-0000-0000-000000000000",
    cloud_watch_logs_group_arn="arn:aws:logs:eu-west-1:123456789012:log-group:trail:*",
    cloud_watch_logs_role_arn="arn:aws:iam::123456789012:role/trail",
)
