"""How requests reach one service: two target groups behind one listener rule, between which a deployment moves the traffic."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi


@dataclass(frozen=True, slots=True)
class TargetGroups:
    """The way from the load balancer to a service.

    blue, green: ARNs of the target groups, known once the rule stands: ECS refuses a group without a load balancer.
    rule: ARN of the listener rule whose weights a deployment changes. labels: both groups as CloudWatch names them.
    """

    blue: pulumi.Input[str]
    green: pulumi.Input[str]
    rule: pulumi.Input[str]
    labels: Sequence[pulumi.Input[str]]
