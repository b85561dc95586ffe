"""The ECS cluster."""

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.naming import tags


class EcsCluster(Component):
    """An ECS cluster with enhanced Container Insights.

    Why: Fargate runs the tasks, so there are no hosts to patch. Container Insights records CPU, memory and network per task.
    Cost: about 2 USD per ECS service and month for metrics. Controls: GH-ECS-009, GH-ECS-010.
    """

    name: pulumi.Output[str]
    arn: pulumi.Output[str]

    def __init__(self, name: str, args: StackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:EcsCluster", name, args, opts)
        cluster = aws.ecs.Cluster(
            name,
            name=args.names.name("main"),
            settings=[{"name": "containerInsights", "value": "enhanced"}],
            tags=tags("none"),
            opts=self.child,
        )
        self.name, self.arn = cluster.name, cluster.arn
        self.register_outputs({"name": self.name, "arn": self.arn})
