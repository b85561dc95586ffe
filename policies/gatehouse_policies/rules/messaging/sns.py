"""Rules for SNS topics."""

from urllib.parse import urlsplit

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.iam.denials import denies_requests_without_tls
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    effective_documents,
    is_evaluated_elsewhere,
    public_or_foreign_access,
    resource_documents,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.rule import CheckResults, Violation, stack_rule


@stack_rule(
    "GH-SNS-001",
    types=aws("sns.Topic", "sns.TopicPolicy", "sns.TopicSubscription"),
    lists={**ACCOUNTS, "hosts": ()},
)
def topic_is_encrypted_and_private(topic: Resource, stack: Stack) -> CheckResults:
    if topic.type in aws("sns.TopicSubscription"):
        if topic.props.text("protocol") == "http":
            yield Violation("protocol is http", 'set protocol="https"')
        elif host := _unknown_host(topic):
            fix = "add the host to `hosts` in the configuration file, or remove the subscription"
            yield Violation(f"messages go to {host}, which is not in the list `hosts`", fix)
        return
    policies = aws("sns.TopicPolicy")
    if is_evaluated_elsewhere(topic, stack, policies, "arn", aws("sns.Topic")):
        return
    if topic.type in policies:
        pass  # The topic is in another stack.
    elif not topic.props.has("kmsMasterKeyId"):
        yield "kmsMasterKeyId is not set"
    elif not topic.props.is_customer_key("kmsMasterKeyId"):
        yield "kmsMasterKeyId is an AWS managed key, which CloudWatch alarms cannot use"
    documents = resource_documents(topic, stack, policies, "arn")
    name = topic.props.known_text("arn" if topic.type in policies else "name").rpartition(":")[2]
    effective = effective_documents(topic, stack, policies, "arn")
    denied = [denies_requests_without_tls(item, "sns:Publish", name=name) for item in effective]
    if not denied or not all(denied):
        yield "no topic policy denies requests without TLS"
    for document in documents:
        for message in public_or_foreign_access(document, topic, "the topic policy"):
            fix = "name the principals, or add the account to `accounts` in policies.toml"
            yield Violation(message, fix)


def _unknown_host(subscription: Resource) -> str:
    """The host of an HTTPS endpoint that is neither an output of the program nor declared."""
    props = subscription.props
    if props.text("protocol") != "https" or subscription.property_dependencies.get("endpoint"):
        return ""
    host = urlsplit(props.text("endpoint")).hostname or ""
    own = subscription.lists["hosts"]
    return "" if any(host == name or host.endswith(f".{name}") for name in own) else host
