"""The rule about ECS Exec: a shell in a running container, off in prod, recorded elsewhere."""

from policies import tokens
from policies.rule import AFTER_DEV, Found, Severity, Upstream, Violation, stack_rule
from policies.stack import Resource, Stack


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
    url="https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs-exec.html",
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
