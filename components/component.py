"""Defines the base classes of all components and what they give each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.context import Stack
from components.naming import tags
from components.settings.data import ProtectionSettings


@dataclass(frozen=True)
class Placement:
    """Place of a resource in the VPC."""

    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]


@dataclass(frozen=True)
class RegionKey:
    """Another region and a KMS key in it."""

    region: str
    key_arn: pulumi.Input[str]


@dataclass(frozen=True)
class Topics:
    """ARNs of the topics of the stack.

    alarms: Topics for alarms, keyed by severity.
    notices: Topics for notices of AWS services, keyed by kind. An alarm counts their messages.
    """

    alarms: Mapping[str, pulumi.Input[str]]
    notices: Mapping[str, pulumi.Input[str]]


TargetGroupDimensions = Mapping[str, pulumi.Input[str]]
"""CloudWatch dimensions of a target group: LoadBalancer and TargetGroup."""


TEST_HEADER = ("X-Gatehouse-Test-Traffic", "1")
"""Request header that selects the test traffic of a deployment. Tasks that receive test traffic
accept the same credentials.
"""


@dataclass(frozen=True)
class TargetGroups:
    """Blue and green target groups behind one listener rule. A deployment shifts traffic from one
    to the other.

    blue, green: ARNs of the target groups. The ARNs resolve after the rule exists, because ECS
        rejects a target group that is not associated with a load balancer.
    test_rule: ARN of the listener rule for requests with `TEST_HEADER`; None if the load balancer
        has no such rule.
    """

    blue: pulumi.Input[str]
    green: pulumi.Input[str]
    rule: pulumi.Input[str]
    dimensions: Sequence[TargetGroupDimensions]
    test_rule: pulumi.Input[str] | None = None


@dataclass(frozen=True)
class DeploymentHook:
    """A Lambda function that ECS invokes after the test traffic has shifted to the new tasks of a
    service.
    """

    function_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    details: pulumi.Input[str]


class Component(pulumi.ComponentResource):
    """Base class of all components.

    inputs: Outputs of resources after which the children are created, although no property of the
        children contains them.
    """

    child: pulumi.ResourceOptions
    """Options for a resource in this component."""

    def __init__(
        self, name: str, opts: pulumi.ResourceOptions, inputs: Mapping[str, Any] | None = None
    ) -> None:
        kind = type(self)
        area = kind.__module__.split(".")[1]
        super().__init__(f"gatehouse:{area}:{kind.__name__}", name, inputs, opts)
        self.child = pulumi.ResourceOptions(parent=self)

    def after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=resources)

    def protected_by(
        self,
        protection: ProtectionSettings,
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        custom_timeouts: pulumi.CustomTimeouts | None = None,
    ) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(
            parent=self,
            protect=protection.protect,
            retain_on_delete=protection.protect,
            depends_on=depends_on,
            custom_timeouts=custom_timeouts,
        )


class StackComponent(Component):
    """Base class of the components of a stack, with its settings, names and contract."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name, opts, inputs)
        self.stack, self.settings, self.names = stack, stack.settings, stack.names
        self.contract = stack.contract

    def protected(
        self, *depends_on: pulumi.Resource, custom_timeouts: pulumi.CustomTimeouts | None = None
    ) -> pulumi.ResourceOptions:
        """Return the options for a resource with the stack's protection from deletion."""
        return self.protected_by(
            self.settings.protection, depends_on=depends_on, custom_timeouts=custom_timeouts
        )

    def named(self, resource: str, **more: str) -> dict[str, str]:
        return tags("none", Name=self.names.name(resource), **more)

    def create_log_group(
        self, name: str, log_group_name: str, key_arn: pulumi.Input[str]
    ) -> aws.cloudwatch.LogGroup:
        return aws.cloudwatch.LogGroup(
            name,
            name=log_group_name,
            retention_in_days=self.settings.log_retention_days,
            kms_key_id=key_arn,
            tags=tags("log"),
            opts=self.protected(),
        )


def with_dependencies(
    value: pulumi.Output[str], *dependencies: pulumi.Output[Any]
) -> pulumi.Output[str]:
    return pulumi.Output.all(value, *dependencies).apply(lambda values: str(values[0]))
