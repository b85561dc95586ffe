"""Who may do what: each role's trust and permissions, as plain documents made from names alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from components.compute.otel_collector import EXPORTER_STREAM
from components.compute.otel_collector import NAME as COLLECTOR
from components.contract import Contract, Process, Secret
from components.iam import checkpoint_policies
from components.iam.documents import Document, Statement, allow, document, trust
from components.naming import Naming

ROTATION_FUNCTION = "rotate"
FAILED = "rotate-failed"
"""Name (Naming.name's `thing`) of the queue of failed rotations."""
PROXY = "database-proxy"
ECS_INFRASTRUCTURE = "traffic-mover"
BOOTSTRAP = "bootstrap-token"
DATABASE = "gatehouse"
"""The name of the database."""
DATABASE_OWNER = "gatehouse_owner"
"""The PostgreSQL role that owns the schema and runs migrations; RDS makes and rotates its password."""
DATABASE_USER = "gatehouse_app"
"""The PostgreSQL role that the first migration makes; it logs in with IAM tokens only."""

TABLE_VARIABLE = "GATEHOUSE_SECRET_LINKS_TABLE"
TABLE_ACTIONS = {"sharing": ("dynamodb:GetItem",)}
"""What each service does with the tokens table."""


@dataclass(frozen=True, slots=True)
class RoleDefinition:
    """One role: what it is for, who takes it, and what it may do (None: nothing at all)."""

    description: str
    trusted: Document
    allowed: Document | None


def role_definitions(
    names: Naming,
    contract: Contract,
    *,
    proxied: bool = False,
    collector: bool = False,
    more: Mapping[str, Sequence[Statement]] = MappingProxyType({}),
) -> dict[str, RoleDefinition]:
    """Every role of the stack by its name (Naming.name's `thing`).

    proxied: the application meets the database behind RDS Proxy. collector: one runs beside each process that serves.
    more: what else the application of a process may do, by process.
    """
    found = {}
    for process in contract.processes.values():
        tasks = trust("ecs-tasks.amazonaws.com", account=names.account, source_arn=names.arn("ecs", "*"))
        beside = collector and bool(process.services)
        own, starting = (
            _task(names, process, proxied, beside, more.get(process.name, ())),
            _execution(names, process, collector=beside),
        )
        found[task_role(process)] = RoleDefinition(f"What the {process.name} process itself may do", tasks, own)
        found[execution_role(process)] = RoleDefinition(f"How ECS starts the {process.name} process", tasks, starting)
    return found | _helpers(names, contract) | (_proxy(names) if proxied else {})


def _helpers(names: Naming, contract: Contract) -> dict[str, RoleDefinition]:
    """The roles of AWS services that work beside the processes."""
    flow_log, database = names.arn("ec2", "vpc-flow-log/*"), names.database_arn
    list_groups = allow("FindLog", ["logs:DescribeLogGroups"], [names.arn("logs", "log-group:*")])
    return {
        ROTATION_FUNCTION: RoleDefinition(
            "Makes and rotates the stack's secrets",
            trust("lambda.amazonaws.com", account=names.account),
            _rotation(names, contract),
        ),
        "network-log": RoleDefinition(
            "Writes the VPC's flow logs",
            trust("vpc-flow-logs.amazonaws.com", account=names.account, source_arn=flow_log),
            document(_writes_log(names, "network", describe=True), list_groups),
        ),
        "trail-log": RoleDefinition(
            "Writes the audit trail to its log group",
            # This role takes neither condition (CloudTrail user guide, "Role policy document for CloudTrail to use
            # CloudWatch Logs"); it can do no more than append to one log group of ours.
            trust("cloudtrail.amazonaws.com"),
            document(_writes_log(names, "trail")),
        ),
        "database-monitor": RoleDefinition(
            "Writes the operating system metrics of the database",
            trust("monitoring.rds.amazonaws.com", account=names.account, source_arn=database),
            _monitoring(names),
        ),
        ECS_INFRASTRUCTURE: RoleDefinition(
            "Moves traffic from the old tasks to the new ones in a deployment",
            trust("ecs.amazonaws.com", account=names.account, source_arn=names.arn("ecs", "*")),
            _moving(names),
        ),
    }


def _proxy(names: Naming) -> dict[str, RoleDefinition]:
    """RDS Proxy signs in to the database as the application does, which has signed in to it (RDS user guide, "Setting up
    end-to-end IAM authentication for RDS Proxy")."""
    sign_in = allow("SignInToDatabase", ["rds-db:connect"], [names.arn("rds-db", f"dbuser:db-*/{DATABASE_USER}")])
    return {
        PROXY: RoleDefinition(
            "Signs in to the database for the application",
            trust("rds.amazonaws.com", account=names.account, source_arn=names.arn("rds", "db-proxy:*")),
            document(sign_in),
        )
    }


def task_role(process: Process) -> str:
    """The role of the application in the container."""
    return f"{process.name}-task"


def execution_role(process: Process) -> str:
    """The role of the ECS agent that starts the container."""
    return f"{process.name}-execution"


def function_role(function: str) -> str:
    """The role of a function that serves a service."""
    return f"{function}-function"


def secret_readers(names: Naming, contract: Contract) -> dict[str, tuple[str, ...]]:
    """ARN pattern of each secret in the contract, and the roles that are given its value."""
    readers: dict[str, tuple[str, ...]] = {}
    for process in contract.tasks.values():
        for secret in process.secrets:
            arn = _secret_arn(names, secret)
            readers[arn] = (*readers.get(arn, ()), execution_role(process))
    return readers


def readers_of(names: Naming, contract: Contract, kind: str, operators: tuple[str, ...]) -> tuple[str, ...]:
    """ARNs of the roles that may read a secret which our rotation makes: the function, ECS for the processes that are
    given it, and for the bootstrap token the people who sign in with it the first time."""
    given = secret_readers(names, contract)[names.secret_arn(kind)]
    return (*(names.role_arn(role) for role in (ROTATION_FUNCTION, *given)), *(operators if kind == BOOTSTRAP else ()))


def token_users(contract: Contract) -> tuple[str, ...]:
    """The roles that touch the tokens table."""
    processes = [task_role(process) for process in contract.processes.values() if TABLE_VARIABLE in process.variables]
    functions = [function_role(name) for name, function in contract.functions.items() if TABLE_VARIABLE in function.variables]
    return (*processes, *functions)


def _task(names: Naming, process: Process, proxied: bool, collector: bool, more: Sequence[Statement]) -> Document | None:
    """The application: it signs in to its stores as itself, and reads the table it needs."""
    statements: list[Statement] = []
    if "GATEHOUSE_REDIS_URL" in process.variables:
        cache_user = names.name("app")
        # The resource id of the database is made by RDS, so it cannot be named before the database exists; the user is
        # named exactly, and the security groups let a task reach no database but its own.
        met = "prx" if proxied else "db"
        statements += [
            allow("SignInToDatabase", ["rds-db:connect"], [names.arn("rds-db", f"dbuser:{met}-*/{DATABASE_USER}")]),
            allow(
                "SignInToCache",
                ["elasticache:Connect"],
                [
                    names.arn("elasticache", f"replicationgroup:{names.name('cache')}"),
                    names.arn("elasticache", f"user:{cache_user}"),
                ],
            ),
        ]
    if TABLE_VARIABLE in process.variables:
        actions = [action for service in process.services for action in TABLE_ACTIONS.get(service.name, ())]
        statements.append(allow("TokensTable", actions, [names.table_arn("tokens")]))
    if checkpoint_policies.KEY in process.variables:
        statements.append(checkpoint_policies.writes(names))
    if collector:
        statements += [
            # X-Ray knows no resource for what is sent to it (Service Authorization Reference, AWS X-Ray).
            allow("SendTraces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
            _writes_log(names, process.name, stream=EXPORTER_STREAM),
        ]
    statements += more
    return document(*statements) if statements else None


def _execution(names: Naming, process: Process, *, collector: bool) -> Document:
    """The ECS agent: it pulls this image, opens this log, and reads these secrets. The key policy lets it decrypt
    them."""
    own = [secret for secret in process.secrets if not secret.managed or secret.arn]
    managed = [secret for secret in process.secrets if secret.managed and not secret.arn]
    statements = [
        *_pulls(names, "runtime", *([COLLECTOR] if collector else [])),
        _writes_log(names, process.name),
    ]
    if own:
        arns = [_secret_arn(names, secret) for secret in own]
        statements.append(allow("InjectSecrets", ["secretsmanager:GetSecretValue"], arns))
    if managed:
        statements.append(
            allow(
                "InjectManagedSecrets",
                ["secretsmanager:GetSecretValue"],
                [names.managed_secret_arn],
                conditions={"StringEquals": {"secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn": names.database_arn}},
            )
        )
    return document(*statements)


def _rotation(names: Naming, contract: Contract) -> Document:
    """The rotation function: the four steps of a rotation, on the secrets it makes."""
    return document(
        allow(
            "RotateSecrets",
            [
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            [names.secret_arn(kind) for kind in contract.rotated_secrets],
        ),
        allow("KeepFailedCalls", ["sqs:SendMessage"], [names.arn("sqs", names.name(FAILED))]),
        # X-Ray knows no resource for what is sent to it (Service Authorization Reference, AWS X-Ray).
        allow("SendTraces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
        _writes_log(names, ROTATION_FUNCTION),
    )


def _monitoring(names: Naming) -> Document:
    """RDS enhanced monitoring writes to a log group whose name it chooses (RDS user guide, "Setting up enhanced
    monitoring")."""
    group = names.log_group_arn("RDSOSMetrics")
    return document(
        allow("LogGroup", ["logs:CreateLogGroup", "logs:PutRetentionPolicy"], [group]),
        allow(
            "LogStreams",
            ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams", "logs:GetLogEvents"],
            [f"{group}:log-stream:*"],
        ),
    )


def _writes_log(names: Naming, process: str, *, describe: bool = False, stream: str = "") -> Statement:
    actions = ["logs:CreateLogStream", "logs:PutLogEvents", *(["logs:DescribeLogStreams"] if describe else [])]
    return allow(
        "WriteLog", actions, [f"{names.log_group_arn(names.log_group(process))}:{f'log-stream:{stream}' if stream else '*'}"]
    )


def _secret_arn(names: Naming, secret: Secret) -> str:
    return secret.arn or (names.managed_secret_arn if secret.managed else names.secret_arn(secret.kind))


def _moving(names: Naming) -> Document:
    """ECS in a deployment that moves traffic: it fills target groups of ours and changes the weights of our listener
    rules (ECS developer guide, "Amazon ECS infrastructure IAM role for load balancers")."""
    edge = names.name("edge")
    return document(
        # These calls know no resource (Service Authorization Reference, Elastic Load Balancing V2).
        allow(
            "SeeBalancer",
            [f"elasticloadbalancing:Describe{what}" for what in ("Listeners", "Rules", "TargetGroups", "TargetHealth")],
            ["*"],
        ),
        allow(
            "FillTargetGroups",
            ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
            [names.arn("elasticloadbalancing", f"targetgroup/{names.name('*')}/*")],
        ),
        allow(
            "MoveTraffic",
            ["elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyRule"],
            [names.arn("elasticloadbalancing", f"{kind}/app/{edge}/*") for kind in ("listener", "listener-rule")],
        ),
    )


def publish_to_topic(topic_arn: str | None) -> list[Statement]:
    """Permission to publish to the topic of the setting `notifications.topic_arn`; none without one."""
    return [allow("TellTopic", ["sns:Publish"], [topic_arn])] if topic_arn else []


def core_role_definitions(names: Naming, contract: Contract) -> dict[str, RoleDefinition]:
    """The roles of the Cores of the stack. A Core itself has no permissions; ECS starts it with its own image, log group and
    API key."""
    tasks = trust("ecs-tasks.amazonaws.com", account=names.account, source_arn=names.arn("ecs", "*"))
    definitions = {}
    for process in contract.cores.values():
        core = process.name.removeprefix("core-")
        definitions[task_role(process)] = RoleDefinition(f"What the Core {core} itself may do", tasks, None)
        definitions[execution_role(process)] = RoleDefinition(
            f"How ECS starts the Core {core}", tasks, _core_execution(names, process)
        )
    return definitions


def _core_execution(names: Naming, process: Process) -> Document:
    return document(
        *_pulls(names, process.name),
        _writes_log(names, process.name),
        allow("InjectSecrets", ["secretsmanager:GetSecretValue"], [secret.arn for secret in process.secrets]),
    )


def _pulls(names: Naming, *repositories: str) -> list[Statement]:
    return [
        # GetAuthorizationToken knows no resource (Service Authorization Reference, Amazon ECR).
        allow("SignInToRegistry", ["ecr:GetAuthorizationToken"], ["*"]),
        allow(
            "PullImage",
            ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
            [names.arn("ecr", f"repository/{names.name(repository)}") for repository in repositories],
        ),
    ]
