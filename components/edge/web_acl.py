"""The web application firewall in front of the load balancer, and of what else is reached from outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, allow, document, render
from components.naming import Naming
from components.settings.network import WafSettings
from components.tags import tags

MANAGED = {
    "ip-reputation": "AWSManagedRulesAmazonIpReputationList",
    "common": "AWSManagedRulesCommonRuleSet",
    "known-bad-inputs": "AWSManagedRulesKnownBadInputsRuleSet",
}
UPLOADS_AT = "gateway"
"""The one service at which large bodies pass, on their way to a Core."""
BODY_RULE, BODY_LABEL = "SizeRestrictions_BODY", "awswaf:managed:aws:core-rule-set:SizeRestrictions_Body"
"""The rule of the common group against bodies above 8 KB, and the label that it leaves on what it would have refused (WAF
developer guide, "Core rule set managed rule group")."""
_SHAPES = ("URL_DECODE", "NORMALIZE_PATH", "LOWERCASE")
_Statement = aws.wafv2.WebAclRuleStatementArgs
REDACTED = ("authorization", "cookie", "x-api-key")
"""Headers that carry keys and sessions: WAF logs them as REDACTED."""


@dataclass(frozen=True, kw_only=True)
class WebAclArgs:
    """names: the stack's names. edge: rate limits. hosts: host name of each service. balancer_arn: what is protected.
    stage_arns: ARNs of what else is, by name. log_key_arn, log_retention_days: its log group."""

    names: Naming
    waf: WafSettings
    host_names: Mapping[str, str]
    load_balancer_arn: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int
    stage_arns: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)


class WebAcl(pulumi.ComponentResource):
    """A web ACL with AWS' reputation, common and bad-input groups, rate limits by address for all services and for each
    narrow one, and a log without keys.

    Why: known attacks and floods end before they cost a task anything; per-key limits are the gateway's. Large bodies are
    refused everywhere but at the gateway, where they are uploads to Cores; the rest of the common group holds there too.
    Cost: 5 USD a month, 1 USD a rule, and 0.60 USD a million requests. Controls: GH-ALB-008, GH-WAF-001 to GH-WAF-004.
    """

    arn: pulumi.Output[str]

    def __init__(self, name: str, args: WebAclArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:edge:WebAcl", name, component_inputs(args), opts)
        names = args.names
        acl = aws.wafv2.WebAcl(
            name,
            name=names.name("edge"),
            description="In front of gateway, console and share",
            scope="REGIONAL",
            default_action=aws.wafv2.WebAclDefaultActionArgs(allow=aws.wafv2.WebAclDefaultActionAllowArgs()),
            rules=[
                _rate(names, 0, "rate", args.waf.requests_max),
                _metrics(names, 1),
                *(
                    _rate(names, 2 + index, f"rate-{service}", most, args.host_names[service])
                    for index, (service, most) in enumerate(args.waf.service_requests_max().items())
                ),
                *(_managed(names, 10 + index, rule, group) for index, (rule, group) in enumerate(MANAGED.items())),
                _body_size(names, 20, args.host_names[UPLOADS_AT]),
            ],
            visibility_config=aws.wafv2.WebAclVisibilityConfigArgs(
                cloudwatch_metrics_enabled=True, metric_name=names.name("edge"), sampled_requests_enabled=False
            ),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.wafv2.WebAclAssociation(
            name, resource_arn=args.load_balancer_arn, web_acl_arn=acl.arn, opts=pulumi.ResourceOptions(parent=self)
        )
        for thing, arn in args.stage_arns.items():
            aws.wafv2.WebAclAssociation(thing, resource_arn=arn, web_acl_arn=acl.arn, opts=pulumi.ResourceOptions(parent=self))
        self.arn = acl.arn
        self._log(name, args)
        self.register_outputs({"arn": self.arn})

    def _log(self, name: str, args: WebAclArgs) -> None:
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
    # Counted here, so that the label is set; `_body_size` refuses it at every host name but the gateway's.
    counted: Any = [{"name": BODY_RULE, "action_to_use": {"count": {}}}]
    statement = aws.wafv2.WebAclRuleStatementManagedRuleGroupStatementArgs(
        vendor_name="AWS", name=group, rule_action_overrides=counted if rule == "common" else None
    )
    # The group's own actions stand; counting alone would let everything pass.
    enforced = aws.wafv2.WebAclRuleOverrideActionNoneArgs()  # type: ignore[no-untyped-call]
    return aws.wafv2.WebAclRuleArgs(
        name=rule,
        priority=priority,
        statement=aws.wafv2.WebAclRuleStatementArgs(managed_rule_group_statement=statement),
        override_action=aws.wafv2.WebAclRuleOverrideActionArgs(none=enforced),
        visibility_config=_visible(names, rule),
    )


def _body_size(names: Naming, priority: int, uploads_host: str) -> aws.wafv2.WebAclRuleArgs:
    """Refuses what the common group found too large, unless it is on its way to a Core."""
    labelled = _Statement(
        label_match_statement=aws.wafv2.WebAclRuleStatementLabelMatchStatementArgs(scope="LABEL", key=BODY_LABEL)
    )
    elsewhere = _Statement(not_statement=aws.wafv2.WebAclRuleStatementNotStatementArgs(statement=_at_host(uploads_host)))
    both = _Statement(and_statement=aws.wafv2.WebAclRuleStatementAndStatementArgs(statements=[labelled, elsewhere]))
    return _blocking(names, priority, "body-size", both, 413)


def _rate(names: Naming, priority: int, rule: str, requests_max: int, host: str = "") -> aws.wafv2.WebAclRuleArgs:
    """Requests of one address, at one host name or at all."""
    # Plain dictionaries: pulumi-aws has classes of their own for the same statement in this place.
    narrowed: Any = {
        "byte_match_statement": {
            "search_string": host,
            "positional_constraint": "EXACTLY",
            "field_to_match": {"single_header": {"name": "host"}},
            "text_transformations": [{"priority": 0, "type": "LOWERCASE"}],
        }
    }
    rate = aws.wafv2.WebAclRuleStatementRateBasedStatementArgs(
        limit=requests_max,
        aggregate_key_type="IP",
        evaluation_window_sec=300,
        scope_down_statement=narrowed if host else None,
    )
    return _blocking(names, priority, rule, _Statement(rate_based_statement=rate), 429)


def _at_host(host: str) -> _Statement:
    """The request is for this host name, in any case."""
    return _matching({"single_header": {"name": "host"}}, "EXACTLY", host, ("LOWERCASE",))


def _metrics(names: Naming, priority: int) -> aws.wafv2.WebAclRuleArgs:
    """`/metrics` in any spelling: decoded, normalised and in lower case before it is compared."""
    path: Any = {"uri_path": {}}
    return _blocking(names, priority, "metrics", _matching(path, "STARTS_WITH", "/metrics", _SHAPES), 404)


def _matching(part: Any, how: str, text: str, shapes: Sequence[str]) -> _Statement:
    """This part of the request, brought into these shapes one after the other, matches the text."""
    return _Statement(
        byte_match_statement=aws.wafv2.WebAclRuleStatementByteMatchStatementArgs(
            search_string=text,
            positional_constraint=how,
            field_to_match=part,
            text_transformations=[
                aws.wafv2.WebAclRuleStatementByteMatchStatementTextTransformationArgs(priority=index, type=shape)
                for index, shape in enumerate(shapes)
            ],
        )
    )


def _blocking(names: Naming, priority: int, rule: str, statement: _Statement, status: int) -> aws.wafv2.WebAclRuleArgs:
    """A rule of ours, which answers with this status."""
    answer = aws.wafv2.WebAclRuleActionBlockCustomResponseArgs(response_code=status)
    return aws.wafv2.WebAclRuleArgs(
        name=rule,
        priority=priority,
        statement=statement,
        action=aws.wafv2.WebAclRuleActionArgs(block=aws.wafv2.WebAclRuleActionBlockArgs(custom_response=answer)),
        visibility_config=_visible(names, rule),
    )
