"""Gatehouse with an ECS cluster, an HTTPS listener, a database and a cache that exist.

The task is that of examples/run-anywhere/ecs-task-definition.json. docs/guides/adopt.md describes
the settings in Pulumi.dev.yaml.
"""

import json
from pathlib import Path
from typing import Any

import pulumi
import pulumi_aws as aws

from components.contract import read
from components.database.secret_links_table import SecretLinksTable
from components.iam import bucket_policies, sharing_policies
from components.iam.documents import allow, document, render, trust
from components.naming import Naming, tags
from components.settings.data import ProtectionSettings
from components.storage.bucket import Bucket, BucketArgs

ALL = read().services
TASK = Path(__file__).parents[1] / "run-anywhere" / "ecs-task-definition.json"
config = pulumi.Config()
value: Any = config.require
hosts: dict[str, str] = config.require_object("hosts")
groups: dict[str, str] = config.require_object("groups")
database: dict[str, str] = config.require_object("database")
key, secret, image = value("key"), value("secret"), value("image")
region = str(pulumi.Config("aws").require("region"))
names = Naming(pulumi.get_stack(), value("account"), region)
opts = pulumi.ResourceOptions()
services = {name: row for name, row in ALL.items() if name in hosts}
log_group = names.log_group("tasks")


def containers() -> list[dict[str, Any]]:
    """The containers of the services, with values instead of <...>. Sharing runs in the console."""
    text = TASK.read_text()
    for name, content in {
        "image": image,
        "region": region,
        "log group": log_group,
        "ARN of the secret": secret,
        "master user": database["master_user"],
        "PostgreSQL host": database["host"],
        "networks of the load balancer": value("balancer_networks"),
        "networks of the Cores": pulumi.Config().get("core_networks") or "",
        "host of the gateway": hosts.get("gateway", hosts["console"]),
        "host of the console": hosts["console"],
    }.items():
        text = text.replace(f"<{name}>", content)
    rows = json.loads(text)["containerDefinitions"]
    rows = [row for row in rows if row["name"] in ("migrate", *hosts)]
    for row in rows:
        if row["name"] != "migrate":
            row["environment"].append({"name": "GATEHOUSE_TLS", "value": "self_signed"})
        if row["name"] == "console" and "sharing" in hosts:
            port = services["sharing"].port
            row["command"].append("sharing")
            row["healthCheck"]["command"].append(str(port))
            row["portMappings"].append({"containerPort": port, "protocol": "tcp"})
            variables = sharing_policies.variables(names) | {
                "GATEHOUSE_SECRETS_KEY": key,
                "GATEHOUSE_SHARING_URL": f"https://{hosts['sharing']}",
            }
            row["environment"] += [{"name": n, "value": v} for n, v in variables.items()]
    return rows


def role(name: str, *statements: dict[str, Any]) -> pulumi.Output[str]:
    policy = trust(
        "ecs-tasks.amazonaws.com", account=names.account, source_arn=names.arn("ecs", "*")
    )
    created = aws.iam.Role(name, name=names.name(name), assume_role_policy=render(policy))
    aws.iam.RolePolicy(
        name, name=names.name(name), role=created.name, policy=render(document(*statements))
    )
    return created.arn


def rule(
    name: str, port: int, source: pulumi.Input[str], target: pulumi.Input[str], what: str
) -> None:
    """Allow connections between two security groups, in both groups."""
    common: dict[str, Any] = {
        "ip_protocol": "tcp",
        "from_port": port,
        "to_port": port,
        "description": what,
        "tags": tags("none", Name=names.name(name)),
    }
    aws.vpc.SecurityGroupEgressRule(
        name, security_group_id=source, referenced_security_group_id=target, **common
    )
    aws.vpc.SecurityGroupIngressRule(
        name, security_group_id=target, referenced_security_group_id=source, **common
    )


logs = aws.cloudwatch.LogGroup(
    "tasks",
    name=log_group,
    retention_in_days=400,
    kms_key_id=key,
    tags=tags("log"),
    opts=pulumi.ResourceOptions(protect=True),
)
repository = names.arn("ecr", f"repository/{image.partition('/')[2].partition('@')[0]}")
execution_role = role(
    "execution",
    allow("LogIn", "ecr:GetAuthorizationToken", ["*"]),
    allow("PullImage", "ecr:BatchGetImage GetDownloadUrlForLayer", [repository]),
    allow("WriteLog", "logs:CreateLogStream PutLogEvents", [f"{names.log_group_arn(log_group)}:*"]),
    allow("ReadSecret", "secretsmanager:GetSecretValue", [secret]),
    allow("UseKey", "kms:Decrypt", [key]),
)
user = f"dbuser:{database['resource_id']}/gatehouse_app"
permissions = [allow("ConnectToDatabase", "rds-db:connect", [names.arn("rds-db", user)])]
if "sharing" in hosts:
    protection = ProtectionSettings(protect=True, deletion_protection=True)
    SecretLinksTable("secret-links", names, protection, key, opts)
    bucket = names.bucket(sharing_policies.BUCKET)
    content = BucketArgs(
        bucket_name=bucket,
        policy=bucket_policies.bucket_policy(
            names,
            bucket,
            bucket_policies.deny_presigned_requests(names, bucket),
            encrypted_by_key=True,
        ),
        data_class="secret",
        protection=protection,
        key_arn=key,
        log_bucket=value("log_bucket"),
        expire_days=31,
        noncurrent_days=1,
        incomplete_upload_days=1,
        purpose="ephemeral",
    )
    Bucket("secrets", content, opts)
    permissions += sharing_policies.statements(names, ["console", "sharing"])
    permissions.append(allow("UseKey", "kms:Decrypt GenerateDataKey", [key]))
task_role = role("task", *permissions)

group = aws.ec2.SecurityGroup(
    "tasks",
    name=names.name("tasks"),
    description="ECS tasks of Gatehouse",
    vpc_id=value("vpc"),
    tags=tags("none", Name=names.name("tasks")),
).id
rule("database", 5432, group, groups["database"], "Tasks to the database")
rule("cache", 6379, group, groups["cache"], "Tasks to the cache")
aws.vpc.SecurityGroupEgressRule(
    "https",
    security_group_id=group,
    cidr_ipv4="0.0.0.0/0",
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    description="Tasks to AWS services and Cores over HTTPS",
    tags=tags("none", Name=names.name("https")),
)
balancers: list[aws.ecs.ServiceLoadBalancerArgsDict] = []
rules = []
for name, service in services.items():
    rule(name, service.port, groups["balancer"], group, f"Load balancer to the {name} service")
    target = aws.lb.TargetGroup(
        name,
        name=names.name(name),
        port=service.port,
        protocol="HTTPS",
        target_type="ip",
        vpc_id=value("vpc"),
        health_check={"path": service.health, "protocol": "HTTPS", "matcher": "200"},
    )
    forward = aws.lb.ListenerRule(
        name,
        listener_arn=value("listener"),
        priority=config.require_int("priority") + list(ALL).index(name),
        conditions=[{"host_header": {"values": [hosts[name]]}}],
        actions=[{"type": "forward", "target_group_arn": target.arn}],
    )
    rules.append(forward)
    container = name if name == "gateway" else "console"
    balancers.append(
        {
            "target_group_arn": target.arn,
            "container_name": container,
            "container_port": service.port,
        }
    )
task = aws.ecs.TaskDefinition(
    "gatehouse",
    family=names.name("tasks"),
    container_definitions=json.dumps(containers()),
    cpu="1024",
    memory="2048",
    network_mode="awsvpc",
    requires_compatibilities=["FARGATE"],
    runtime_platform={"cpu_architecture": "ARM64", "operating_system_family": "LINUX"},
    volumes=[{"name": row["name"]} for row in json.loads(TASK.read_text())["volumes"]],
    execution_role_arn=execution_role,
    task_role_arn=task_role,
    opts=pulumi.ResourceOptions(depends_on=[logs]),
)
aws.ecs.Service(
    "gatehouse",
    name=names.name("gatehouse"),
    cluster=value("cluster"),
    task_definition=task.arn,
    desired_count=2,
    launch_type="FARGATE",
    network_configuration={"subnets": config.require_object("subnets"), "security_groups": [group]},
    load_balancers=balancers,
    deployment_circuit_breaker={"enable": True, "rollback": True},
    health_check_grace_period_seconds=60,
    enable_execute_command=False,
    propagate_tags="SERVICE",
    opts=pulumi.ResourceOptions(depends_on=rules),
)
