"""Trust policies and permissions of the roles that the processes and the AWS services of a stack
assume.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from components.context import Stack
from components.contract import Contract, Process, Secret
from components.iam import object_policies, sharing_policies
from components.iam.documents import (
    Conditions,
    Document,
    Statement,
    allow,
    allow_key_use,
    document,
    trust,
)
from components.iam.key_policies import caller_conditions, read_environment
from components.naming import Naming

COLLECTOR = "collector"
"""Name of the OpenTelemetry collector: container, repository and log stream prefix."""
NETWORK_INTERFACES = (
    "ec2:CreateNetworkInterface DescribeNetworkInterfaces DescribeSubnets DeleteNetworkInterface "
    "AssignPrivateIpAddresses UnassignPrivateIpAddresses"
)
"""Actions of Lambda for a function in a VPC."""
COLLECTOR_METRICS_STREAM = "otel-metrics"
ROTATION_FUNCTION = "rotate"
CHAT, TRAIL_LOG = "chat", "trail-log"
RESTART_FUNCTION = "restart"
MIGRATION_FUNCTION = "migration"
MIGRATE = "migrate"
"""Name of the process and the task of the migration."""
ECS_INFRASTRUCTURE = "ecs-infrastructure"
BOOTSTRAP_TOKEN = "bootstrap-token"  # noqa: S105 the kind of a secret
CANARY_KEY = "canary-key"
PROBE, SMOKE_TEST = CANARY_USERS = ("probe", "smoke")
"""Functions that use the canary key."""
PEPPER = "pepper"
"""Kind of the secret that a stack in another region needs to verify the API keys."""
CORE_CREDENTIALS = "core-credentials/"
"""Beginning of the kinds of the secrets that operators create for Cores. The gateway reads them."""
OWNER_OF_PASSWORD = "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn"  # noqa: S105 a tag
"""Condition key with the ARN of the database whose password is in a secret that RDS manages."""
DATABASE = "gatehouse"
"""Name of the database."""
DATABASE_OWNER = "gatehouse_owner"
"""PostgreSQL role that owns the schema and runs migrations. RDS manages the password of this
role.
"""
DATABASE_USER = "gatehouse_app"
"""PostgreSQL role of the application, created by the first migration. The role logs in with IAM
tokens only.
"""


@dataclass(frozen=True)
class RoleDefinition:
    """A role. `permissions` is None for a role without permissions."""

    description: str
    trust_policy: Document
    permissions: Document | None


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    """Return the roles of the stack's processes and Cores and of AWS services, keyed by resource
    name.
    """
    roles = _service_roles(stack)
    trust_policy = trust(
        "ecs-tasks.amazonaws.com",
        account=stack.names.account,
        source_arn=stack.names.arn("ecs", "*"),
    )
    for process in stack.contract.tasks.values():
        core = stack.settings.core_tasks.get(process.name)
        owner = f"Core {core.name}" if core else f"{process.name} process"
        roles[task_role(process)] = RoleDefinition(
            f"Task role of the {owner}", trust_policy, _task(stack, process)
        )
        roles[execution_role(process)] = RoleDefinition(
            f"Task execution role of the {owner}", trust_policy, _execution(stack, process)
        )
    return roles


def task_role(process: Process) -> str:
    """Return the resource name of the task role, which the application in the container assumes."""
    return f"{process.name}-task"


def execution_role(process: Process) -> str:
    """Return the resource name of the execution role, with which the ECS agent starts the
    container.
    """
    return f"{process.name}-execution"


def function_role(function: str) -> str:
    """Return the resource name of the role for a Lambda function in the contract."""
    return f"{function}-function"


def secret_readers(stack: Stack) -> dict[str, tuple[str, ...]]:
    """Return the execution roles that read each secret in the contract, the functions that use the
    canary key, and the task role that reads the credentials of Cores, keyed by the ARN pattern of
    the secret.
    """
    names, contract = stack.names, stack.contract
    canary_users = tuple(name for name in CANARY_USERS if name in stack.settings.functions)
    readers: dict[str, tuple[str, ...]] = {names.secret_arn(CANARY_KEY): canary_users}
    for process in contract.tasks.values():
        for secret in process.secrets:
            arn = _secret_arn(names, secret)
            readers[arn] = (*readers.get(arn, ()), execution_role(process))
    gateway = task_role(contract.processes["gateway"])
    return readers | {names.secret_arn(f"{CORE_CREDENTIALS}*"): (gateway,)}


def readers_of(stack: Stack, kind: str) -> tuple[str, ...]:
    """Return ARNs of the principals that may read a secret created by the rotation function.

    The principals are the rotation function, the execution roles of the processes that receive the
    secret, the functions that use the canary key and, for the bootstrap token, the operators, who
    use the token for the first sign-in.
    The rotation function of `recovery.stack` reads the replica of the pepper, which has the same
    resource policy.
    """
    names, recovery_stack = stack.names, stack.settings.recovery.stack
    roles = secret_readers(stack)[names.secret_arn(kind)]
    others = stack.settings.secrets.operators if kind == BOOTSTRAP_TOKEN else ()
    if kind == PEPPER and recovery_stack:
        others = (names.of_stack(recovery_stack).role_arn(ROTATION_FUNCTION),)
    return (*(names.role_arn(role) for role in (ROTATION_FUNCTION, *roles)), *others)


def roles_of_service(contract: Contract, service: str) -> tuple[str, ...]:
    processes = [
        task_role(process)
        for process in contract.processes.values()
        if service in (s.name for s in process.services)
    ]
    functions = [
        function_role(name)
        for name, function in contract.functions.items()
        if function.service.name == service
    ]
    return (*processes, *functions)


def key_statements(stack: Stack) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements, keyed by KMS key, for the readers of the secrets and for the
    rotation function.
    """
    names = stack.names
    rotation, encrypt = {"AWS": names.role_arn(ROTATION_FUNCTION)}, "kms:Decrypt GenerateDataKey"

    def of_secret(arn: str) -> Conditions:
        return caller_conditions(names, "secretsmanager") | {
            "StringLike": {"kms:EncryptionContext:SecretARN": arn}
        }

    return {
        "secrets": (
            *(
                allow_key_use(
                    f"ReadSecret{number}",
                    "kms:Decrypt",
                    {"AWS": [names.role_arn(role) for role in roles]},
                    of_secret(secret),
                )
                for number, (secret, roles) in enumerate(secret_readers(stack).items(), start=1)
            ),
            allow_key_use("RotateSecrets", encrypt, rotation, of_secret(names.secret_arn("*"))),
            read_environment(
                "RotationReadsEnvironment", stack, ROTATION_FUNCTION, ROTATION_FUNCTION
            ),
            allow_key_use(
                "RotationUsesDeadLetterQueue", encrypt, rotation, caller_conditions(names, "sqs")
            ),
        )
    }


def write_log(
    names: Naming, process: str, *, describe: bool = False, stream: str = ""
) -> Statement:
    """Return the permission to write to the log group of a process, or to one of its streams."""
    actions = [
        "logs:CreateLogStream",
        "logs:PutLogEvents",
        *(["logs:DescribeLogStreams"] if describe else []),
    ]
    group = names.log_group_arn(names.log_group(process))
    return allow("WriteLog", actions, [f"{group}:{f'log-stream:{stream}' if stream else '*'}"])


def read_canary_key(names: Naming) -> Statement:
    """Return the permission to read the tokens of the canary key. The policy of the KMS key allows
    decryption.
    """
    secret = names.secret_arn(CANARY_KEY)
    return allow("ReadCanaryKey", "secretsmanager:GetSecretValue", [secret])


def searched_logs(stack: Stack) -> tuple[str, ...]:
    """Return the log groups that users of the console can search: those of the services."""
    processes = (*stack.contract.ecs_services, *stack.contract.functions)
    return tuple(
        stack.names.log_group(name) for name in processes if name not in stack.contract.cores
    )


def send_traces() -> Statement:
    """Return the permission to send traces. The actions do not support resource-level
    permissions.
    """
    return allow("SendTraces", "xray:PutTraceSegments PutTelemetryRecords", ["*"])


def function_definition(
    names: Naming, function: str, description: str, *statements: Statement
) -> RoleDefinition:
    """Return the role of a function in `runtime/functions`, which may also send failed events to
    its dead-letter queue, send traces and write its log.
    """
    queue = names.arn("sqs", names.dead_letter_queue(function))
    permissions = document(
        *statements,
        allow("SendToDeadLetterQueue", "sqs:SendMessage", [queue]),
        send_traces(),
        write_log(names, function),
    )
    return RoleDefinition(description, trust("lambda.amazonaws.com"), permissions)


def probe_definition(
    stack: Stack, function: str, description: str, *statements: Statement
) -> RoleDefinition:
    """Return the role of a function that requests the services. In the VPC, Lambda creates its
    network interfaces with the role; the actions require all resources (Lambda Developer Guide,
    "Giving Lambda functions access to resources in an Amazon VPC", read 2026-11-30).
    """
    interfaces = [allow("ManageInterfaces", NETWORK_INTERFACES, ["*"])]
    if not stack.settings.probes_in_vpc:
        interfaces = []
    return function_definition(stack.names, function, description, *statements, *interfaces)


def _service_roles(stack: Stack) -> dict[str, RoleDefinition]:
    names = stack.names
    flow_log = names.arn("ec2", "vpc-flow-log/*")
    list_groups = allow(
        "DescribeLogGroups", "logs:DescribeLogGroups", [names.arn("logs", "log-group:*")]
    )
    roles = {
        ROTATION_FUNCTION: function_definition(
            names, ROTATION_FUNCTION, "Role of the secret rotation function", *_rotation(stack)
        ),
        RESTART_FUNCTION: function_definition(
            names,
            RESTART_FUNCTION,
            "Role of the function that restarts services after a rotation",
            *_restart(names, stack.contract),
        ),
        MIGRATION_FUNCTION: function_definition(
            names,
            MIGRATION_FUNCTION,
            "Role of the function that migrates the database",
            *_migration(names, stack.contract),
        ),
        "network-log": RoleDefinition(
            "Publishes VPC flow logs to CloudWatch Logs",
            trust("vpc-flow-logs.amazonaws.com", account=names.account, source_arn=flow_log),
            document(write_log(names, "network", describe=True), list_groups),
        ),
        "database-monitor": RoleDefinition(
            "Publishes RDS Enhanced Monitoring metrics",
            trust(
                "monitoring.rds.amazonaws.com", account=names.account, source_arn=names.database_arn
            ),
            _enhanced_monitoring(names),
        ),
        ECS_INFRASTRUCTURE: RoleDefinition(
            "ECS infrastructure role for load balancers, used by blue/green deployments",
            trust("ecs.amazonaws.com"),
            _ecs_infrastructure(
                names, ("edge", *(("origin",) if stack.settings.services.cloudfront else ()))
            ),
        ),
    }
    if stack.settings.monitoring.slack_channel:
        # The documented trust policy has no conditions, and notifications need no permissions
        # (Amazon Q Developer in chat applications Administrator Guide, "IAM policies").
        roles[CHAT] = RoleDefinition(
            "Sends notifications to a Slack channel", trust("chatbot.amazonaws.com"), None
        )
    if not stack.settings.existing_resources.trail:
        roles[TRAIL_LOG] = RoleDefinition(
            "Delivers CloudTrail events to CloudWatch Logs",
            trust("cloudtrail.amazonaws.com"),
            document(write_log(names, "trail")),
        )
    return roles


def _connect_to_database(names: Naming, user: str = DATABASE_USER) -> Statement:
    """Allow IAM authentication as a user.

    RDS generates the resource ID, so the ARN contains a wildcard. The user name is exact, and the
    security groups allow connections to the stack's own database only.
    """
    return allow(
        "ConnectToDatabase", "rds-db:connect", [names.arn("rds-db", f"dbuser:db-*/{user}")]
    )


def _task(stack: Stack, process: Process) -> Document | None:
    """Return the permissions of the application for data stores, secrets, checkpoints, exports,
    legacy files, the notification topic, e-mails and, if a collector runs in the task, telemetry.
    Returns None for a process without permissions, such as a Core."""
    names, settings = stack.names, stack.settings
    statements: list[Statement] = []
    if process.name == MIGRATE:
        statements.append(_connect_to_database(names, DATABASE_OWNER))
    if "GATEHOUSE_REDIS_URL" in process.variables:
        cache = [f"replicationgroup:{names.name('cache')}", f"user:{names.name('app')}"]
        statements += [
            _connect_to_database(names),
            allow(
                "ConnectToCache",
                "elasticache:Connect",
                [names.arn("elasticache", resource) for resource in cache],
            ),
        ]
    credentials = names.secret_arn(f"{CORE_CREDENTIALS}*")
    if task_role(process) in secret_readers(stack)[credentials]:
        statements.append(
            allow("ReadCoreCredentials", "secretsmanager:GetSecretValue", [credentials])
        )
    statements += sharing_policies.statements(names, [service.name for service in process.services])
    if object_policies.KEY_VARIABLE in process.variables:
        # The bucket protects checkpoints from being overwritten or deleted.
        statements.append(
            allow("WriteCheckpoints", "s3:PutObject", [object_policies.checkpoint_arns(names)])
        )
    if stack.has_collector(process):
        statements += [
            send_traces(),
            write_log(names, process.name, stream=COLLECTOR_METRICS_STREAM),
        ]
    if sharing_policies.CREATE in (service.name for service in process.services):
        statements += object_policies.console_statements(names, settings.legacy_files)
        groups = [names.log_group_arn(group) for group in searched_logs(stack)]
        statements.append(
            allow("SearchLogs", "logs:FilterLogEvents", [f"{arn}:*" for arn in groups])
        )
        if settings.notifications.topic_arn:
            statements.append(
                allow("PublishNotifications", "sns:Publish", [settings.notifications.topic_arn])
            )
        if settings.notifications.email_sender:
            # SES also authorizes the recipient, if it is an identity of the account, as it must be
            # in the sandbox of SES (github.com/cloudposse/terraform-aws-ses/issues/40, 2026-11-29).
            # The condition decides who can be the sender (SES Developer Guide, "Identity and access
            # management in Amazon SES").
            statements.append(
                allow(
                    "SendEmails",
                    "ses:SendEmail",
                    [names.arn("ses", "identity/*")],
                    conditions={
                        "StringEquals": {"ses:FromAddress": settings.notifications.email_sender}
                    },
                )
            )
    return document(*statements) if statements else None


def _execution(stack: Stack, process: Process) -> Document:
    """Return the permissions of the ECS agent to pull images, write logs and read secrets. The
    policy of the KMS key allows decryption."""
    names = stack.names
    secrets = [
        _secret_arn(names, secret) for secret in process.secrets if not secret.managed or secret.arn
    ]
    image = names.name(process.name if process.name in stack.contract.cores else "runtime")
    pull = "ecr:BatchCheckLayerAvailability GetDownloadUrlForLayer BatchGetImage"
    statements = [
        # GetAuthorizationToken does not support resource-level permissions (Service Authorization
        # Reference, Amazon ECR).
        allow("LogInToEcr", "ecr:GetAuthorizationToken", ["*"]),
        allow("PullImage", pull, [names.arn("ecr", f"repository/{image}")]),
        write_log(names, process.name),
    ]
    if secrets:
        statements.append(allow("InjectSecrets", "secretsmanager:GetSecretValue", secrets))
    if len(secrets) < len(process.secrets):
        own_database = {"StringEquals": {OWNER_OF_PASSWORD: names.database_arn}}
        read, arns = "secretsmanager:GetSecretValue", [names.managed_secret_arn]
        statements.append(allow("InjectManagedSecrets", read, arns, conditions=own_database))
    return document(*statements)


def _rotation(stack: Stack) -> list[Statement]:
    """Return the permissions of the rotation function on the secrets that it creates and, in a
    restored stack, on the replica of the other stack's pepper."""
    names, restore = stack.names, stack.settings.recovery.restore
    statements = [
        allow(
            "RotateSecrets",
            "secretsmanager:DescribeSecret GetSecretValue PutSecretValue UpdateSecretVersionStage",
            [names.secret_arn(kind) for kind in stack.contract.rotated_secrets],
        )
    ]
    if restore.stack and restore.secrets_key_arn:
        replica, key = names.of_stack(restore.stack).secret_arn(PEPPER), [restore.secrets_key_arn]
        conditions: Conditions = {
            "StringEquals": {"kms:ViaService": names.via_services(["secretsmanager"])},
            "StringLike": {"kms:EncryptionContext:SecretARN": replica},
        }
        statements += [
            allow("ReadReplica", "secretsmanager:GetSecretValue", [replica]),
            allow("DecryptReplica", "kms:Decrypt", key, conditions=conditions),
        ]
    return statements


def _restart(names: Naming, contract: Contract) -> list[Statement]:
    """Return the permissions of the function that restarts services: no permission on the values of
    the secrets.
    """
    services = [
        names.arn("ecs", f"service/{names.name('main')}/{names.name(service)}")
        for service in contract.ecs_services
    ]
    secrets = [names.secret_arn(kind) for kind in contract.rotated_secrets]
    return [
        allow("RestartServices", "ecs:DescribeServices UpdateService", services),
        allow("ReadRotationTimes", "secretsmanager:DescribeSecret", secrets),
    ]


def _migration(names: Naming, contract: Contract) -> list[Statement]:
    """Return the permissions of the function that runs the migration. A task that is started
    receives the roles in its task definition, which the function cannot change.
    """
    process, cluster = (
        contract.processes[MIGRATE],
        names.arn("ecs", f"cluster/{names.name('main')}"),
    )
    definitions = names.arn("ecs", f"task-definition/{names.name(MIGRATE)}:*")
    tasks = names.arn("ecs", f"task/{names.name('main')}/*")
    roles = [names.role_arn(role) for role in (task_role(process), execution_role(process))]
    to_ecs = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    in_cluster = {"ArnEquals": {"ecs:cluster": cluster}}
    return [
        allow("RunMigration", "ecs:RunTask", [definitions], conditions=in_cluster),
        allow("ReadAndTagTask", "ecs:DescribeTasks TagResource", [tasks]),
        allow("PassRolesOfMigration", "iam:PassRole", roles, conditions=to_ecs),
    ]


def _enhanced_monitoring(names: Naming) -> Document:
    """Allow RDS to write to the log group `RDSOSMetrics`, a name that RDS defines. Source: RDS User
    Guide, "Setting up and enabling Enhanced Monitoring"."""
    group = names.log_group_arn("RDSOSMetrics")
    return document(
        allow("LogGroup", "logs:CreateLogGroup PutRetentionPolicy", [group]),
        allow(
            "LogStreams",
            "logs:CreateLogStream PutLogEvents DescribeLogStreams GetLogEvents",
            [f"{group}:log-stream:*"],
        ),
    )


def _ecs_infrastructure(names: Naming, load_balancers: tuple[str, ...]) -> Document:
    """Allow ECS to register targets and to change listener rules during a blue/green deployment.
    Source: ECS Developer Guide, "Amazon ECS infrastructure IAM role for load balancers"."""
    describe = "DescribeListeners DescribeRules DescribeTargetGroups DescribeTargetHealth"
    return document(
        # These actions do not support resource-level permissions (Service Authorization Reference,
        # Elastic Load Balancing V2).
        allow("DescribeLoadBalancers", f"elasticloadbalancing:{describe}", ["*"]),
        allow(
            "RegisterTargets",
            "elasticloadbalancing:RegisterTargets DeregisterTargets",
            [names.arn("elasticloadbalancing", f"targetgroup/{names.name('*')}/*")],
        ),
        allow(
            "ModifyListenerRules",
            "elasticloadbalancing:ModifyListener ModifyRule",
            [
                names.arn("elasticloadbalancing", f"{kind}/app/{names.name(load_balancer)}/*")
                for load_balancer in load_balancers
                for kind in ("listener", "listener-rule")
            ],
        ),
    )


def _secret_arn(names: Naming, secret: Secret) -> str:
    return secret.arn or (
        names.managed_secret_arn if secret.managed else names.secret_arn(secret.kind)
    )
