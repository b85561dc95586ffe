"""Rules for AWS Step Functions state machines."""

from functools import partial

from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import is_exactly, is_true
from gatehouse_policies.engine.rule import resource_rule

_GUIDE = "https://docs.aws.amazon.com/step-functions/latest/dg"
_machine_rule = partial(resource_rule, types=aws("sfn.StateMachine"))


executions_are_logged = _machine_rule(
    "GH-SFN-001",
    title="Step Functions state machines log all events",
    upstream="StepFunctions.1 CKV_AWS_285 SF1",
    url=f"{_GUIDE}/cw-logs.html",
).requires(is_exactly("loggingConfiguration.level", "ALL"))


executions_are_traced = _machine_rule(
    "GH-SFN-002",
    title="Step Functions state machines have tracing enabled",
    severity="low",
    levels="-AM",
    pack="resilience",
    upstream="CKV_AWS_284 SF2",
    url=f"{_GUIDE}/concepts-xray-tracing.html",
).requires(is_true("tracingConfiguration.enabled"))
