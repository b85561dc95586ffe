"""The migration of the database, which ends before the services receive a new image."""

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

from components.compute.python_function import FunctionResources, PythonFunction
from components.context import Stack
from components.iam.role_policies import MIGRATION_FUNCTION
from components.monitoring.cloudwatch_alarm import function_alarm, metric_alarm


class Migration(PythonFunction):
    """A Lambda function that runs the migration as an ECS task, and its invocation.

    Why: The migration belongs to the update, so `pulumi up` alone deploys a stack, and an update
    whose migration fails stops before the services. The invocation is repeated with each revision
    of the task definition, and with another database, such as a restored one.

    event: input of the function, whose changes repeat the invocation.
    after: resources that a task needs to start, besides those of the event.
    """

    completed: pulumi.Output[str]
    """ID of the invocation. Resolves when the database is migrated."""

    def __init__(
        self,
        stack: Stack,
        resources: FunctionResources,
        opts: pulumi.ResourceOptions,
        *,
        event: Mapping[str, pulumi.Input[object]],
        after: Sequence[pulumi.Resource],
    ) -> None:
        name = MIGRATION_FUNCTION
        super().__init__(
            name,
            stack,
            resources,
            opts,
            description="Migrates the database before the services are deployed",
            # The maximum of Lambda.
            timeout_s=900,
        )
        alarm = function_alarm(
            name,
            "The migration of the database failed, so an update stopped before the services. Check "
            "the log of the task, then repeat the update.",
            "errors",
            self.names,
        )
        metric_alarm(alarm, stack, resources.topics, self)
        invocation = aws.lambda_.Invocation(
            name,
            function_name=self.function,
            input=pulumi.Output.json_dumps(event),
            # A change of these values invokes the function again.
            triggers={"event": pulumi.Output.json_dumps(event)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=after),
        )
        self.completed = invocation.id
        self.register_outputs({})
