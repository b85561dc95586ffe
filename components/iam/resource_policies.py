"""Policies of SNS topics, SQS queues, secrets, ECR repositories, log groups and REST APIs."""

from collections.abc import Sequence

from components.iam.documents import (
    ANYONE,
    Document,
    Statement,
    allow,
    allow_key_use,
    allow_service,
    deny,
    deny_insecure_transport,
    deny_other_accounts,
    document,
)
from components.iam.key_policies import USE
from components.iam.sharing_roles import STAGE
from components.naming import NOTICES, Naming

TOPIC_PUBLISHERS = {
    "Service": [f"{service}.amazonaws.com" for service in ("cloudwatch", *NOTICES.values())]
}


def topic_policy(names: Naming, topic: str, notice: str | None = None) -> Document:
    """Allow CloudWatch alarms of the stack to publish to a topic over TLS.

    topic: name of the topic.
    notice: Kind of notice if it is a topic for notices, to which an AWS service publishes: event
        rules of the stack, or a service for the account.
    """
    publish, arn, account = "sns:Publish", names.arn("sns", topic), names.account
    service = NOTICES[notice] if notice else "cloudwatch"
    source = {
        "cloudwatch": {
            "account": account,
            "source_arn": names.arn("cloudwatch", f"alarm:{names.name('*')}"),
        },
        "events": {"source_arn": names.arn("events", f"rule/{names.name('*')}")},
    }.get(service, {"account": account})
    return document(
        deny_insecure_transport(publish, [arn]),
        allow_service(service, "AllowPublish", publish, [arn], **source),
    )


def log_key_statements(names: Naming, *, has_trail: bool) -> tuple[Statement, ...]:
    """Return the statements for the policy of the key for logs, which allow CloudWatch Logs to
    encrypt the log groups of the stack, and CloudTrail to encrypt its trail. Only an administrator
    can change the policy, so it must not depend on settings that a deployment of the pipeline can
    change, such as the Cores.
    """
    groups = [names.log_group_arn(group) for group in names.log_groups]
    cloud_trail = {"Service": "cloudtrail.amazonaws.com"}
    source = names.arn("cloudtrail", f"trail/{names.name('trail')}")
    trail = {"StringEquals": {"aws:SourceArn": source}}
    any_trail = names.any_arn("cloudtrail", "trail/*", "*")
    trails = {"StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": any_trail}}
    encryption = (
        allow_key_use(
            "AllowCloudTrailEncryption", "kms:GenerateDataKey*", cloud_trail, trail | trails
        ),
        allow_key_use("AllowCloudTrailDescribeKey", "kms:DescribeKey", cloud_trail, trail),
    )
    return (
        allow_key_use(
            "LogGroups",
            USE,
            {"Service": f"logs.{names.region}.amazonaws.com"},
            {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
        ),
        *(encryption if has_trail else ()),
    )


def topic_key_statement(names: Naming, topics: Sequence[str]) -> Statement:
    """Allow the publishers of topics to encrypt messages. The topic policy restricts the source,
    because key policies with a source condition are not supported for EventBridge (SNS Developer
    Guide, "Managing Amazon SNS encryption keys and costs").
    """
    arns = [names.arn("sns", topic) for topic in topics]
    return allow_key_use(
        "AllowTopicPublishers",
        "kms:Decrypt GenerateDataKey*",
        TOPIC_PUBLISHERS,
        {"StringEquals": {"kms:EncryptionContext:aws:sns:topicArn": arns}},
    )


def queue_policy(names: Naming, function: str) -> Document:
    """Return the policy of a function's dead-letter queue: the function's role can send messages
    over TLS, and other accounts have no access. Consumers need an identity policy."""
    arn = names.arn("sqs", names.dead_letter_queue(function))
    return document(
        deny_insecure_transport("sqs:*", [arn]),
        deny_other_accounts("sqs:*", [arn], names.account),
        allow(
            "AllowFunctionRole",
            "sqs:SendMessage",
            [arn],
            principal={"AWS": names.role_arn(function)},
        ),
    )


def secret_policy(names: Naming, reader_arns: tuple[str, ...]) -> Document:
    """Deny reads by every principal except the readers, and all access from other accounts."""
    other = {"ArnNotLike": {"aws:PrincipalArn": list(reader_arns)}}
    return document(
        deny(
            "DenyOtherReaders",
            "secretsmanager:GetSecretValue BatchGetSecretValue",
            ["*"],
            conditions=other,
        ),
        deny_other_accounts("secretsmanager:*", ["*"], names.account),
    )


def repository_policy(function_arns: tuple[str, ...]) -> Document:
    """Allow Lambda to pull the image for these functions. A repository policy has no Resource
    element.

    The documented policy has a condition on the source ARN only. Source: Lambda Developer Guide,
    "Amazon ECR permissions".
    """
    pull, functions = "ecr:BatchGetImage GetDownloadUrlForLayer", list(function_arns)
    statement = allow_service("lambda", "AllowLambdaPull", pull, [], source_arn=functions)
    del statement["Resource"]
    return document(statement)


def log_delivery_policy(names: Naming, sid: str, log_group: str) -> Document:
    """Allow the log delivery service to write to the log groups with this full name.

    Sources: CloudWatch Logs User Guide, "IAM permissions required to create or work with a data
    protection policy"; AWS WAF Developer Guide, "Permissions to publish logs to CloudWatch Logs".
    """
    write = "logs:CreateLogStream PutLogEvents"
    streams = [f"{names.log_group_arn(log_group)}:log-stream:*"]
    source = names.arn("logs", "*")
    return document(
        allow_service(
            "delivery.logs", sid, write, streams, account=names.account, source_arn=source
        )
    )


def rest_api_policy(names: Naming, methods: Sequence[str]) -> Document:
    """Allow every caller to invoke these methods of the stage, over TLS. The link's token
    authorizes the request.

    API Gateway generates the API ID, so the ARNs contain a wildcard. The policy is attached to one
    API and affects no other.
    """
    arns = [names.arn("execute-api", f"*/{STAGE}/{method}/*") for method in methods]
    return document(
        allow("AllowPublicInvoke", "execute-api:Invoke", arns, principal=ANYONE),
        deny_insecure_transport("execute-api:Invoke", [names.arn("execute-api", "*")]),
    )
