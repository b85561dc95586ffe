"""Where CloudWatch tells that it masked a credential in a log."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, allow, document, render
from components.naming import Naming
from components.tags import tags

FINDINGS = "findings"
"""Name (Naming.log_group's `process`) of the log group."""


@dataclass(frozen=True)
class FindingsArgs:
    """names: the stack's names. log_key_arn, log_retention_days: its log group."""

    names: Naming
    log_key_arn: pulumi.Input[str]
    log_retention_days: int


class Findings(pulumi.ComponentResource):
    """One log group for the findings of all masked log groups, and the right of the log service to write there.

    Why: a masked credential is one that something logged, and that must be mended where it happens; a finding says in which
    stream and place, never what. Cost: the masking itself is 0.12 USD a GB that tasks write. Controls: GH-CW-001, GH-CW-002,
    GH-CW-006.
    """

    log_group: pulumi.Output[str]

    def __init__(self, name: str, args: FindingsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:monitoring:Findings", name, component_inputs(args), opts)
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.log_group(FINDINGS),
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.cloudwatch.LogResourcePolicy(
            name,
            policy_name=args.names.name("findings-delivery"),
            policy_document=render(delivery_policy(args.names)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.log_group = group.name
        self.register_outputs({"logGroup": self.log_group})


def delivery_policy(names: Naming) -> Document:
    """The log service may put findings into this one log group (CloudWatch Logs user guide, "IAM permissions required to create
    or work with a data protection policy")."""
    return document(
        allow(
            "FindingsArrive",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{names.log_group_arn(names.log_group(FINDINGS))}:log-stream:*"],
            principal={"Service": "delivery.logs.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("logs", "*")},
            },
        )
    )
