"""Alarms on what log lines say: changes to the account, and keys that are refused."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.monitoring import log_filters, metric_alarms
from components.monitoring.alarm_resource import metric_alarm
from components.naming import Naming
from components.settings.operations import MonitoringSettings


@dataclass(frozen=True, kw_only=True)
class LogAlarmsArgs:
    """What is read, and who is told.

    names: the stack's names. watch: bounds and runbooks. topic_arn: who is told. trail_group: the log group of the audit
    trail. gateway_group: that of the gateway.
    """

    names: Naming
    monitoring: MonitoringSettings
    topic_arn: pulumi.Input[str]
    trail_log_group: pulumi.Input[str]
    gateway_log_group: pulumi.Input[str]


class LogAlarms(pulumi.ComponentResource):
    """A metric filter and an alarm for each of fifteen changes to the account, and for keys that are
    refused or abused.

    Why: the trail keeps what was done, but nobody reads it; these are the changes that come before an incident or are
    one. Cost: 0.30 USD a filter's metric that ever counts, 0.10 USD an alarm and month. Controls: GH-CT-006, GH-CW-003.
    """

    def __init__(self, name: str, args: LogAlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:LogAlarms", name, component_inputs(args), opts)
        for wanted in log_filters.of_account():
            self._count(wanted, "account-activity", args.trail_log_group, args)
        for wanted in log_filters.of_gateway(args.monitoring.denied_requests_alarm_threshold):
            self._count(wanted, "rejected-keys", args.gateway_log_group, args)
        self.register_outputs({})

    def _count(self, wanted: log_filters.Filter, runbook: str, group: pulumi.Input[str], args: LogAlarmsArgs) -> None:
        counted = aws.cloudwatch.LogMetricFilter(
            wanted.name,
            name=args.names.name(wanted.name),
            log_group_name=group,
            pattern=wanted.pattern,
            metric_transformation=aws.cloudwatch.LogMetricFilterMetricTransformationArgs(
                name=wanted.name, namespace=args.names.namespace, value="1", default_value="0"
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        alarm = metric_alarms.of_filter(
            wanted.name, wanted.words, runbook, args.names.namespace, threshold=wanted.more_than, period_s=wanted.period_s
        )
        metric_alarm(alarm, args.names, args.monitoring.runbooks_url, args.topic_arn, counted)
