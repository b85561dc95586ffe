"""Rules for ECS clusters, services and task definitions."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, reduce

from pulumi_local.lists import leaves
from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis.properties import Properties, is_unknown, texts_of
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import (
    arguments_look_secret,
    looks_secret,
    name_indicates_secret,
)
from gatehouse_policies.engine.guard import check_each
from gatehouse_policies.engine.requirements import (
    any_of,
    for_types,
    has_format,
    in_order,
    is_exactly,
    is_not,
    is_not_set,
    is_not_true,
    is_true,
    satisfies,
)
from gatehouse_policies.engine.rule import (
    CheckResults,
    Undecided,
    Violation,
    resource_rule,
    stack_rule,
)

# Container definitions are a single JSON string. An unknown address makes the entire string unknown
# in the first preview.
_UNKNOWN_ALLOWED = {
    "containerDefinitions": (
        "the value contains addresses that AWS assigns to the database and the cache"
    )
}
_task_rule = partial(resource_rule, types=aws("ecs.TaskDefinition"))
_CONTAINERS = aws("ecs.TaskDefinition", "ecs.DaemonTaskDefinition")
_container_rule = partial(resource_rule, types=_CONTAINERS, unknown_allowed=_UNKNOWN_ALLOWED)
_container_stack_rule = partial(
    stack_rule, types=aws("ecs.TaskDefinition"), unknown_allowed=_UNKNOWN_ALLOWED
)
# The block with the parameters of the ECS tasks that a resource runs, and the property that refers
# to their cluster, keyed by resource type.
_TASK_PARAMETERS = by_token(
    {
        "ecs.Daemon": ("", "clusterArn"),
        "ecs.Service": ("", "cluster"),
        "ecs.TaskSet": ("", "cluster"),
        "cloudwatch.EventTarget": ("ecsTarget", "arn"),
        "scheduler.Schedule": ("target.ecsParameters", "target"),
        "pipes.Pipe": ("targetParameters.ecsTaskParameters", "target"),
    }
)
# The property with the overrides of a task at run time, keyed by resource type.
_OVERRIDES = by_token(
    {
        "cloudwatch.EventTarget": "input",
        "scheduler.Schedule": "target.input",
        "pipes.Pipe": "targetParameters",
        "sfn.StateMachine": "definition",
    }
)
_UNKNOWN_DEFINITION = {"definition": "the value contains ARNs that AWS assigns to other resources"}


def _task_parameters(resource: Resource) -> Properties:
    """The block of _TASK_PARAMETERS, empty for a target that is not an ECS cluster."""
    block = resource.props
    for name in filter(None, _TASK_PARAMETERS[resource.type][0].split(".")):
        block = block.block(name)
    return block


_ContainerCheck = Callable[[Properties], Iterator[str] | CheckResults]
"""Yields the predicate of a message whose subject is the container, such as "is privileged"."""


def _check_containers(task: Resource, check: _ContainerCheck) -> CheckResults:
    def check_container(container: Properties) -> CheckResults:
        name = container.known_text("name")
        subject = f"container {name}" if name else container.path
        for result in check(container):
            if isinstance(result, Violation):
                yield replace(result, message=f"{subject} {result.message}")
            else:
                yield result if isinstance(result, Undecided) else f"{subject} {result}"

    return check_each(task.props.json_blocks("containerDefinitions"), check_container)


# Properties of AWS Batch with JSON text.
_JOBS = ("containerProperties", "ecsProperties", "nodeProperties")


def _has_no_privileged_container(job: Properties, key: str) -> bool:
    values = leaves(job.decoded(key).value(key), "")
    return not any(value is True and path.lower().endswith(".privileged") for path, value in values)


containers_are_unprivileged = resource_rule(
    "GH-ECS-001",
    types=_CONTAINERS + aws("batch.JobDefinition"),
    unknown_allowed=_UNKNOWN_ALLOWED,
    exemptible=False,
).requires(
    for_types(_CONTAINERS, is_not_true("containerDefinitions[].privileged")),
    for_types(
        aws("batch.JobDefinition"),
        *(
            satisfies(
                prop,
                _has_no_privileged_container,
                "has a privileged container",
                f"remove privileged from {prop}",
            )
            for prop in _JOBS
        ),
        *(
            is_not_true(f"eksProperties.podProperties.{name}[].securityContext.privileged")
            for name in ("containers", "initContainers")
        ),
    ),
)


root_filesystem_is_read_only = _container_rule("GH-ECS-002").requires(
    is_true("containerDefinitions[].readonlyRootFilesystem")
)


containers_run_as_non_root = _container_rule("GH-ECS-003").requires(
    has_format(
        "containerDefinitions[].user",
        r"0*[1-9]\d*(:\d+)?",
        example="65532:65532",
        message="is not the number of a user other than root",
    )
)


tasks_use_own_namespaces = _task_rule("GH-ECS-004").requires(
    is_exactly("networkMode", "awsvpc"),
    is_not("pidMode", "host"),
    is_not("ipcMode", "host"),
    is_not_set("volumes[].hostPath"),
    # With o=bind, the local driver of Docker mounts it.
    satisfies(
        "volumes[].dockerVolumeConfiguration.driverOpts.device",
        lambda options, key: not options.text(key).startswith("/"),
        "is a path of the host",
        "remove the option device",
    ),
)


@_container_rule(
    "GH-ECS-005",
    lists={"harmless": ()},
    decided_by_name=r"containerDefinitions\[\d+\]\.environment\.",
)
def environment_has_no_secrets(task: Resource) -> CheckResults:
    def check(container: Properties) -> Iterator[str | Undecided]:
        for variable in container.blocks("environment"):
            name = variable.text("name")
            if name in task.lists["harmless"]:
                continue
            if variable.has("value") and not variable.known("value"):
                if name_indicates_secret(name):
                    yield Undecided(container.path_of(f"environment.{name}"))
            elif looks_secret(name, variable.text("value")):
                yield f"probably has a secret in the environment variable {name}"
        options = container.block("logConfiguration").block("options")
        for block in (container.block("dockerLabels"), options):
            for name in filter(block.known, block.names()):
                if looks_secret(name, block.text(name)):
                    yield f"probably has a secret in {name}"
        health = container.block("healthCheck")
        for block, prop in ((container, "command"), (container, "entryPoint"), (health, "command")):
            if arguments_look_secret(block.texts(prop)):
                yield f"probably has a secret in {block.path_of(prop)}"

    return _check_containers(task, check)


_LOCAL_DRIVERS = ("none", "json-file", "local", "journald")


@_container_stack_rule("GH-ECS-006")
def containers_log_without_blocking(task: Resource, stack: Stack) -> CheckResults:
    groups = stack.of_type(aws("cloudwatch.LogGroup"))
    names = {name for group in groups for name in group.identifiers}

    def check(container: Properties) -> Iterator[str]:
        logging = container.block("logConfiguration")
        options = logging.block("options")
        if not logging.text("logDriver"):
            yield "has no logConfiguration"
        elif logging.text("logDriver") in _LOCAL_DRIVERS:
            yield "keeps its logs on the host, or has none"
        elif logging.text("logDriver") == "awslogs":
            if options.text("mode") != "non-blocking":
                yield "logs in blocking mode (mode is not non-blocking)"
            if options.text("awslogs-group") not in names:
                yield "logs to a log group that is not in the stack"

    return _check_containers(task, check)


# Properties with JSON text, keyed by resource type.
_DEFINITIONS = by_token({"sfn.StateMachine": ("definition",), "batch.JobDefinition": _JOBS})


@resource_rule(
    "GH-ECS-007", types=(*_TASK_PARAMETERS, *_DEFINITIONS), unknown_allowed=_UNKNOWN_DEFINITION
)
def tasks_have_no_public_ip(resource: Resource) -> CheckResults:
    if resource.type in _DEFINITIONS:
        for prop in _DEFINITIONS[resource.type]:
            for path, value in texts_of(resource.props.decoded(prop), prop):
                if path.lower().endswith(".assignpublicip") and value == "ENABLED":
                    yield f"{path} is {value}"
        return
    network = _task_parameters(resource).block("networkConfiguration")
    # EventBridge Pipes has the block and the values of the API of Amazon ECS.
    for block in (network, network.block("awsVpcConfiguration")):
        value = block.value("assignPublicIp")
        if value == "ENABLED" or (value != "DISABLED" and block.flag("assignPublicIp")):
            yield f"{block.path_of('assignPublicIp')} is {value}"


@resource_rule("GH-ECS-008", types=tuple(_TASK_PARAMETERS))
def platform_version_is_current(resource: Resource) -> CheckResults:
    parameters = _task_parameters(resource)
    if parameters.text("platformVersion", "LATEST") not in ("LATEST", "1.4.0"):
        yield f"{parameters.path_of('platformVersion')} is older than 1.4.0"


@stack_rule(
    "GH-ECS-011",
    types=(*aws("ecs.TaskDefinition"), *_OVERRIDES),
    unknown_allowed=_UNKNOWN_DEFINITION,
)
def task_and_execution_role_differ(task: Resource, stack: Stack) -> CheckResults:
    if task.type in _OVERRIDES:
        yield from _overridden_roles(task, stack)
        return
    missing = [name for name in ("taskRoleArn", "executionRoleArn") if not task.props.has(name)]
    for name in missing:
        yield f"{name} is not set"
    if missing:
        return
    task_roles = {role.urn for role in stack.referenced_by(task, "taskRoleArn", aws("iam.Role"))}
    execution_roles = {
        role.urn for role in stack.referenced_by(task, "executionRoleArn", aws("iam.Role"))
    }
    in_stack = bool(task_roles and execution_roles)
    if (
        task_roles == execution_roles
        if in_stack
        else task.props.text("taskRoleArn") == task.props.text("executionRoleArn")
    ):
        yield "taskRoleArn and executionRoleArn are the same role"


def _overridden_roles(resource: Resource, stack: Stack) -> CheckResults:
    """A message for each override whose role is the other role of the override, or of the task
    definition.
    """
    *parents, prop = _OVERRIDES[resource.type].split(".")
    block = reduce(Properties.block, parents, resource.props)
    if resource.type in _TASK_PARAMETERS and not _task_parameters(resource).names():
        return  # The input is not that of a task.
    overrides: dict[str, dict[str, str]] = {}
    for path, value in leaves(block.decoded(prop).value(prop), block.path_of(prop)):
        parent, _, name = path.rpartition(".")
        if name.lower() in ("taskrolearn", "executionrolearn"):
            overrides.setdefault(parent, {})[name[0].lower() + name[1:]] = value
    source = next(
        (name for name in ("ecsTarget", *parents, prop) if resource.props.has(name)), prop
    )
    definitions = stack.referenced_by(resource, source, aws("ecs.TaskDefinition"))
    for path, override in overrides.items():
        for task in [task.props for task in definitions] or [Properties({})]:
            roles = [
                override.get(name) or task.text(name)
                for name in ("taskRoleArn", "executionRoleArn")
            ]
            if any(map(is_unknown, roles)):
                yield Undecided(path)
            elif roles[0] == roles[1]:
                yield f"taskRoleArn and executionRoleArn of {path} are the same role"


failed_deployments_roll_back = resource_rule("GH-ECS-012", types=aws("ecs.Service")).requires(
    any_of(
        *(
            in_order(is_true(f"{name}.enable"), is_true(f"{name}.rollback"))
            for name in ("deploymentCircuitBreaker", "alarms")
        ),
        message="neither deploymentCircuitBreaker nor alarms roll back failed deployments",
    ),
    # CodeDeploy and external controllers have their own rollback configuration.
    when=lambda service: service.props.block("deploymentController").text("type", "ECS") == "ECS",
)


@stack_rule(
    "GH-ECS-013",
    strict=True,
    types=aws("ecs.Service"),
    settings={"tasks_min": {"dev": 1, "staging": 2, "prod": 2}},
)
def service_is_redundant_and_scales(service: Resource, stack: Stack) -> CheckResults:
    if service.props.text("schedulingStrategy") == "DAEMON":
        return  # One task runs on each instance.
    tasks_min = service.settings["tasks_min"]
    targets = scaling_targets(service, stack)
    if not targets:
        yield "the service has no scaling target with a policy"
    if service.props.number("desiredCount", 1) < tasks_min:
        yield f"desiredCount is below {tasks_min:g}"
    for target in targets:
        if target.props.number("minCapacity") < tasks_min:
            yield f"minCapacity of the scaling target {target.name} is below {tasks_min:g}"
    if service.props.block("networkConfiguration").size("subnets") < 2:
        yield "networkConfiguration.subnets has fewer than two subnets"


def scaling_targets(resource: Resource, stack: Stack) -> list[Resource]:
    """The scaling targets of a service or table with a policy or schedule. The resourceId is
    "service/<cluster>/<name>" or "table/<name>".
    """
    prop = "resourceId"

    def scales(source: Resource) -> bool:
        name = source.props.known_text(prop).rpartition("/")[2]
        return name in resource.identifiers or stack.references(source, prop, resource)

    policies = stack.of_type(aws("appautoscaling.Policy", "appautoscaling.ScheduledAction"))
    return [
        target
        for target in filter(scales, stack.of_type(aws("appautoscaling.Target")))
        if any(scales(each) or stack.references(each, prop, target) for each in policies)
    ]


images_are_pinned_by_digest = _container_rule("GH-ECS-014").requires(
    has_format(
        "containerDefinitions[].image",
        r".+@sha256:[0-9a-f]{64}",
        example="repository@sha256:digest",
        message="has no digest",
    )
)


@_container_stack_rule("GH-ECS-015")
def capabilities_are_dropped(task: Resource, stack: Stack) -> CheckResults:
    is_service = bool(stack.referencing(task, aws("ecs.Service", "ecs.TaskSet"), "taskDefinition"))

    def check(container: Properties) -> CheckResults:
        capabilities = container.block("linuxParameters").block("capabilities")
        if "ALL" not in capabilities.texts("drop"):
            yield "does not drop ALL capabilities"
        if capabilities.texts("add"):
            yield "adds capabilities"
        if any("unconfined" in option for option in container.texts("dockerSecurityOptions")):
            yield Violation("disables a security profile", "remove dockerSecurityOptions")
        if container.block("linuxParameters").has("devices"):
            yield Violation("has devices of the host", "remove linuxParameters.devices")
        # One-off tasks report their result as an exit code and need no health check.
        if is_service and container.flag("essential", True) and not container.has("healthCheck"):
            yield Violation("has no healthCheck", "set healthCheck")

    return _check_containers(task, check)


@_task_rule("GH-ECS-016")
def efs_uses_transit_encryption(task: Resource) -> CheckResults:
    for volume in task.props.blocks("volumes"):
        efs = "efsVolumeConfiguration"
        if volume.has(efs) and volume.block(efs).text("transitEncryption") != "ENABLED":
            yield f"{volume.path_of(efs)}.transitEncryption is not ENABLED"


@stack_rule("GH-ECS-010", types=tuple(_TASK_PARAMETERS))
def ecs_exec_is_disabled_or_logged(resource: Resource, stack: Stack) -> CheckResults:
    if not _task_parameters(resource).flag("enableExecuteCommand"):
        return
    fix = (
        "set configuration.executeCommandConfiguration on the cluster: kmsKeyId, "
        'logging="OVERRIDE", logConfiguration'
    )
    cluster_path = _TASK_PARAMETERS[resource.type][1]
    clusters = stack.referenced_by(resource, cluster_path, aws("ecs.Cluster"))
    if not clusters:
        yield Undecided(cluster_path)  # The cluster is in another stack.
    for cluster in clusters:
        sessions = cluster.props.block("configuration").block("executeCommandConfiguration")
        if not sessions.has("kmsKeyId"):
            encrypted = "encrypted with a customer managed key"
            yield Violation(f"ECS Exec sessions are not {encrypted} in {cluster.name}", fix)
        if sessions.text("logging") != "OVERRIDE" or not sessions.has("logConfiguration"):
            yield Violation(f"ECS Exec sessions are not logged in {cluster.name}", fix)
