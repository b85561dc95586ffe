"""The probe: a function that asks each service from outside, and what its measurements mean."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.compute import dead_letter_queue
from components.iam.documents import Document, allow, document, render, trust
from components.iam.role_policies import RoleDefinition
from components.monitoring.alarm_resource import metric_alarm
from components.monitoring.metric_alarms import FUNCTION, UNDER, Alarm
from components.naming import Naming
from components.tags import tags

NAME = "probe"
FAILED = "probe-failed"
"""Name (Naming.name's `thing`) of the queue of beats that Lambda gave up."""
CODE = "runtime/functions"
TIMEOUT_S = 30
"""The services are asked one after the other, each for at most five seconds."""


@dataclass(frozen=True, kw_only=True)
class SyntheticProbeArgs:
    """What is asked, and who is told.

    names: the stack's names. minutes: the beat. addresses: of each service. role_arn: of the function. log_key_arn,
    log_retention_days: its log group. runbooks_url, topic_arn: for the alarms.
    """

    names: Naming
    interval_minutes: int
    urls: Mapping[str, str]
    role_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int
    runbooks_url: str
    topic_arn: pulumi.Input[str]


class SyntheticProbe(pulumi.ComponentResource):
    """A Lambda function that EventBridge calls at a steady beat, and an alarm a service on what it counts.

    Why: every other alarm reads what our own parts say of themselves; name, certificate, web ACL, load balancer and task are
    all between a user and an answer, and only a request from outside goes through all of them. It also tells when nothing is
    measured any more. It stands outside the VPC, as a user does, and is told its addresses by the event: there is no variable
    and no key to keep. Cost: 0.30 USD a month for each of two metrics a service, 0.10 an alarm, and below 0.10 for 43,000 runs.
    Controls: GH-LAM-001, GH-LAM-003 to GH-LAM-005, GH-CW-003, GH-CW-005.
    """

    function: pulumi.Output[str]

    def __init__(self, name: str, args: SyntheticProbeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:SyntheticProbe", name, component_inputs(args), opts)
        child = pulumi.ResourceOptions(parent=self)
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.log_group(NAME),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=child,
        )
        function = aws.lambda_.Function(
            name,
            name=args.names.name(NAME),
            description="Asks each service from outside and counts the answer",
            role=args.role_arn,
            runtime="python3.12",
            handler="probe.handler",
            code=pulumi.FileArchive(CODE),
            architectures=["arm64"],
            timeout=TIMEOUT_S,
            memory_size=128,
            dead_letter_config=aws.lambda_.FunctionDeadLetterConfigArgs(
                target_arn=dead_letter_queue.dead_letter_queue(name, args.names, FAILED, NAME, self)
            ),
            # A beat that still runs when the next one comes is not doubled.
            reserved_concurrent_executions=1,
            tracing_config=aws.lambda_.FunctionTracingConfigArgs(mode="Active"),
            logging_config=aws.lambda_.FunctionLoggingConfigArgs(log_format="JSON", log_group=group.name),
            tags=tags("internal"),
            opts=child,
        )
        beat = aws.cloudwatch.EventRule(
            name,
            name=args.names.name(NAME),
            description="The beat at which the services are asked from outside",
            schedule_expression=f"rate({args.interval_minutes} minute{'s' if args.interval_minutes > 1 else ''})",
            tags=tags("none"),
            opts=child,
        )
        aws.lambda_.Permission(
            name,
            statement_id="BeatCalls",
            action="lambda:InvokeFunction",
            function=function.name,
            principal="events.amazonaws.com",
            source_arn=args.names.arn("events", f"rule/{args.names.name(NAME)}"),
            opts=child,
        )
        aws.cloudwatch.EventTarget(
            name, rule=beat.name, arn=function.arn, target_id=NAME, input=render(event(args.names, args.urls)), opts=child
        )
        for alarm in alarms(args.names, tuple(args.urls), args.interval_minutes):
            metric_alarm(alarm, args.names, args.runbooks_url, args.topic_arn, self)
        self.function = function.name
        self.register_outputs({"function": self.function})


def namespace(names: Naming) -> str:
    """Where the measurements are kept: `Gatehouse/dev`."""
    return f"Gatehouse/{names.environment}"


def event(names: Naming, addresses: Mapping[str, str]) -> Document:
    """What EventBridge hands to the function."""
    return {"namespace": namespace(names), "services": dict(addresses)}


def alarms(names: Naming, services: tuple[str, ...], minutes: int) -> Iterator[Alarm]:
    """A service that was not up twice in a row; a beat that is not measured counts as one. And the probe itself."""
    yield Alarm(
        "probe-errors",
        "The probe itself has failed, so that services may be told as unreachable which are not. Read its log group.",
        "unreachable",
        FUNCTION,
        "Errors",
        [{"FunctionName": names.name(NAME)}],
        "Sum",
        threshold=0,
        period_s=300,
        periods=1,
    )
    for service in services:
        yield Alarm(
            f"{service}-unreachable",
            f"From outside, the {service} service did not answer 200 twice in a row, or nobody asked. Look at the probe's log group.",
            "unreachable",
            namespace(names),
            "ServiceUp",
            [{"Service": service}],
            "Minimum",
            threshold=1,
            comparison=UNDER,
            period_s=60 * minutes,
            periods=2,
            missing="breaching",
        )


def role_definitions(names: Naming) -> dict[str, RoleDefinition]:
    """The role of the function: its metrics, and its log."""
    permissions = document(
        # PutMetricData knows no resource (Service Authorization Reference, Amazon CloudWatch).
        allow(
            "Count", ["cloudwatch:PutMetricData"], ["*"], conditions={"StringEquals": {"cloudwatch:namespace": namespace(names)}}
        ),
        allow("KeepFailedCalls", ["sqs:SendMessage"], [names.arn("sqs", names.name(FAILED))]),
        # X-Ray knows no resource for what is sent to it (Service Authorization Reference, AWS X-Ray).
        allow("SendTraces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
        allow("WriteLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{names.log_group_arn(names.log_group(NAME))}:*"]),
    )
    return {
        NAME: RoleDefinition("Asks the services from outside", trust("lambda.amazonaws.com", account=names.account), permissions)
    }
