"""The two target groups of a service behind the load balancer."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, slots=True)
class TargetGroups:
    """Blue and green target groups behind one listener rule, between which a deployment shifts the traffic.

    blue, green: ARNs of the target groups. They resolve after the rule exists: ECS rejects a target group without a load
        balancer.
    rule: ARN of the listener rule.
    labels: CloudWatch dimensions of both target groups.
    """

    blue: pulumi.Input[str]
    green: pulumi.Input[str]
    rule: pulumi.Input[str]
    labels: Sequence[pulumi.Input[str]]
