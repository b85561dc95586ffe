"""Policies of SNS topics, SQS queues, secrets, ECR repositories, log groups and REST APIs."""

from collections.abc import Sequence

from components.iam.documents import (
    ANYONE,
    Document,
    Statement,
    allow,
    allow_service,
    deny,
    deny_insecure_transport,
    deny_other_accounts,
    document,
)
from components.iam.key_policies import ALARM_TOPIC, topic_key_use
from components.iam.sharing_roles import STAGE
from components.naming import Naming

NOTIFICATION_TOPIC = "notifications"
NOTIFYING_SERVICES = {
    "Service": [f"{service}.amazonaws.com" for service in ("events.rds", "backup", "budgets")],
}
"""Services that publish to the notification topic: RDS events, AWS Backup and AWS Budgets."""


def alarm_topic_policy(names: Naming) -> Document:
    """Allow CloudWatch alarms and EventBridge rules of the stack to publish, over TLS."""
    arn = names.arn("sns", names.name(ALARM_TOPIC))
    alarms, rules = (
        names.arn("cloudwatch", f"alarm:{names.name('*')}"),
        names.arn("events", f"rule/{names.name('*')}"),
    )
    publish, account = "sns:Publish", names.account
    return document(
        deny_insecure_transport(publish, [arn]),
        allow_service(
            "cloudwatch",
            "AllowCloudWatchAlarms",
            publish,
            [arn],
            account=account,
            source_arn=alarms,
        ),
        allow_service("events", "AllowEventBridgeRules", publish, [arn], source_arn=rules),
    )


def notification_topic_policy(names: Naming) -> Document:
    """Allow `NOTIFYING_SERVICES` to publish for the account, over TLS."""
    arn = names.arn("sns", names.name(NOTIFICATION_TOPIC))
    own_account = {"StringEquals": {"aws:SourceAccount": names.account}}
    return document(
        deny_insecure_transport("sns:Publish", [arn]),
        allow(
            "AllowServiceNotifications",
            "sns:Publish",
            [arn],
            principal=NOTIFYING_SERVICES,
            conditions=own_account,
        ),
    )


def notification_key_statements(names: Naming) -> tuple[Statement, ...]:
    """Return statements for the policy of the topic's key, which allow the services to encrypt
    messages for this topic.
    """
    return (
        topic_key_use("AllowServiceNotifications", names, NOTIFICATION_TOPIC, NOTIFYING_SERVICES),
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


def repository_policy(names: Naming, function_arns: tuple[str, ...]) -> Document:
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
    """Allow the log delivery service to write to the log group with this full name.

    Sources: CloudWatch Logs User Guide, "IAM permissions required to create or work with a data
    protection policy"; AWS WAF Developer Guide, "Permissions to publish logs to CloudWatch Logs".
    """
    write, streams = (
        "logs:CreateLogStream PutLogEvents",
        [f"{names.log_group_arn(log_group)}:log-stream:*"],
    )
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
