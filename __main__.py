"""Creates the resources of one stack. Each composite component depends on the components above
it.
"""

import pulumi
import pulumi_aws as aws

from components.account.budget import Budget
from components.data_stores import DataStores
from components.delivery.roles import DeliveryRoles
from components.foundation import Foundation
from components.iam import role_policies
from components.naming import default_tags
from components.observability import Observability
from components.platform import Platform
from components.private_network import PrivateNetwork
from components.settings.loader import load
from components.stack import Stack
from components.workloads import Workloads

settings = load()
stack = Stack.of(settings)
names, contract = stack.names, stack.contract
provider = aws.Provider(
    "aws",
    region=settings.region,
    allowed_account_ids=[settings.account],
    default_tags={"tags": default_tags(settings)},
)
opts = pulumi.ResourceOptions(provider=provider)

# Roles of the pipeline.
delivery = DeliveryRoles("delivery", stack, opts)
# Roles, keys, buckets and the CloudTrail trail.
foundation = Foundation("foundation", stack, delivery.roles, opts)
# VPC and security groups.
network = PrivateNetwork("private-network", stack, foundation, opts)
# Secrets, database, cache, secret links table and backups.
data = DataStores("data-stores", stack, foundation, network, opts)
# Image repositories, load balancer and cluster.
platform = Platform("platform", stack, foundation, network, opts)
# Alarms and the synthetic probe.
observability = Observability("observability", stack, foundation, network, data, platform, opts)
# Functions, tasks and services.
workloads = Workloads("workloads", stack, foundation, network, data, platform, observability, opts)

# The guards of the account belong to the project in account/.
Budget("budget", stack, foundation.topic_arn, opts)

roles = foundation.role_arns
pulumi.export("environment", settings.environment)
pulumi.export("region", settings.region)
pulumi.export("account", settings.account)
pulumi.export("cluster", platform.cluster.name)
pulumi.export(
    "services",
    {
        name: {
            "service": workloads.services[name].name,
            "taskDefinition": workloads.tasks[name].definition_arn,
        }
        for name, process in contract.processes.items()
        if process.services
    },
)
pulumi.export(
    "migration",
    {
        "taskDefinition": workloads.tasks["migrate"].definition_arn,
        "subnets": network.vpc.subnets["app"],
        "securityGroup": network.security_groups["migrate"],
    },
)
pulumi.export(
    "rotation",
    {
        "function": data.rotation_function.function,
        "role": roles[role_policies.ROTATION_FUNCTION],
        "secrets": {kind: secret.arn for kind, secret in data.rotated_secrets.items()},
    },
)
pulumi.export(
    "roles",
    {
        f"{name}Task": roles[role_policies.task_role(process)]
        for name, process in contract.processes.items()
    }
    | {f"{name}Function": roles[role_policies.function_role(name)] for name in contract.functions}
    | {
        f"{name}Execution": roles[role_policies.execution_role(process)]
        for name, process in contract.processes.items()
    },
)
pulumi.export("deliveryRoles", delivery.roles)
pulumi.export(
    "functions",
    {
        name: {
            "function": function.function_name,
            "version": function.version,
            "alias": function.alias,
            "alarms": observability.alarms.service_alarms[name],
            "api": function.api,
        }
        for name, function in workloads.functions.items()
    },
)
pulumi.export("urls", contract.urls)
if observability.probe:
    pulumi.export("probe", observability.probe)
pulumi.export(
    "database",
    {
        "identifier": data.database.identifier,
        "endpoint": data.database.endpoint,
        "name": role_policies.DATABASE,
    },
)
if data.database.replicated_backups_arn is not None and foundation.keys.recovery:
    # The value of recovery.restore in the stack file of recovery.stack.
    pulumi.export(
        "recovery",
        {
            "stack": names.stack,
            "database_backups_arn": data.database.replicated_backups_arn,
            "database_key_arn": foundation.keys.replica_arn,
            "secrets_key_arn": foundation.keys.recovery.key_arn,
        },
    )
pulumi.export(
    "buckets",
    {
        "data": foundation.data_bucket.name,
        "logs": foundation.log_bucket.name,
        "trail": foundation.trail_bucket.name,
    },
)
pulumi.export("zoneId", platform.certificate.zone_id)
pulumi.export("nameServers", platform.certificate.name_servers)
pulumi.export(
    "dashboardUrl",
    names.console_url("cloudwatch", f"dashboards/dashboard/{names.name('overview')}"),
)
pulumi.export("repositoryUrl", platform.runtime_image.url)
