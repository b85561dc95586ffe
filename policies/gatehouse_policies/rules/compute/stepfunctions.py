"""Rules for AWS Step Functions state machines."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.engine.requirements import is_exactly, is_true
from gatehouse_policies.engine.rule import resource_rule

_machine_rule = partial(resource_rule, types=aws("sfn.StateMachine"))


executions_are_logged = _machine_rule("GH-SFN-001").requires(
    is_exactly("loggingConfiguration.level", "ALL")
)


executions_are_traced = _machine_rule("GH-SFN-002").requires(
    is_true("tracingConfiguration.enabled")
)
