"""Rules about ECS task definitions, services and clusters: what a container may do, and what is seen and rolled
back.
"""

import re
from collections.abc import Callable

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import Props
from policies.analysis.resources import Resource, Stack
from policies.analysis.secret_detection import looks_secret
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, each, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonECS/latest/developerguide"
_PARAMETERS = f"{_GUIDE}/task_definition_parameters.html"


# Container definitions are one JSON text: an address in it that AWS chooses (database, cache) hides all of it at a
# first preview.
_MAY_BE_UNKNOWN = {"containerDefinitions": "it holds addresses that AWS chooses while it makes the database and the cache"}


def _in_each_container(task: Resource, check: Callable[[Props], Found]) -> Found:
    return each(task.props.json_blocks("containerDefinitions"), check)


def _called(container: Props) -> str:
    """The container's name for a message; its place when it has none."""
    name = container.text("name") if container.known("name") else ""
    return f"container {name}" if name else container.path


@resource_rule(
    "GH-ECS-001",
    title="No container is privileged",
    why="A privileged container is root on its host, with every device: leaving it is a matter of one command.",
    remedy="remove privileged from the container definition",
    severity=Severity.CRITICAL,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    unknown_allowed=_MAY_BE_UNKNOWN,
    exemptible=False,
    upstream=Upstream(
        security_hub=("ECS.4",), checkov=("CKV_AWS_334",), prowler=("ecs_task_definitions_no_privileged_containers",)
    ),
    url=f"{_PARAMETERS}#container_definition_security",
)
def no_container_is_privileged(task: Resource) -> Found:
    def check(container: Props) -> Found:
        if container.flag("privileged"):
            yield f"{_called(container)} is privileged"

    return _in_each_container(task, check)


@resource_rule(
    "GH-ECS-002",
    title="Containers cannot write to their root filesystem",
    why="Who breaks into the process can then neither change its code nor leave tools behind.",
    remedy="set readonlyRootFilesystem to true and mount a volume where the process must write",
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    unknown_allowed=_MAY_BE_UNKNOWN,
    upstream=Upstream(
        security_hub=("ECS.5",), checkov=("CKV_AWS_336",), prowler=("ecs_task_definitions_containers_readonly_access",)
    ),
    url=f"{_PARAMETERS}#container_definition_storage",
)
def root_filesystems_are_read_only(task: Resource) -> Found:
    def check(container: Props) -> Found:
        if not container.flag("readonlyRootFilesystem"):
            yield f"{_called(container)} can write to its root filesystem"

    return _in_each_container(task, check)


@resource_rule(
    "GH-ECS-003",
    title="Containers run as a numbered user that is not root",
    why="A container without a user runs as root; a user's name can stand for uid 0 in the image, a number cannot.",
    remedy='set user to a number other than 0, such as "65532:65532"',
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    unknown_allowed=_MAY_BE_UNKNOWN,
    upstream=Upstream(security_hub=("ECS.20",), prowler=("ecs_task_definitions_host_networking_mode_users",)),
    url=f"{_PARAMETERS}#container_definition_security",
)
def no_container_runs_as_root(task: Resource) -> Found:
    def check(container: Props) -> Found:
        user = container.text("user")
        if not user:
            yield f"{_called(container)} sets no user and runs as root"
        elif not re.fullmatch(r"\d+(:\d+)?", user):
            yield f"{_called(container)} names its user instead of numbering it"
        elif int(user.partition(":")[0]) == 0:
            yield f"{_called(container)} runs as root"

    return _in_each_container(task, check)


@resource_rule(
    "GH-ECS-004",
    title="Tasks share no namespace with their host",
    why="In the host's network, process or memory namespace a task sees, and reaches, all others on that host.",
    remedy='set networkMode="awsvpc" and remove pidMode and ipcMode, or set them to "task"',
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ECS.3",), checkov=("CKV_AWS_335",), prowler=("ecs_task_definitions_host_namespace_not_shared",)
    ),
    url=f"{_PARAMETERS}#network_mode",
)
def tasks_are_alone(task: Resource) -> Found:
    if task.props.text("networkMode") != "awsvpc":
        yield "networkMode is not awsvpc"
    for mode in ("pidMode", "ipcMode"):
        if task.props.text(mode) == "host":
            yield f"{mode} is host"


@resource_rule(
    "GH-ECS-005",
    title="No secret is in a container's environment",
    why=("Environment values are readable by everyone who may describe the task definition, and stay in every old revision."),
    remedy="move it to secrets, with valueFrom naming a Secrets Manager secret",
    severity=Severity.CRITICAL,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    unknown_allowed=_MAY_BE_UNKNOWN,
    exemptible=False,
    upstream=Upstream(security_hub=("ECS.8",), prowler=("ecs_task_definitions_no_environment_secrets",), cdk_nag=("ECS2",)),
    url=f"{_GUIDE}/specifying-sensitive-data.html",
)
def environments_hold_no_secret(task: Resource) -> Found:
    def check(container: Props) -> Found:
        for variable in container.blocks("environment"):
            name, value = variable.text("name"), variable.text("value")
            if looks_secret(name, value):
                yield f"{_called(container)} seems to hold a secret in its environment variable {name}"

    return _in_each_container(task, check)


@stack_rule(
    "GH-ECS-006",
    title="Containers log to a log group of the stack, without blocking",
    why="A container without logs leaves no trace; one that waits for its logs stops serving when CloudWatch is slow.",
    remedy=('set logConfiguration with logDriver "awslogs", mode "non-blocking" and awslogs-group of a LogGroup in the stack'),
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    unknown_allowed=_MAY_BE_UNKNOWN,
    upstream=Upstream(
        security_hub=("ECS.9",),
        prowler=("ecs_task_definitions_logging_enabled", "ecs_task_definitions_logging_block_mode"),
        cdk_nag=("ECS7",),
    ),
    url=f"{_GUIDE}/using_awslogs.html",
)
def containers_log(task: Resource, stack: Stack) -> Found:
    groups = stack.of(tokens.LOG_GROUP)
    names = {name for group in groups for name in group.names}

    def check(container: Props) -> Found:
        logging = container.block("logConfiguration")
        options = logging.block("options")
        if not logging.text("logDriver"):
            yield f"{_called(container)} has no logConfiguration"
        elif logging.text("logDriver") == "awslogs":
            if options.text("mode") != "non-blocking":
                yield f"{_called(container)} blocks while it logs (mode is not non-blocking)"
            if options.text("awslogs-group") not in names:
                yield f"{_called(container)} logs to a log group that is not in the stack"

    return _in_each_container(task, check)


@resource_rule(
    "GH-ECS-007",
    title="No service gives its tasks a public address",
    why="A public address puts the task itself on the internet, beside the load balancer and its firewall.",
    remedy="set networkConfiguration.assignPublicIp to False and use private subnets",
    severity=Severity.HIGH,
    types=tokens.SERVICE,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("ECS.2",), checkov=("CKV_AWS_333",), prowler=("ecs_service_no_assign_public_ip",)),
    url=f"{_GUIDE}/fargate-task-networking.html",
)
def tasks_have_no_public_address(service: Resource) -> Found:
    if service.props.block("networkConfiguration").flag("assignPublicIp"):
        yield "networkConfiguration.assignPublicIp is true"


@resource_rule(
    "GH-ECS-008",
    title="Fargate runs its current platform",
    why="Older platform versions get no security patches.",
    remedy='remove platformVersion or set it to "LATEST"',
    severity=Severity.MEDIUM,
    types=tokens.SERVICE,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("ECS.10",), checkov=("CKV_AWS_332",), prowler=("ecs_service_fargate_latest_platform_version",)
    ),
    url=f"{_GUIDE}/platform-fargate.html",
)
def the_platform_is_current(service: Resource) -> Found:
    if service.props.text("platformVersion", "LATEST") not in ("LATEST", "1.4.0"):
        yield "platformVersion is older than 1.4.0"


@resource_rule(
    "GH-ECS-009",
    title="The cluster has Container Insights",
    why="Without it, a task that is killed for memory or a CPU that is full shows up nowhere.",
    remedy='set settings=[{name: "containerInsights", value: "enhanced"}] on the cluster',
    severity=Severity.MEDIUM,
    types=tokens.CLUSTER,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(
        security_hub=("ECS.12",),
        checkov=("CKV_AWS_65",),
        prowler=("ecs_cluster_container_insights_enabled",),
        cdk_nag=("ECS4",),
    ),
    url=f"{_GUIDE}/cloudwatch-container-insights.html",
)
def insights_are_on(cluster: Resource) -> Found:
    values = {s.text("name"): s.text("value") for s in cluster.props.blocks("settings")}
    if values.get("containerInsights") not in ("enabled", "enhanced"):
        yield "Container Insights is not enabled"


@stack_rule(
    "GH-ECS-011",
    title="A task's own role and its execution role are two roles",
    why="The execution role reads the secrets that are injected; a task that shares it can read them all itself.",
    remedy="set taskRoleArn and executionRoleArn to two different roles",
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    upstream=Upstream(checkov=("CKV_AWS_249",)),
    url=f"{_GUIDE}/security-iam-roles.html",
)
def the_two_roles_differ(task: Resource, stack: Stack) -> Found:
    missing = [name for name in ("taskRoleArn", "executionRoleArn") if not task.props.has(name)]
    for name in missing:
        yield f"{name} is not set"
    if missing:
        return
    own = {role.urn for role in stack.targets(task, "taskRoleArn", tokens.ROLE)}
    execution = {role.urn for role in stack.targets(task, "executionRoleArn", tokens.ROLE)}
    in_stack = bool(own and execution)
    if own == execution if in_stack else task.props.text("taskRoleArn") == task.props.text("executionRoleArn"):
        yield "taskRoleArn and executionRoleArn are the same role"


@resource_rule(
    "GH-ECS-012",
    title="A failed deployment rolls itself back",
    why="Without it a broken release keeps replacing good tasks, or waits half-done for somebody to notice.",
    remedy="set deploymentCircuitBreaker or alarms with enable=True and rollback=True",
    severity=Severity.MEDIUM,
    types=tokens.SERVICE,
    levels=AFTER_DEV,
    pack="resilience",
    url=f"{_GUIDE}/deployment-circuit-breaker.html",
)
def failed_deployments_roll_back(service: Resource) -> Found:
    guards = [service.props.block(name) for name in ("deploymentCircuitBreaker", "alarms") if service.props.has(name)]
    if service.props.block("deploymentController").text("type", "ECS") != "ECS":
        return  # CodeDeploy and external controllers roll back by their own configuration.
    if not any(guard.flag("enable") and guard.flag("rollback") for guard in guards):
        yield "neither the circuit breaker nor an alarm rolls a failed deployment back"


@stack_rule(
    "GH-ECS-013",
    title="A service runs two tasks or more and grows with its load",
    why="One task means an outage with every deployment, zone failure or crash.",
    remedy=("raise desiredCount or the scaling target's minCapacity, give it two subnets, and add an aws.appautoscaling.Target"),
    severity=Severity.MEDIUM,
    types=tokens.SERVICE,
    levels=levels("-", "A", "M"),
    pack="resilience",
    settings={"tasks_min": {"dev": 1, "staging": 2, "prod": 2}},
    url=f"{_GUIDE}/service-auto-scaling.html",
)
def services_have_company(service: Resource, stack: Stack) -> Found:
    tasks_min = service.settings["tasks_min"]
    targets = [t for t in stack.of(tokens.SCALING_TARGET) if _scales(t, service)]
    if not targets:
        yield "no scaling target belongs to this service"
    if service.props.number("desiredCount", 1) < tasks_min:
        yield f"desiredCount is below {tasks_min:g}"
    for target in targets:
        if target.props.number("minCapacity") < tasks_min:
            yield f"minCapacity of the scaling target {target.name} is below {tasks_min:g}"
    if service.props.block("networkConfiguration").size("subnets") < 2:
        yield "networkConfiguration.subnets names fewer than two subnets"


def _scales(target: Resource, service: Resource) -> bool:
    """A scaling target names its service by "service/<cluster>/<name>", which may be known or fed by the service
    itself.
    """
    if service.urn in target.feeds.get("resourceId", ()):
        return True
    if not target.props.known("resourceId"):
        return False
    return target.props.text("resourceId").rpartition("/")[2] in service.names


@resource_rule(
    "GH-ECS-014",
    title="Images are named by digest",
    why="A tag can be moved to other code after it was checked; a digest cannot.",
    remedy="write the image as repository@sha256:digest",
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=AFTER_DEV,
    unknown_allowed=_MAY_BE_UNKNOWN,
    url=f"{_GUIDE}/container-considerations.html",
)
def images_are_pinned(task: Resource) -> Found:
    def check(container: Props) -> Found:
        if not re.search(r"@sha256:[0-9a-f]{64}$", container.text("image")):
            yield f"{_called(container)} names its image by tag"

    return _in_each_container(task, check)


@stack_rule(
    "GH-ECS-015",
    title="Containers drop all capabilities and report their health",
    why=("Linux capabilities are parts of root's power; a container that never says how it is gets traffic while it is broken."),
    remedy='set linuxParameters.capabilities.drop to ["ALL"], add none, and write a healthCheck',
    severity=Severity.MEDIUM,
    types=tokens.TASK_DEFINITION,
    levels=AFTER_DEV,
    unknown_allowed=_MAY_BE_UNKNOWN,
    url=f"{_PARAMETERS}#container_definition_linuxparameters",
)
def capabilities_are_dropped(task: Resource, stack: Stack) -> Found:
    serves = bool(stack.users(task, tokens.SERVICE, "taskDefinition"))

    def check(container: Props) -> Found:
        capabilities = container.block("linuxParameters").block("capabilities")
        if "ALL" not in capabilities.texts("drop"):
            yield f"{_called(container)} does not drop ALL capabilities"
        if capabilities.texts("add"):
            yield f"{_called(container)} adds capabilities"
        # A one-off task is judged by its exit code; only what serves has to tell how it is.
        if serves and container.flag("essential", True) and not container.has("healthCheck"):
            yield f"{_called(container)} has no healthCheck"

    return _in_each_container(task, check)


@resource_rule(
    "GH-ECS-016",
    title="EFS volumes are mounted over TLS",
    why="NFS without TLS carries files in the clear through the network.",
    remedy='set efsVolumeConfiguration.transitEncryption="ENABLED"',
    severity=Severity.HIGH,
    types=tokens.TASK_DEFINITION,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("ECS.18",), checkov=("CKV_AWS_97",)),
    url=f"{_GUIDE}/efs-volumes.html",
)
def efs_is_mounted_over_tls(task: Resource) -> Found:
    for volume in task.props.blocks("volumes"):
        efs = "efsVolumeConfiguration"
        if volume.has(efs) and volume.block(efs).text("transitEncryption") != "ENABLED":
            yield f"{volume.at(efs)}.transitEncryption is not ENABLED"


@stack_rule(
    "GH-ECS-010",
    title="Nobody opens a shell in a container unseen",
    why="A shell in a task has the task's role, its secrets and its network, and leaves no trace unless sessions are logged.",
    remedy="remove enableExecuteCommand",
    severity=Severity.HIGH,
    types=tokens.SERVICE,
    levels=AFTER_DEV,
    settings={"shells": {"dev": 1, "staging": 1, "prod": 0}},
    upstream=Upstream(checkov=("CKV_AWS_223", "CKV_AWS_224")),
    url=f"{_GUIDE}/ecs-exec.html",
)
def shells_are_seen(service: Resource, stack: Stack) -> Found:
    if not service.props.flag("enableExecuteCommand"):
        return
    if not service.settings["shells"]:
        yield "enableExecuteCommand is true"
        return
    fix = 'set configuration.executeCommandConfiguration on the cluster: kmsKeyId, logging="OVERRIDE", logConfiguration'
    clusters = stack.targets(service, "cluster", tokens.CLUSTER)
    if not clusters:
        yield Violation("enableExecuteCommand is true, and the cluster that would record the sessions is not in the stack", fix)
    for cluster in clusters:
        sessions = cluster.props.block("configuration").block("executeCommandConfiguration")
        if not sessions.has("kmsKeyId"):
            yield Violation(f"sessions are not encrypted with a customer key in {cluster.name}", fix)
        if sessions.text("logging") != "OVERRIDE" or not sessions.has("logConfiguration"):
            yield Violation(f"sessions are not logged in {cluster.name}", fix)
