"""The web application firewall in front of the load balancer."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import sections
from components.document import Document, allow, document, render
from components.naming import Naming
from components.props import props
from components.tags import tags

MANAGED = {
    "ip-reputation": "AWSManagedRulesAmazonIpReputationList",
    "common": "AWSManagedRulesCommonRuleSet",
    "known-bad-inputs": "AWSManagedRulesKnownBadInputsRuleSet",
}
REDACTED = ("authorization", "cookie", "x-api-key")
"""Headers that carry keys and sessions: WAF logs them as REDACTED."""


@dataclass(frozen=True)
class WafArgs:
    """names: the stack's names. edge: rate limit. balancer_arn: what is protected. log_key_arn, log_retention_days: its
    log group."""

    names: Naming
    edge: sections.Edge
    balancer_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int


class Waf(pulumi.ComponentResource):
    """A web ACL with AWS' reputation, common and bad-input groups, a rate limit by address, and a log without keys.

    Why: known attacks and floods end before they cost a task anything; per-key limits are the gate's. Cost: 5 USD a
    month, 1 USD a rule, and 0.60 USD a million requests. Controls: GH-ALB-008, GH-WAF-001 to GH-WAF-004.
    """

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: WafArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:waf:Waf", name, props(args), opts)
        names = args.names
        acl = aws.wafv2.WebAcl(
            name,
            name=names.name("edge"),
            description="In front of gate, console and share",
            scope="REGIONAL",
            default_action=aws.wafv2.WebAclDefaultActionArgs(allow=aws.wafv2.WebAclDefaultActionAllowArgs()),
            rules=[
                _rate(names, 0, args.edge.requests_max),
                _metrics(names, 1),
                *(_managed(names, 10 + index, rule, group) for index, (rule, group) in enumerate(MANAGED.items())),
            ],
            visibility_config=aws.wafv2.WebAclVisibilityConfigArgs(
                cloudwatch_metrics_enabled=True, metric_name=names.name("edge"), sampled_requests_enabled=False
            ),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.wafv2.WebAclAssociation(
            name, resource_arn=args.balancer_arn, web_acl_arn=acl.arn, opts=pulumi.ResourceOptions(parent=self)
        )
        self.arn = acl.arn
        self._log(name, args)
        self.register_outputs({"arn": self.arn})

    def _log(self, name: str, args: WafArgs) -> None:
        group = aws.cloudwatch.LogGroup(
            name,
            name=args.names.waf_log_group,
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        delivery = aws.cloudwatch.LogResourcePolicy(
            name,
            policy_name=args.names.name("waf-delivery"),
            policy_document=render(delivery_policy(args.names)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.wafv2.WebAclLoggingConfiguration(
            name,
            resource_arn=self.arn,
            log_destination_configs=[group.arn],
            redacted_fields=[
                aws.wafv2.WebAclLoggingConfigurationRedactedFieldArgs(
                    single_header=aws.wafv2.WebAclLoggingConfigurationRedactedFieldSingleHeaderArgs(name=header)
                )
                for header in REDACTED
            ],
            opts=pulumi.ResourceOptions(parent=self, depends_on=[delivery]),
        )


def delivery_policy(names: Naming) -> Document:
    """The log service may put WAF's lines into this one log group (WAF developer guide, "Permissions to publish logs to
    CloudWatch Logs")."""
    return document(
        allow(
            "WafWrites",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [f"{names.log_group_arn(names.waf_log_group)}:log-stream:*"],
            principal={"Service": "delivery.logs.amazonaws.com"},
            conditions={
                "StringEquals": {"aws:SourceAccount": names.account},
                "ArnLike": {"aws:SourceArn": names.arn("logs", "*")},
            },
        )
    )


def _visible(names: Naming, rule: str) -> aws.wafv2.WebAclRuleVisibilityConfigArgs:
    # Samples keep whole requests with their headers, and so keys; the log has what is needed.
    return aws.wafv2.WebAclRuleVisibilityConfigArgs(
        cloudwatch_metrics_enabled=True, metric_name=names.name(f"edge-{rule}"), sampled_requests_enabled=False
    )


def _managed(names: Naming, priority: int, rule: str, group: str) -> aws.wafv2.WebAclRuleArgs:
    statement = aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(vendor_name="AWS", name=group)
    # The group's own actions stand; counting alone would let everything pass.
    enforced = aws.wafv2.WebAclRuleOverrideActionNoneArgs()  # type: ignore[no-untyped-call]
    return aws.wafv2.WebAclRuleArgs(
        name=rule,
        priority=priority,
        statement=aws.wafv2.WebAclRuleStatementArgs(managed_rule_group_statement=statement),
        override_action=aws.wafv2.WebAclRuleOverrideActionArgs(none=enforced),
        visibility_config=_visible(names, rule),
    )


def _rate(names: Naming, priority: int, requests_max: int) -> aws.wafv2.WebAclRuleArgs:
    statement = aws.wafv2.WebAclRuleStatementRateBasedStatementArgs(
        limit=requests_max, aggregate_key_type="IP", evaluation_window_sec=300
    )
    too_many = aws.wafv2.WebAclRuleActionBlockCustomResponseArgs(response_code=429)
    return aws.wafv2.WebAclRuleArgs(
        name="rate",
        priority=priority,
        statement=aws.wafv2.WebAclRuleStatementArgs(rate_based_statement=statement),
        action=aws.wafv2.WebAclRuleActionArgs(block=aws.wafv2.WebAclRuleActionBlockArgs(custom_response=too_many)),
        visibility_config=_visible(names, "rate"),
    )


def _metrics(names: Naming, priority: int) -> aws.wafv2.WebAclRuleArgs:
    """`/metrics` in any spelling: decoded, normalised and in lower case before it is compared."""
    shapes = ("URL_DECODE", "NORMALIZE_PATH", "LOWERCASE")
    path = aws.wafv2.WebAclRuleStatementByteMatchStatementFieldToMatchUriPathArgs()  # type: ignore[no-untyped-call]
    statement = aws.wafv2.WebAclRuleStatementByteMatchStatementArgs(
        search_string="/metrics",
        positional_constraint="STARTS_WITH",
        field_to_match=aws.wafv2.WebAclRuleStatementByteMatchStatementFieldToMatchArgs(uri_path=path),
        text_transformations=[
            aws.wafv2.WebAclRuleStatementByteMatchStatementTextTransformationArgs(priority=index, type=shape)
            for index, shape in enumerate(shapes)
        ],
    )
    missing = aws.wafv2.WebAclRuleActionBlockCustomResponseArgs(response_code=404)
    return aws.wafv2.WebAclRuleArgs(
        name="metrics",
        priority=priority,
        statement=aws.wafv2.WebAclRuleStatementArgs(byte_match_statement=statement),
        action=aws.wafv2.WebAclRuleActionArgs(block=aws.wafv2.WebAclRuleActionBlockArgs(custom_response=missing)),
        visibility_config=_visible(names, "metrics"),
    )
