"""Rules about SNS topics: encrypted, over TLS, and closed to strangers."""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, Violation, stack_rule

_GUIDE = "https://docs.aws.amazon.com/sns/latest/dg"


@stack_rule(
    "GH-SNS-001",
    title="Topics are encrypted, take TLS only, and no stranger publishes",
    why="Alarms tell an attacker what was seen; a false alarm of a stranger sends people to the wrong place.",
    remedy="set kmsMasterKeyId to a customer key, and add an aws.sns.TopicPolicy that denies aws:SecureTransport=false",
    severity=Severity.MEDIUM,
    types=tokens.TOPIC,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("SNS.1", "SNS.4"),
        cis=("2.21",),
        checkov=("CKV_AWS_26", "CKV_AWS_169", "CKV_AWS_385"),
        prowler=("sns_topics_kms_encryption_at_rest_enabled", "sns_topics_not_publicly_accessible"),
        cdk_nag=("SNS3",),
    ),
    url=f"{_GUIDE}/sns-security-best-practices.html",
)
def topics_are_closed(topic: Resource, stack: Stack) -> Found:
    if not topic.props.has("kmsMasterKeyId"):
        yield "kmsMasterKeyId is not set"
    elif topic.props.known("kmsMasterKeyId") and topic.props.text("kmsMasterKeyId").startswith("alias/aws/"):
        yield "kmsMasterKeyId is the key that AWS manages, with which no alarm can be encrypted"
    holders = [topic] if topic.props.has("policy") else []
    documents = [
        iam_document.parse(holder.props.value("policy")) for holder in (*holders, *stack.users(topic, tokens.TOPIC_POLICY, "arn"))
    ]
    if not any(_refuses_plain_http(document) for document in documents):
        yield "no policy of this topic denies requests without TLS"
    if any(iam_document.allows_public(document) for document in documents):
        fix = "name the principals, or add a condition on aws:SourceAccount or aws:SourceArn"
        yield Violation('the topic policy allows to anyone ("*")', fix)


def _refuses_plain_http(document: iam_document.Document) -> bool:
    return any(
        deny.is_for_everyone()
        and deny.covers_action("sns:Publish")
        and [(one.operator, one.key, one.values) for one in deny.conditions] == [("bool", "aws:securetransport", ("false",))]
        for deny in document.denies
    )
