"""The resources whose settings test_resources.py reads. Types that the stacks of the repository deploy may be missing."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws

provider = aws.Provider(
    "ireland",
    region="eu-west-1",
    allowed_account_ids=["123456789012"],
    default_tags=aws.ProviderDefaultTagsArgs(tags={"Project": "estate"}),
)
options = pulumi.ResourceOptions(provider=provider)


def trust(service: str) -> str:
    """A trust policy for one service."""
    principal = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [principal]})


allow = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})

# Identity and encryption
policy = aws.iam.Policy("managed", name="managed", policy=allow, opts=options)
role = aws.iam.Role(
    "role",
    name="estate",
    assume_role_policy=trust("lambda.amazonaws.com"),
    permissions_boundary=policy.arn,
    tags={"Own": "yes"},
    opts=options,
)
aws.iam.RolePolicy("inline", name="inline", role=role.name, policy=allow, opts=options)
aws.iam.RolePolicyAttachment("attached", role=role.name, policy_arn=policy.arn, opts=options)
execution = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
aws.iam.RolePolicyAttachment("execution", role=role.name, policy_arn=execution, opts=options)
key = aws.kms.Key("key", description="estate", enable_key_rotation=True, rotation_period_in_days=365, opts=options)
aws.kms.Alias("alias", name="alias/estate", target_key_id=key.key_id, opts=options)

# Buckets
logs = aws.s3.Bucket("logs", bucket="estate-logs", opts=options)
delivery = {
    "Effect": "Allow",
    "Principal": {"Service": "logging.s3.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::estate-logs/*",
}
delivered = aws.s3.BucketPolicy(
    "logs", bucket=logs.id, policy=json.dumps({"Version": "2012-10-17", "Statement": [delivery]}), opts=options
)
bucket = aws.s3.Bucket("data", bucket="estate-data", object_lock_enabled=True, opts=options)
versions = aws.s3.BucketVersioning("data", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=options)
aws.s3.BucketServerSideEncryptionConfiguration(
    "data",
    bucket=bucket.id,
    rules=[
        {
            "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn},
            "bucket_key_enabled": True,
        }
    ],
    opts=options,
)
aws.s3.BucketPublicAccessBlock(
    "data",
    bucket=bucket.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
    opts=options,
)
aws.s3.BucketOwnershipControls("data", bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=options)
aws.s3.BucketLogging(
    "data",
    bucket=bucket.id,
    target_bucket=logs.id,
    target_prefix="data/",
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[delivered]),
)
aws.s3.BucketLifecycleConfiguration(
    "data",
    bucket=bucket.id,
    rules=[
        {
            "id": "old",
            "status": "Enabled",
            "noncurrent_version_expiration": {"noncurrent_days": 30},
            "abort_incomplete_multipart_upload": {"days_after_initiation": 7},
        },
        {"id": "tmp", "status": "Enabled", "filter": {"prefix": "tmp/"}, "expiration": {"days": 1}},
    ],
    opts=pulumi.ResourceOptions(provider=provider, depends_on=[versions]),
)
aws.s3.BucketObjectLockConfiguration(
    "data", bucket=bucket.id, rule={"default_retention": {"mode": "GOVERNANCE", "days": 1}}, opts=options
)
aws.s3.BucketPolicy(
    "data",
    bucket=bucket.id,
    policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": ["arn:aws:s3:::estate-data", "arn:aws:s3:::estate-data/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
    ),
    opts=options,
)

# Logs, metrics, topics
group = aws.cloudwatch.LogGroup("group", name="/estate/app", retention_in_days=30, kms_key_id=key.arn, opts=options)
topic = aws.sns.Topic("topic", name="estate", kms_master_key_id=key.arn, opts=options)
alarm = aws.cloudwatch.MetricAlarm(
    "alarm",
    name="estate-errors",
    namespace="Estate",
    metric_name="Errors",
    dimensions={"Service": "gateway"},
    statistic="Sum",
    period=60,
    evaluation_periods=5,
    threshold=1.5,
    comparison_operator="GreaterThanThreshold",
    treat_missing_data="notBreaching",
    alarm_actions=[topic.arn],
    ok_actions=[topic.arn],
    opts=options,
)

# Network
vpc = aws.ec2.Vpc(
    "vpc", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, enable_dns_support=True, tags={"Name": "estate"}, opts=options
)
aws.ec2.DefaultSecurityGroup("default", vpc_id=vpc.id, opts=options)
subnets = [
    aws.ec2.Subnet(
        f"subnet-{zone}",
        vpc_id=vpc.id,
        cidr_block=f"10.0.{index}.0/24",
        availability_zone=f"eu-west-1{zone}",
        map_public_ip_on_launch=False,
        opts=options,
    )
    for index, zone in enumerate("ab")
]
gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=options)
address = aws.ec2.Eip("address", domain="vpc", opts=options)
nat = aws.ec2.NatGateway("nat", allocation_id=address.id, subnet_id=subnets[0].id, connectivity_type="public", opts=options)
table = aws.ec2.RouteTable("routes", vpc_id=vpc.id, opts=options)
aws.ec2.Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.id, opts=options)
aws.ec2.RouteTableAssociation("a", route_table_id=table.id, subnet_id=subnets[0].id, opts=options)
front = aws.ec2.SecurityGroup("front", name="front", description="front", vpc_id=vpc.id, opts=options)
back = aws.ec2.SecurityGroup("back", name="back", description="back", vpc_id=vpc.id, opts=options)
aws.vpc.SecurityGroupIngressRule(
    "back",
    security_group_id=back.id,
    description="front to back",
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    referenced_security_group_id=front.id,
    opts=options,
)
endpoint = aws.ec2.VpcEndpoint(
    "s3",
    vpc_id=vpc.id,
    service_name="com.amazonaws.eu-west-1.s3",
    vpc_endpoint_type="Gateway",
    route_table_ids=[table.id],
    policy=allow,
    opts=options,
)
aws.vpc.SecurityGroupEgressRule(
    "s3",
    security_group_id=front.id,
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    prefix_list_id=endpoint.prefix_list_id,
    opts=options,
)

# Secrets and functions
failed = aws.sqs.Queue("failed", name="estate-failed", message_retention_seconds=1209600, kms_master_key_id=key.arn, opts=options)
aws.sqs.QueuePolicy("failed", queue_url=failed.id, policy=allow, opts=options)
function = aws.lambda_.Function(
    "function",
    name="estate",
    role=role.arn,
    runtime="python3.12",
    handler="handler.handler",
    code=pulumi.FileArchive("code"),
    architectures=["arm64"],
    timeout=30,
    memory_size=256,
    kms_key_arn=key.arn,
    environment={"variables": {"COLOUR": "red"}},
    logging_config={"log_format": "JSON", "log_group": group.name},
    tracing_config={"mode": "Active"},
    dead_letter_config={"target_arn": failed.arn},
    reserved_concurrent_executions=5,
    opts=options,
)
aws.lambda_.Permission(
    "secrets",
    function=function.name,
    action="lambda:InvokeFunction",
    principal="secretsmanager.amazonaws.com",
    source_account="123456789012",
    statement_id="secrets",
    opts=options,
)
secret = aws.secretsmanager.Secret("secret", name="estate/pepper", kms_key_id=key.arn, recovery_window_in_days=7, opts=options)
aws.secretsmanager.SecretPolicy("secret", secret_arn=secret.arn, policy=allow, block_public_policy=True, opts=options)
aws.secretsmanager.SecretRotation(
    "secret",
    secret_id=secret.id,
    rotation_lambda_arn=function.arn,
    rotate_immediately=True,
    rotation_rules={"automatically_after_days": 30},
    opts=options,
)

# Stores
db_subnets = aws.rds.SubnetGroup("db", name="estate", subnet_ids=[subnet.id for subnet in subnets], opts=options)
db_parameters = aws.rds.ParameterGroup(
    "db", name="estate", family="postgres17", parameters=[{"name": "rds.force_ssl", "value": "1"}], opts=options
)
database = aws.rds.Instance(
    "db",
    identifier="estate",
    engine="postgres",
    engine_version="17.6",
    instance_class="db.t4g.micro",
    allocated_storage=20,
    max_allocated_storage=100,
    storage_type="gp3",
    storage_encrypted=True,
    kms_key_id=key.arn,
    db_name="estate",
    username="owner",
    manage_master_user_password=True,
    master_user_secret_kms_key_id=key.arn,
    port=5432,
    multi_az=True,
    publicly_accessible=False,
    db_subnet_group_name=db_subnets.name,
    vpc_security_group_ids=[back.id],
    parameter_group_name=db_parameters.name,
    iam_database_authentication_enabled=True,
    backup_retention_period=7,
    backup_window="03:00-04:00",
    maintenance_window="Mon:04:30-Mon:05:30",
    copy_tags_to_snapshot=True,
    skip_final_snapshot=True,
    deletion_protection=True,
    auto_minor_version_upgrade=True,
    ca_cert_identifier="rds-ca-rsa2048-g1",
    enabled_cloudwatch_logs_exports=["postgresql"],
    performance_insights_enabled=True,
    performance_insights_kms_key_id=key.arn,
    performance_insights_retention_period=7,
    monitoring_interval=60,
    monitoring_role_arn=role.arn,
    opts=options,
)
aws.elasticache.ParameterGroup(
    "cache", name="estate", family="valkey8", parameters=[{"name": "maxmemory-policy", "value": "noeviction"}], opts=options
)
tokens = aws.dynamodb.Table(
    "tokens",
    name="estate-tokens",
    billing_mode="PAY_PER_REQUEST",
    hash_key="id",
    attributes=[{"name": "id", "type": "S"}, {"name": "owner", "type": "S"}],
    global_secondary_indexes=[{"name": "by-owner", "hash_key": "owner", "projection_type": "ALL"}],
    ttl={"attribute_name": "expires", "enabled": True},
    point_in_time_recovery={"enabled": True},
    server_side_encryption={"enabled": True, "kms_key_arn": key.arn},
    deletion_protection_enabled=True,
    opts=options,
)

# Containers
cluster = aws.ecs.Cluster("cluster", name="estate", settings=[{"name": "containerInsights", "value": "enhanced"}], opts=options)
aws.ecs.ClusterCapacityProviders(
    "cluster",
    cluster_name=cluster.name,
    capacity_providers=["FARGATE"],
    default_capacity_provider_strategies=[{"capacity_provider": "FARGATE", "weight": 1}],
    opts=options,
)
task = aws.ecs.TaskDefinition(
    "task",
    family="estate",
    cpu="256",
    memory="512",
    network_mode="awsvpc",
    requires_compatibilities=["FARGATE"],
    execution_role_arn=role.arn,
    task_role_arn=role.arn,
    runtime_platform={"cpu_architecture": "ARM64", "operating_system_family": "LINUX"},
    container_definitions=json.dumps(
        [
            {
                "name": "app",
                "image": "estate:1",
                "essential": True,
                "readonlyRootFilesystem": True,
                "user": "65532:65532",
                "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
                "environment": [{"name": "COLOUR", "value": "red"}],
                "linuxParameters": {"capabilities": {"drop": ["ALL"]}, "initProcessEnabled": True},
                "logConfiguration": {
                    "logDriver": "awslogs",
                    "options": {"awslogs-group": "/estate/app", "mode": "non-blocking"},
                },
            }
        ]
    ),
    opts=options,
)

# Edge
zone = aws.route53.Zone("zone", name="example.com", comment="estate", opts=options)
certificate = aws.acm.Certificate(
    "certificate",
    domain_name="gateway.example.com",
    subject_alternative_names=["console.example.com"],
    validation_method="DNS",
    key_algorithm="EC_prime256v1",
    opts=options,
)
records = [
    aws.route53.Record(
        f"validation-{index}",
        zone_id=zone.zone_id,
        name=certificate.domain_validation_options[index].resource_record_name,
        type=certificate.domain_validation_options[index].resource_record_type,
        records=[certificate.domain_validation_options[index].resource_record_value],
        ttl=300,
        opts=options,
    )
    for index in range(2)
]
valid = aws.acm.CertificateValidation(
    "valid", certificate_arn=certificate.arn, validation_record_fqdns=[record.fqdn for record in records], opts=options
)
balancer = aws.lb.LoadBalancer(
    "balancer",
    name="estate",
    load_balancer_type="application",
    internal=False,
    subnets=[subnet.id for subnet in subnets],
    security_groups=[front.id],
    drop_invalid_header_fields=True,
    desync_mitigation_mode="strictest",
    enable_deletion_protection=True,
    enable_waf_fail_open=False,
    idle_timeout=120,
    xff_header_processing_mode="append",
    access_logs={"bucket": logs.id, "prefix": "alb", "enabled": True},
    connection_logs={"bucket": logs.id, "prefix": "alb-connections", "enabled": True},
    opts=options,
)
target = aws.lb.TargetGroup(
    "target",
    name="estate",
    port=8080,
    protocol="HTTP",
    target_type="ip",
    vpc_id=vpc.id,
    deregistration_delay=30,
    health_check={
        "path": "/healthz",
        "matcher": "200",
        "interval": 10,
        "healthy_threshold": 2,
        "unhealthy_threshold": 2,
    },
    opts=options,
)
listener = aws.lb.Listener(
    "https",
    load_balancer_arn=balancer.arn,
    port=443,
    protocol="HTTPS",
    ssl_policy="ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
    certificate_arn=valid.certificate_arn,
    default_actions=[
        {
            "type": "fixed-response",
            "fixed_response": {"content_type": "text/plain", "message_body": "no", "status_code": "404"},
        }
    ],
    routing_http_response_server_enabled=False,
    routing_http_response_strict_transport_security_header_value="max-age=31536000",
    routing_http_response_x_frame_options_header_value="DENY",
    opts=options,
)
aws.lb.ListenerRule(
    "gateway",
    listener_arn=listener.arn,
    priority=10,
    conditions=[{"host_header": {"values": ["gateway.example.com"]}}],
    actions=[{"type": "forward", "target_group_arn": target.arn}],
    opts=options,
)
visibility: Any = {"cloudwatch_metrics_enabled": True, "sampled_requests_enabled": True, "metric_name": "estate"}
acl_rules: list[Any] = [
    {
        "name": "common",
        "priority": 1,
        "override_action": {"none": {}},
        "statement": {
            "managed_rule_group_statement": {
                "vendor_name": "AWS",
                "name": "AWSManagedRulesCommonRuleSet",
                "rule_action_overrides": [{"name": "SizeRestrictions_BODY", "action_to_use": {"count": {}}}],
            }
        },
        "visibility_config": visibility,
    },
    {
        "name": "rate",
        "priority": 2,
        "action": {"block": {"custom_response": {"response_code": 429}}},
        "statement": {
            "rate_based_statement": {
                "limit": 1000,
                "aggregate_key_type": "IP",
                "scope_down_statement": {
                    "not_statement": {
                        "statements": [
                            {
                                "byte_match_statement": {
                                    "field_to_match": {"uri_path": {}},
                                    "positional_constraint": "STARTS_WITH",
                                    "search_string": "/healthz",
                                    "text_transformations": [{"priority": 0, "type": "NONE"}],
                                }
                            }
                        ]
                    }
                },
            }
        },
        "visibility_config": visibility,
    },
]
acl = aws.wafv2.WebAcl(
    "acl",
    name="estate",
    scope="REGIONAL",
    default_action={"allow": {}},
    visibility_config=visibility,
    rules=acl_rules,
    opts=options,
)
aws.wafv2.WebAclAssociation("acl", resource_arn=balancer.arn, web_acl_arn=acl.arn, opts=options)
waf_logs = aws.cloudwatch.LogGroup("waf", name="aws-waf-logs-estate", opts=options)
aws.wafv2.WebAclLoggingConfiguration(
    "acl",
    resource_arn=acl.arn,
    log_destination_configs=[waf_logs.arn],
    redacted_fields=[{"single_header": {"name": "authorization"}}],
    opts=options,
)
service = aws.ecs.Service(
    "service",
    name="app",
    cluster=cluster.arn,
    task_definition=task.arn,
    desired_count=2,
    launch_type="FARGATE",
    platform_version="LATEST",
    network_configuration={
        "subnets": [subnet.id for subnet in subnets],
        "security_groups": [back.id],
        "assign_public_ip": False,
    },
    load_balancers=[{"target_group_arn": target.arn, "container_name": "app", "container_port": 8080}],
    deployment_circuit_breaker={"enable": True, "rollback": True},
    alarms={"enable": True, "rollback": True, "alarm_names": [alarm.name]},
    deployment_minimum_healthy_percent=100,
    deployment_maximum_percent=200,
    health_check_grace_period_seconds=60,
    enable_execute_command=False,
    enable_ecs_managed_tags=True,
    propagate_tags="SERVICE",
    wait_for_steady_state=True,
    availability_zone_rebalancing="ENABLED",
    opts=options,
)

# Trail
aws.cloudtrail.Trail(
    "trail",
    name="estate",
    s3_bucket_name=logs.id,
    is_multi_region_trail=True,
    include_global_service_events=True,
    enable_logging=True,
    enable_log_file_validation=True,
    kms_key_id=key.arn,
    cloud_watch_logs_group_arn=group.arn.apply(lambda arn: f"{arn}:*"),
    cloud_watch_logs_role_arn=role.arn,
    advanced_event_selectors=[
        {
            "name": "objects",
            "field_selectors": [
                {"field": "eventCategory", "equals": ["Data"]},
                {"field": "resources.type", "equals": ["AWS::S3::Object"]},
            ],
        }
    ],
    opts=options,
)


pulumi.export("database", {"endpoint": database.endpoint, "secret": database.master_user_secrets[0].secret_arn})
