"""One resource of every type that the emulator has a row for."""

import json
from typing import Any

import pulumi
import pulumi_aws as aws
import safeguards  # type: ignore[import-not-found]

provider = aws.Provider(
    "ireland",
    region="eu-west-1",
    allowed_account_ids=["123456789012"],
    default_tags=aws.ProviderDefaultTagsArgs(tags={"Project": "estate"}),
)
o = pulumi.ResourceOptions(provider=provider)


def trust(service: str) -> str:
    """A role that one service may take."""
    principal = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [principal]})


allow = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}]})

# Identity and encryption
policy = aws.iam.Policy("managed", name="managed", policy=allow, opts=o)
role = aws.iam.Role(
    "role",
    name="estate",
    assume_role_policy=trust("lambda.amazonaws.com"),
    permissions_boundary=policy.arn,
    tags={"Own": "yes"},
    opts=o,
)
aws.iam.RolePolicy("inline", name="inline", role=role.name, policy=allow, opts=o)
aws.iam.RolePolicyAttachment("attached", role=role.name, policy_arn=policy.arn, opts=o)
execution = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
aws.iam.RolePolicyAttachment("execution", role=role.name, policy_arn=execution, opts=o)
key = aws.kms.Key("key", description="estate", enable_key_rotation=True, rotation_period_in_days=365, opts=o)
alias = aws.kms.Alias("alias", name="alias/estate", target_key_id=key.key_id, opts=o)

# Buckets
logs = aws.s3.Bucket("logs", bucket="estate-logs", opts=o)
delivery = {
    "Effect": "Allow",
    "Principal": {"Service": "logging.s3.amazonaws.com"},
    "Action": "s3:PutObject",
    "Resource": "arn:aws:s3:::estate-logs/*",
}
delivered = aws.s3.BucketPolicy(
    "logs", bucket=logs.id, policy=json.dumps({"Version": "2012-10-17", "Statement": [delivery]}), opts=o
)
bucket = aws.s3.Bucket("data", bucket="estate-data", object_lock_enabled=True, opts=o)
versions = aws.s3.BucketVersioning("data", bucket=bucket.id, versioning_configuration={"status": "Enabled"}, opts=o)
aws.s3.BucketServerSideEncryptionConfiguration(
    "data",
    bucket=bucket.id,
    rules=[
        {
            "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": key.arn},
            "bucket_key_enabled": True,
        }
    ],
    opts=o,
)
aws.s3.BucketPublicAccessBlock(
    "data",
    bucket=bucket.id,
    block_public_acls=True,
    block_public_policy=True,
    ignore_public_acls=True,
    restrict_public_buckets=True,
    opts=o,
)
aws.s3.BucketOwnershipControls("data", bucket=bucket.id, rule={"object_ownership": "BucketOwnerEnforced"}, opts=o)
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
    "data", bucket=bucket.id, rule={"default_retention": {"mode": "GOVERNANCE", "days": 1}}, opts=o
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
    opts=o,
)

# Logs, metrics, topics
group = aws.cloudwatch.LogGroup("group", name="/estate/app", retention_in_days=30, kms_key_id=key.arn, opts=o)
masked = {"Version": "2021-06-01", "Statement": []}
aws.cloudwatch.LogDataProtectionPolicy("group", log_group_name=group.name, policy_document=json.dumps(masked), opts=o)
aws.cloudwatch.LogResourcePolicy("delivery", policy_name="delivery", policy_document=allow, opts=o)
aws.cloudwatch.LogMetricFilter(
    "errors",
    name="errors",
    log_group_name=group.name,
    pattern="ERROR",
    metric_transformation={"name": "Errors", "namespace": "Estate", "value": "1"},
    opts=o,
)
topic = aws.sns.Topic("topic", name="estate", kms_master_key_id=key.arn, opts=o)
aws.sns.TopicPolicy("topic", arn=topic.arn, policy=allow, opts=o)
aws.sns.TopicSubscription("mail", topic=topic.arn, protocol="email", endpoint="team@example.com", opts=o)
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
    opts=o,
)
aws.cloudwatch.MetricAlarm(
    "ratio",
    name="estate-ratio",
    evaluation_periods=1,
    threshold=1,
    comparison_operator="GreaterThanThreshold",
    metric_queries=[
        {"id": "ratio", "expression": "a / 2", "label": "ratio", "return_data": True},
        {
            "id": "a",
            "metric": {
                "metric_name": "Errors",
                "namespace": "Estate",
                "period": 60,
                "stat": "Sum",
                "dimensions": {"Service": "gateway"},
            },
        },
    ],
    opts=o,
)
rule = aws.cloudwatch.EventRule(
    "rule",
    name="estate-failed",
    description="A job has failed",
    event_pattern='{"source": ["aws.ecs"], "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]}}',
    opts=o,
)
aws.cloudwatch.EventTarget("rule", rule=rule.name, arn=topic.arn, target_id="topic", opts=o)
aws.cloudwatch.CompositeAlarm("any", alarm_name="any", alarm_rule="ALARM(estate-errors)", opts=o)
aws.cloudwatch.Dashboard("board", dashboard_name="estate", dashboard_body='{"widgets": []}', opts=o)

# Network
vpc = aws.ec2.Vpc(
    "vpc", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, enable_dns_support=True, tags={"Name": "estate"}, opts=o
)
aws.ec2.DefaultSecurityGroup("default", vpc_id=vpc.id, opts=o)
subnets = [
    aws.ec2.Subnet(
        f"subnet-{zone}",
        vpc_id=vpc.id,
        cidr_block=f"10.0.{index}.0/24",
        availability_zone=f"eu-west-1{zone}",
        map_public_ip_on_launch=False,
        opts=o,
    )
    for index, zone in enumerate("ab")
]
gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id, opts=o)
address = aws.ec2.Eip("address", domain="vpc", opts=o)
nat = aws.ec2.NatGateway("nat", allocation_id=address.id, subnet_id=subnets[0].id, connectivity_type="public", opts=o)
table = aws.ec2.RouteTable("routes", vpc_id=vpc.id, opts=o)
aws.ec2.Route("out", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.id, opts=o)
aws.ec2.RouteTableAssociation("a", route_table_id=table.id, subnet_id=subnets[0].id, opts=o)
front = aws.ec2.SecurityGroup("front", name="front", description="front", vpc_id=vpc.id, opts=o)
back = aws.ec2.SecurityGroup("back", name="back", description="back", vpc_id=vpc.id, opts=o)
aws.vpc.SecurityGroupIngressRule(
    "back",
    security_group_id=back.id,
    description="front to back",
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    referenced_security_group_id=front.id,
    opts=o,
)
endpoint = aws.ec2.VpcEndpoint(
    "s3",
    vpc_id=vpc.id,
    service_name="com.amazonaws.eu-west-1.s3",
    vpc_endpoint_type="Gateway",
    route_table_ids=[table.id],
    policy=allow,
    opts=o,
)
aws.ec2.VpcEndpoint(
    "logs",
    vpc_id=vpc.id,
    service_name="com.amazonaws.eu-west-1.logs",
    vpc_endpoint_type="Interface",
    subnet_ids=[subnets[0].id],
    security_group_ids=[back.id],
    private_dns_enabled=True,
    opts=o,
)
aws.vpc.SecurityGroupEgressRule(
    "s3",
    security_group_id=front.id,
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    prefix_list_id=endpoint.prefix_list_id,
    opts=o,
)
aws.ec2.NetworkAcl(
    "acl",
    vpc_id=vpc.id,
    subnet_ids=[subnets[1].id],
    ingress=[
        {
            "rule_no": 100,
            "action": "allow",
            "protocol": "tcp",
            "cidr_block": "10.0.0.0/16",
            "from_port": 0,
            "to_port": 65535,
        }
    ],
    opts=o,
)
aws.ec2.FlowLog(
    "flow",
    vpc_id=vpc.id,
    traffic_type="ALL",
    log_destination_type="cloud-watch-logs",
    log_destination=group.arn,
    iam_role_arn=role.arn,
    max_aggregation_interval=60,
    opts=o,
)

# Secrets and functions
failed = aws.sqs.Queue("failed", name="estate-failed", message_retention_seconds=1209600, kms_master_key_id=key.arn, opts=o)
aws.sqs.QueuePolicy("failed", queue_url=failed.id, policy=allow, opts=o)
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
    opts=o,
)
permission = aws.lambda_.Permission(
    "secrets",
    function=function.name,
    action="lambda:InvokeFunction",
    principal="secretsmanager.amazonaws.com",
    source_account="123456789012",
    statement_id="secrets",
    opts=o,
)
secret = aws.secretsmanager.Secret("secret", name="estate/pepper", kms_key_id=key.arn, recovery_window_in_days=7, opts=o)
aws.secretsmanager.SecretPolicy("secret", secret_arn=secret.arn, policy=allow, block_public_policy=True, opts=o)
aws.secretsmanager.SecretRotation(
    "secret",
    secret_id=secret.id,
    rotation_lambda_arn=function.arn,
    rotate_immediately=True,
    rotation_rules={"automatically_after_days": 30},
    opts=o,
)

# Stores
db_subnets = aws.rds.SubnetGroup("db", name="estate", subnet_ids=[subnet.id for subnet in subnets], opts=o)
db_parameters = aws.rds.ParameterGroup(
    "db", name="estate", family="postgres17", parameters=[{"name": "rds.force_ssl", "value": "1"}], opts=o
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
    opts=o,
)
aws.rds.EventSubscription(
    "db",
    name="estate",
    sns_topic=topic.arn,
    source_type="db-instance",
    event_categories=["failure"],
    source_ids=[database.identifier],
    opts=o,
)
cache_subnets = aws.elasticache.SubnetGroup("cache", name="estate", subnet_ids=[subnet.id for subnet in subnets], opts=o)
cache_parameters = aws.elasticache.ParameterGroup(
    "cache", name="estate", family="valkey8", parameters=[{"name": "maxmemory-policy", "value": "noeviction"}], opts=o
)
user = aws.elasticache.User(
    "user",
    user_id="estate",
    user_name="estate",
    engine="valkey",
    access_string="on ~* +@all",
    authentication_mode={"type": "iam"},
    opts=o,
)
users = aws.elasticache.UserGroup("users", user_group_id="estate", engine="valkey", user_ids=[user.user_id], opts=o)
cache = aws.elasticache.ReplicationGroup(
    "cache",
    replication_group_id="estate",
    description="estate",
    engine="valkey",
    engine_version="8.0",
    node_type="cache.t4g.micro",
    num_cache_clusters=2,
    port=6379,
    parameter_group_name=cache_parameters.name,
    subnet_group_name=cache_subnets.name,
    security_group_ids=[back.id],
    user_group_ids=users.user_group_id.apply(lambda name: [name]),
    at_rest_encryption_enabled=True,
    kms_key_id=key.arn,
    transit_encryption_enabled=True,
    transit_encryption_mode="required",
    automatic_failover_enabled=True,
    multi_az_enabled=True,
    auto_minor_version_upgrade=True,
    snapshot_retention_limit=5,
    snapshot_window="02:00-03:00",
    maintenance_window="mon:04:30-mon:05:30",
    apply_immediately=True,
    opts=o,
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
    opts=o,
)

# Containers
repository = aws.ecr.Repository(
    "image",
    name="estate",
    image_tag_mutability="IMMUTABLE",
    image_scanning_configuration={"scan_on_push": True},
    encryption_configurations=[{"encryption_type": "KMS", "kms_key": key.arn}],
    opts=o,
)
aws.ecr.LifecyclePolicy(
    "image",
    repository=repository.name,
    policy=json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 10},
                    "action": {"type": "expire"},
                }
            ]
        }
    ),
    opts=o,
)
aws.ecr.RepositoryPolicy("image", repository=repository.name, policy=allow, opts=o)
cluster = aws.ecs.Cluster("cluster", name="estate", settings=[{"name": "containerInsights", "value": "enhanced"}], opts=o)
aws.ecs.ClusterCapacityProviders(
    "cluster",
    cluster_name=cluster.name,
    capacity_providers=["FARGATE"],
    default_capacity_provider_strategies=[{"capacity_provider": "FARGATE", "weight": 1}],
    opts=o,
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
    opts=o,
)

# Edge
zone = aws.route53.Zone("zone", name="example.com", comment="estate", opts=o)
certificate = aws.acm.Certificate(
    "certificate",
    domain_name="gateway.example.com",
    subject_alternative_names=["console.example.com"],
    validation_method="DNS",
    key_algorithm="EC_prime256v1",
    opts=o,
)
records = [
    aws.route53.Record(
        f"validation-{index}",
        zone_id=zone.zone_id,
        name=certificate.domain_validation_options[index].resource_record_name,
        type=certificate.domain_validation_options[index].resource_record_type,
        records=[certificate.domain_validation_options[index].resource_record_value],
        ttl=300,
        opts=o,
    )
    for index in range(2)
]
valid = aws.acm.CertificateValidation(
    "valid", certificate_arn=certificate.arn, validation_record_fqdns=[record.fqdn for record in records], opts=o
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
    opts=o,
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
    opts=o,
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
    opts=o,
)
aws.lb.ListenerRule(
    "gateway",
    listener_arn=listener.arn,
    priority=10,
    conditions=[{"host_header": {"values": ["gateway.example.com"]}}],
    actions=[{"type": "forward", "target_group_arn": target.arn}],
    opts=o,
)
aws.route53.Record(
    "gateway",
    zone_id=zone.zone_id,
    name="gateway.example.com",
    type="A",
    aliases=[{"name": balancer.dns_name, "zone_id": balancer.zone_id, "evaluate_target_health": True}],
    opts=o,
)
seen: Any = {"cloudwatch_metrics_enabled": True, "sampled_requests_enabled": True, "metric_name": "estate"}
guards: list[Any] = [
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
        "visibility_config": seen,
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
        "visibility_config": seen,
    },
]
acl = aws.wafv2.WebAcl(
    "acl",
    name="estate",
    scope="REGIONAL",
    default_action={"allow": {}},
    visibility_config=seen,
    rules=guards,
    opts=o,
)
aws.wafv2.WebAclAssociation("acl", resource_arn=balancer.arn, web_acl_arn=acl.arn, opts=o)
waf_logs = aws.cloudwatch.LogGroup("waf", name="aws-waf-logs-estate", opts=o)
aws.wafv2.WebAclLoggingConfiguration(
    "acl",
    resource_arn=acl.arn,
    log_destination_configs=[waf_logs.arn],
    redacted_fields=[{"single_header": {"name": "authorization"}}],
    opts=o,
)
cores = aws.servicediscovery.PrivateDnsNamespace("cores", name="cores.estate.internal", vpc=vpc.id, opts=o)
aws.servicediscovery.Service(
    "files",
    name="files",
    dns_config={"namespace_id": cores.id, "routing_policy": "MULTIVALUE", "dns_records": [{"type": "A", "ttl": 10}]},
    health_check_custom_config={"failure_threshold": 1},
    opts=o,
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
    opts=o,
)
scaling = aws.appautoscaling.Target(
    "scaling",
    service_namespace="ecs",
    resource_id=pulumi.Output.concat("service/", cluster.name, "/", service.name),
    scalable_dimension="ecs:service:DesiredCount",
    min_capacity=2,
    max_capacity=4,
    opts=o,
)
aws.appautoscaling.Policy(
    "scaling",
    name="cpu",
    policy_type="TargetTrackingScaling",
    service_namespace=scaling.service_namespace,
    resource_id=scaling.resource_id,
    scalable_dimension=scaling.scalable_dimension,
    target_tracking_scaling_policy_configuration={
        "predefined_metric_specification": {"predefined_metric_type": "ECSServiceAverageCPUUtilization"},
        "target_value": 60,
        "scale_in_cooldown": 300,
        "scale_out_cooldown": 60,
    },
    opts=o,
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
    opts=o,
)

# What guards data and account
safeguards.network(vpc, subnets[0], o)
copied = safeguards.copies(bucket.id, role.arn, pulumi.ResourceOptions(provider=provider, depends_on=[versions]))
safeguards.backups(copied, tokens.arn, role.arn, topic.arn, o)
safeguards.proxy(subnets, back.id, role.arn, database.identifier, o)
safeguards.costs(topic.arn, o)
safeguards.account(delivered.bucket, o)

pulumi.export("cacheAddress", cache.primary_endpoint_address)
pulumi.export("database", {"endpoint": database.endpoint, "secret": database.master_user_secrets[0].secret_arn})
pulumi.export("balancer", {"dnsName": balancer.dns_name, "suffix": balancer.arn_suffix, "target": target.arn_suffix})
pulumi.export("aliasKey", alias.target_key_arn)
pulumi.export("statement", permission.statement_id)
