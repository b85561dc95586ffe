"""Rules for SQS queues."""

from functools import partial

from pulumi_local.lists import leaves
from pulumi_local.type_tokens import aws, by_token

from gatehouse_policies.analysis.iam.denials import denies_requests_without_tls
from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    effective_documents,
    is_evaluated_elsewhere,
    public_or_foreign_access,
    resource_documents,
)
from gatehouse_policies.analysis.properties import Properties, is_unknown
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import any_of, is_not_false, is_set
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_queue_rule = partial(stack_rule, types=aws("sqs.Queue"))
_ACTIONS = ("sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage")


queue_is_encrypted = resource_rule("GH-SQS-001", types=aws("sqs.Queue")).requires(
    # SQS encrypts a queue with its own key if the program sets neither property.
    any_of(
        is_set("kmsMasterKeyId"),
        is_not_false("sqsManagedSseEnabled"),
        message="sqsManagedSseEnabled is false and kmsMasterKeyId is not set",
    )
)


@stack_rule("GH-SQS-002", types=aws("sqs.Queue", "sqs.QueuePolicy"), lists=ACCOUNTS)
def queue_policy_is_not_public(queue: Resource, stack: Stack) -> CheckResults:
    policies = aws("sqs.QueuePolicy")
    if is_evaluated_elsewhere(queue, stack, policies, "queueUrl", aws("sqs.Queue")):
        return
    for document in resource_documents(queue, stack, policies, "queueUrl"):
        yield from public_or_foreign_access(document, queue, "the queue policy")


@_queue_rule("GH-SQS-003")
def queue_requires_tls(queue: Resource, stack: Stack) -> CheckResults:
    documents = effective_documents(queue, stack, aws("sqs.QueuePolicy"), "queueUrl")
    name = queue.props.known_text("name")
    denied = [denies_requests_without_tls(item, *_ACTIONS, name=name) for item in documents]
    if not denied or not all(denied):
        yield "no queue policy denies requests without TLS"


@_queue_rule("GH-SQS-004")
def queue_has_dead_letter_queue(queue: Resource, stack: Stack) -> CheckResults:
    if queue.props.has("redrivePolicy") or stack.referencing(
        queue, aws("sqs.RedrivePolicy"), "queueUrl"
    ):
        return
    if not _is_dead_letter_queue(queue, stack):
        yield "redrivePolicy is not set"


# Property that names a dead-letter queue, keyed by resource type. SNS, EventBridge and Lambda
# deliver failed events to a queue.
_DEAD_LETTER_PROPERTIES = by_token(
    {
        "sqs.Queue": "redrivePolicy",
        "sqs.RedrivePolicy": "redrivePolicy",
        "sns.TopicSubscription": "redrivePolicy",
        "lambda.Function": "deadLetterConfig",
        "cloudwatch.EventTarget": "deadLetterConfig",
        "lambda.FunctionEventInvokeConfig": "destinationConfig.onFailure",
        "lambda.EventSourceMapping": "destinationConfig",
        "scheduler.Schedule": "target.deadLetterConfig",
    }
)


def _is_dead_letter_queue(queue: Resource, stack: Stack) -> bool:
    """True if the queue receives failed messages or events, or allows other queues to use it as a
    dead-letter queue.
    """
    return queue.props.has("redriveAllowPolicy") or any(
        not name or _names(source.props.block(prop).block(name), queue)
        for type_, path in _DEAD_LETTER_PROPERTIES.items()
        for prop, _, name in [path.partition(".")]
        for source in stack.referencing(queue, (type_,), prop)
    )


def _names(block: Properties, queue: Resource) -> bool:
    values = [value for _, value in leaves(block.plain(), "")]
    return any(is_unknown(value) or value in queue.identifiers for value in values)
