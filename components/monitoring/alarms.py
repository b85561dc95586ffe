"""The alarms and event rules of a stack, and the dashboard."""

from collections.abc import Iterable, Sequence

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, Topics
from components.context import Stack
from components.monitoring.burn_rates import composite_alarms
from components.monitoring.cloudwatch_alarm import MonitoredResources, composite_alarm, metric_alarm
from components.monitoring.dashboard import dashboard_body
from components.monitoring.events import EventRule, event_rules
from components.monitoring.log_alarms import log_filters
from components.monitoring.resource_alarms import resource_alarms
from components.monitoring.service_alarms import service_alarms
from components.monitoring.synthetic_probe import probe_alarms
from components.naming import tags


class CompositeAlarms(StackComponent):
    """Composite alarms, which notify once for several symptoms of a cause.

    others: Alarms to which the rules refer.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        others: Sequence[pulumi.Resource],
        services: Iterable[str],
        balancers: Iterable[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        created: dict[str, pulumi.Resource] = {}
        for alarm in composite_alarms(stack, services, balancers):
            suppressor = [created[alarm.suppressor]] if alarm.suppressor in created else []
            created[alarm.name] = composite_alarm(
                alarm, stack, topics, self, [*others, *suppressor]
            )
        self.register_outputs({})


class Alarms(StackComponent):
    """Alarms on errors, latency, health and saturation, event rules for security findings and for
    failed deployments, rotations and backups, and a dashboard.

    Why: Operators are notified before users report a problem, with a link to the runbook. The
    alarms of a service also roll back its deployment.
    """

    service_alarms: dict[str, list[pulumi.Output[str]]]
    """Names of the alarms that roll back a deployment, keyed by service."""
    created: list[pulumi.Resource]
    """Alarms to which composite alarms can refer."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        topics: Topics,
        resources: MonitoredResources,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, stack, opts)
        names, settings = self.names, self.settings
        rules = (
            list(event_rules(stack, resources.keys)) if settings.monitoring.creates_alarms else []
        )
        own = [*resource_alarms(stack, resources), *(rule.alarm(names) for rule in rules)]
        self.created = [metric_alarm(alarm, stack, topics, self) for alarm in own]
        self.service_alarms = {}
        for service, definitions in service_alarms(stack, resources).items():
            alarms = [metric_alarm(alarm, stack, topics, self) for alarm in definitions]
            self.service_alarms[service] = [alarm.name for alarm in alarms]
            self.created += alarms
            own += definitions
        for rule in rules:
            self._event_rule(rule, topics.notices["event"])
        shown = [
            *own,
            *(probe_alarms(stack) if settings.monitoring.probe else ()),
            *(row.alarm(names) for row in log_filters(stack)),
        ]
        composites = list(composite_alarms(stack, self.service_alarms, resources.load_balancers))
        if not settings.monitoring.creates_alarms:
            shown, composites = own, []
        body = pulumi.Output.json_dumps(dashboard_body(stack, resources, shown, composites))
        aws.cloudwatch.Dashboard(
            name, dashboard_name=names.name("overview"), dashboard_body=body, opts=self.child
        )
        self.register_outputs({})

    def _event_rule(self, event: EventRule, topic_arn: pulumi.Input[str]) -> None:
        rule = aws.cloudwatch.EventRule(
            event.name,
            name=self.names.name(event.name),
            description=event.description,
            event_pattern=pulumi.Output.json_dumps(event.pattern),
            tags=tags("none"),
            opts=self.child,
        )
        aws.cloudwatch.EventTarget(
            event.name, rule=rule.name, arn=topic_arn, target_id="notices", opts=self.child
        )
