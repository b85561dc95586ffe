"""Rules for AWS Step Functions state machines."""

from functools import partial

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import is_exactly, is_true
from gatehouse_policies.engine.rule import Severity, levels, resource_rule

_GUIDE = "https://docs.aws.amazon.com/step-functions/latest/dg"
_machine_rule = partial(resource_rule, types=aws("sfn.StateMachine"))


executions_are_logged = _machine_rule(
    "GH-SFN-001",
    title="Step Functions state machines log all events",
    rationale=(
        "The history of an express workflow is not stored. That of a standard workflow "
        "is deleted after 90 days."
    ),
    remedy='set loggingConfiguration with level="ALL" and logDestination',
    upstream="StepFunctions.1 CKV_AWS_285 SF1",
    url=f"{_GUIDE}/cw-logs.html",
).requires(is_exactly("loggingConfiguration.level", "ALL"))


executions_are_traced = _machine_rule(
    "GH-SFN-002",
    title="Step Functions state machines have tracing enabled",
    rationale="Traces show which state and service delays an execution.",
    severity=Severity.LOW,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream="CKV_AWS_284 SF2",
    url=f"{_GUIDE}/concepts-xray-tracing.html",
).requires(is_true("tracingConfiguration.enabled"))
