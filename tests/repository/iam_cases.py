"""IAM requests and the decisions of prod's policies."""

from collections.abc import Mapping
from functools import partial

from components.naming import PAGES
from tests.iam_evaluation import Effect
from tests.repository.iam_requests import (
    ADMINISTRATOR,
    ALLOWED,
    EXPLICIT_DENY,
    IMPLICIT_DENY,
    OPERATOR,
    OTHER_ACCOUNT,
    OTHER_ACCOUNT_ROLE,
    Request,
    secret_arn,
    source,
)
from tools.docs.iam_documents import NAMES, SETTINGS

READ_SECRET = "secretsmanager:GetSecretValue"
DECRYPT, DATA_KEY, REPLICATE = "kms:Decrypt", "kms:GenerateDataKey", "kms:ReplicateKey"
GET_OBJECT, PUT_OBJECT, ASSUME_ROLE, PULL = (
    "s3:GetObject",
    "s3:PutObject",
    "sts:AssumeRole",
    "ecr:BatchGetImage",
)
CLOUDTRAIL, CLOUDWATCH, EVENTBRIDGE, S3_LOGGING, ECS, LAMBDA = (
    f"{service}.amazonaws.com"
    for service in ("cloudtrail", "cloudwatch", "events", "logging.s3", "ecs-tasks", "lambda")
)
LOGS = f"logs.{NAMES.region}.amazonaws.com"
DATA = NAMES.bucket_arn("data")
RUNTIME_IMAGES = NAMES.arn("ecr", f"repository/{NAMES.name('runtime')}")
TRAIL = NAMES.arn("cloudtrail", f"trail/{NAMES.name('trail')}")


def on_secret(
    case: str, principal: str, kind: str, expected: Effect, action: str = READ_SECRET
) -> Request:
    return Request(case, principal, action, secret_arn(kind), expected, on=("secret", kind))


def on_key(
    key: str, case: str, principal: str, action: str, expected: Effect, context: Mapping[str, str]
) -> Request:
    return Request(case, principal, action, "*", expected, context, ("key", key))


def on_bucket(
    bucket: str,
    case: str,
    principal: str,
    action: str,
    path: str,
    expected: Effect,
    context: Mapping[str, str],
) -> Request:
    return Request(
        case,
        principal,
        action,
        f"{NAMES.bucket_arn(bucket)}/{path}",
        expected,
        context,
        ("bucket", bucket),
    )


def on_role(
    case: str, principal: str, role: str, expected: Effect, context: Mapping[str, str] | None = None
) -> Request:
    return Request(
        case, principal, ASSUME_ROLE, NAMES.role_arn(role), expected, context or {}, ("role", role)
    )


SECRETS = [
    *(
        on_secret(f"{principal.rpartition('/')[2]}, {kind}", principal, kind, expected)
        for principal, kind, expected in (
            ("gateway-execution", "pepper", ALLOWED),
            ("gateway-execution", "session-key", EXPLICIT_DENY),
            ("gateway-task", "pepper", EXPLICIT_DENY),
            (ADMINISTRATOR, "pepper", EXPLICIT_DENY),
            (OPERATOR, "bootstrap-token", ALLOWED),
            (OPERATOR, "session-key", EXPLICIT_DENY),
            ("gateway-execution", "canary-key", ALLOWED),
            ("probe", "canary-key", ALLOWED),
            ("smoke", "canary-key", ALLOWED),
            ("probe", "pepper", EXPLICIT_DENY),
            ("gateway-task", "canary-key", EXPLICIT_DENY),
            (OPERATOR, "canary-key", EXPLICIT_DENY),
        )
    ),
    on_secret(
        "other account, secret",
        OTHER_ACCOUNT_ROLE,
        "pepper",
        EXPLICIT_DENY,
        "secretsmanager:DescribeSecret",
    ),
]


def via(service: str, **context: str) -> dict[str, str]:
    """The context of a KMS request that an AWS service sends for a principal of the account."""
    return {
        "kms:CallerAccount": NAMES.account,
        "kms:ViaService": f"{service}.{NAMES.region}.amazonaws.com",
        **context,
    }


def for_secret(kind: str) -> dict[str, str]:
    return {"kms:EncryptionContext:SecretARN": secret_arn(kind)}


def for_trail(arn: str) -> dict[str, str]:
    return {"aws:SourceArn": arn, "kms:EncryptionContext:aws:cloudtrail:arn": arn}


def for_topic(topic: str) -> dict[str, str]:
    """The context of a KMS request that SNS sends for a message to a topic of the stack."""
    return {"kms:EncryptionContext:aws:sns:topicArn": NAMES.arn("sns", NAMES.name(topic))}


def for_bucket(bucket: str) -> dict[str, str]:
    return via("s3", **{"kms:EncryptionContext:aws:s3:arn": NAMES.bucket_arn(bucket)})


DIRECT = {"kms:CallerAccount": NAMES.account}
SECOND_REGION = {**DIRECT, "kms:ReplicaRegion": SETTINGS["second_region"]}
LOG_GROUP = "kms:EncryptionContext:aws:logs:arn"
GATEWAY_LOGS = NAMES.log_group_arn(NAMES.log_group("gateway"))
LINKS_TABLE = via(
    "dynamodb",
    **{
        "kms:EncryptionContext:aws:dynamodb:tableName": NAMES.name("tokens"),
        "kms:EncryptionContext:aws:dynamodb:subscriberId": NAMES.account,
    },
)
secrets_key, data_key, logs_key, alarms_key, backup_key = (
    partial(on_key, key) for key in ("secrets", "data", "logs", "alarms", "backup")
)
PEPPER = via("secretsmanager", **for_secret("pepper"))
SESSION_KEY = via("secretsmanager", **for_secret("session-key"))
CANARY_KEY = via("secretsmanager", **for_secret("canary-key"))
CORE_CREDENTIAL = via("secretsmanager", **for_secret("core-credentials/docs"))
KEYS = [
    secrets_key("pepper decrypted for ECS", "gateway-execution", DECRYPT, ALLOWED, PEPPER),
    secrets_key(
        "pepper without ViaService",
        "gateway-execution",
        DECRYPT,
        IMPLICIT_DENY,
        DIRECT | for_secret("pepper"),
    ),
    secrets_key(
        "session key for the gateway", "gateway-execution", DECRYPT, IMPLICIT_DENY, SESSION_KEY
    ),
    secrets_key("probe, canary key", "probe", DECRYPT, ALLOWED, CANARY_KEY),
    secrets_key("probe, pepper", "probe", DECRYPT, IMPLICIT_DENY, PEPPER),
    secrets_key("gateway task, pepper", "gateway-task", DECRYPT, IMPLICIT_DENY, PEPPER),
    secrets_key("gateway task, credential", "gateway-task", DECRYPT, ALLOWED, CORE_CREDENTIAL),
    secrets_key(
        "console task, credential", "console-task", DECRYPT, IMPLICIT_DENY, CORE_CREDENTIAL
    ),
    data_key("console decrypts the links table", "console-task", DECRYPT, ALLOWED, LINKS_TABLE),
    data_key("gateway, links table", "gateway-task", DECRYPT, IMPLICIT_DENY, LINKS_TABLE),
    data_key("console encrypts an export", "console-task", DATA_KEY, ALLOWED, for_bucket("data")),
    data_key(
        "console, another bucket", "console-task", DATA_KEY, IMPLICIT_DENY, for_bucket("logs")
    ),
    data_key(
        "gateway encrypts no export", "gateway-task", DATA_KEY, IMPLICIT_DENY, for_bucket("data")
    ),
    data_key("administrator without ViaService", ADMINISTRATOR, DECRYPT, IMPLICIT_DENY, DIRECT),
    data_key("administrator restores a database", ADMINISTRATOR, DECRYPT, ALLOWED, via("rds")),
    data_key(
        "administrator creates no grant", ADMINISTRATOR, "kms:CreateGrant", IMPLICIT_DENY, DIRECT
    ),
    data_key(
        "other account, key policy",
        OTHER_ACCOUNT_ROLE,
        "kms:PutKeyPolicy",
        IMPLICIT_DENY,
        {"kms:CallerAccount": OTHER_ACCOUNT},
    ),
    backup_key("replica in the second region", ADMINISTRATOR, REPLICATE, ALLOWED, SECOND_REGION),
    backup_key(
        "replica in another region",
        ADMINISTRATOR,
        REPLICATE,
        IMPLICIT_DENY,
        SECOND_REGION | {"kms:ReplicaRegion": "us-east-1"},
    ),
    data_key("replica of another key", ADMINISTRATOR, REPLICATE, IMPLICIT_DENY, SECOND_REGION),
    logs_key("log group of the stack", LOGS, "kms:Encrypt", ALLOWED, {LOG_GROUP: GATEWAY_LOGS}),
    logs_key(
        "other log group",
        LOGS,
        "kms:Encrypt",
        IMPLICIT_DENY,
        {LOG_GROUP: NAMES.log_group_arn("/others")},
    ),
    logs_key("trail of the stack", CLOUDTRAIL, DATA_KEY, ALLOWED, for_trail(TRAIL)),
    logs_key("other trail", CLOUDTRAIL, DATA_KEY, IMPLICIT_DENY, for_trail(f"{TRAIL}-2")),
    *(
        alarms_key(
            f"{publisher} publishes to the {topic} topic",
            publisher,
            action,
            expected,
            for_topic(topic),
        )
        # EventBridge sends the encryption context of SNS and no source (SNS Developer Guide, "Key
        # management").
        for publisher in (CLOUDWATCH, EVENTBRIDGE)
        for action in (DECRYPT, DATA_KEY)
        for topic, expected in ((PAGES, ALLOWED), ("others", IMPLICIT_DENY))
    ),
]

TLS = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
SSE = "s3:x-amz-server-side-encryption"
TRAIL_FILE = f"AWSLogs/{NAMES.account}/CloudTrail/x.json.gz"
FROM_TRAIL = {**TLS, "aws:SourceArn": TRAIL, "s3:x-amz-acl": "bucket-owner-full-control"}
FROM_DATA = TLS | source(NAMES.account, DATA)
FROM_OTHERS = TLS | source(NAMES.account, "arn:aws:s3:::others")
in_data, in_trail, in_logs = (partial(on_bucket, bucket) for bucket in ("data", "trail", "logs"))
BUCKETS = [
    in_data("administrator over TLS", ADMINISTRATOR, PUT_OBJECT, "a", ALLOWED, TLS),
    *(
        in_data(case, ADMINISTRATOR, PUT_OBJECT, "a", EXPLICIT_DENY, {**TLS, **context})
        for case, context in (
            ("plain HTTP", {"aws:SecureTransport": "false"}),
            ("TLS 1.1", {"s3:TlsVersion": "1.1"}),
            ("customer-provided key", {f"{SSE}-customer-algorithm": "AES256"}),
            ("another KMS key", {f"{SSE}-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/x"}),
            ("SSE-S3 instead of SSE-KMS", {SSE: "AES256"}),
        )
    ),
    in_data("other account, object", OTHER_ACCOUNT_ROLE, GET_OBJECT, "a", EXPLICIT_DENY, TLS),
    in_data("console writes an export", "console-task", PUT_OBJECT, "exports/x", ALLOWED, TLS),
    in_data("console reads an export", "console-task", GET_OBJECT, "exports/x", ALLOWED, TLS),
    in_data("deletion", "console-task", "s3:DeleteObject", "exports/x", IMPLICIT_DENY, TLS),
    in_data("other object", "console-task", GET_OBJECT, "a", IMPLICIT_DENY, TLS),
    in_data("gateway reads no export", "gateway-task", GET_OBJECT, "exports/x", IMPLICIT_DENY, TLS),
    *(
        in_trail(f"{call} {ok}", "console-task", f"s3:{call}", "checkpoints/x", ok, TLS | once)
        for call, ok, once in (
            ("PutObject", EXPLICIT_DENY, {}),
            ("ReplicateDelete", EXPLICIT_DENY, {}),
            ("PutObject", ALLOWED, {"s3:if-none-match": "*"}),
        )
    ),
    *(
        in_trail(f"CloudTrail, {case}", CLOUDTRAIL, PUT_OBJECT, TRAIL_FILE, expected, context)
        for case, expected, context in (
            ("own trail", ALLOWED, FROM_TRAIL),
            ("other trail", IMPLICIT_DENY, {**FROM_TRAIL, "aws:SourceArn": f"{TRAIL}-2"}),
            ("without owner control", IMPLICIT_DENY, {**TLS, "aws:SourceArn": TRAIL}),
        )
    ),
    *(
        in_logs(f"S3 access logs {case}", S3_LOGGING, PUT_OBJECT, path, expected, context)
        for case, path, expected, context in (
            ("of the data bucket", "s3/x", ALLOWED, FROM_DATA),
            ("of another bucket", "s3/x", IMPLICIT_DENY, FROM_OTHERS),
            ("under another prefix", "else/x", IMPLICIT_DENY, FROM_DATA),
        )
    ),
]

CLUSTER, OTHER_CLUSTER = (
    NAMES.arn("ecs", "cluster/x"),
    f"arn:aws:ecs:eu-west-1:{OTHER_ACCOUNT}:cluster/x",
)
ROLES = [
    *(
        on_role(f"{case}, gateway task role", service, "gateway-task", expected, context)
        for case, service, expected, context in (
            ("ECS", ECS, ALLOWED, source(NAMES.account, CLUSTER)),
            ("ECS of another account", ECS, IMPLICIT_DENY, source(OTHER_ACCOUNT, OTHER_CLUSTER)),
            ("Lambda", LAMBDA, IMPLICIT_DENY, source(NAMES.account, CLUSTER)),
        )
    ),
    on_role("administrator assumes no task role", ADMINISTRATOR, "gateway-task", IMPLICIT_DENY),
]

SAME_ACCOUNT = {"aws:ResourceAccount": NAMES.account}
ENDPOINTS = [
    Request(
        "endpoint passes the pepper",
        "gateway-execution",
        READ_SECRET,
        secret_arn("pepper"),
        ALLOWED,
        SAME_ACCOUNT,
        ("secret", "pepper"),
        "secretsmanager",
    ),
    Request(
        "endpoint passes an export",
        "console-task",
        PUT_OBJECT,
        f"{DATA}/exports/x",
        ALLOWED,
        {**TLS, **SAME_ACCOUNT},
        ("bucket", "data"),
        "s3",
    ),
]


INTERNET, API = "198.51.100.23:anonymous", ("api", "sharing")
STAGE, OTHER_METHOD = (
    NAMES.arn("execute-api", f"a1b2c3d4e5/live/{method}/") for method in ("GET", "DELETE")
)
FUNCTION_ARN, OTHER_FUNCTION = (
    NAMES.arn("lambda", f"function:{name}") for name in (NAMES.name("sharing"), "other")
)
SHARING_FUNCTION = [
    *(
        Request(
            f"sharing API, {case}",
            INTERNET,
            "execute-api:Invoke",
            resource,
            expected,
            {"aws:SecureTransport": tls},
            API,
        )
        for case, resource, expected, tls in (
            ("anyone over TLS", STAGE, ALLOWED, "true"),
            ("plain HTTP", STAGE, EXPLICIT_DENY, "false"),
            ("other method", OTHER_METHOD, IMPLICIT_DENY, "true"),
        )
    ),
    *(
        Request(
            f"Lambda pulls for {case}",
            LAMBDA,
            PULL,
            RUNTIME_IMAGES,
            expected,
            source(NAMES.account, arn),
            ("repository", "runtime"),
        )
        for case, arn, expected in (
            ("the sharing function", FUNCTION_ARN, ALLOWED),
            ("another function", OTHER_FUNCTION, IMPLICIT_DENY),
        )
    ),
]

QUEUE = ("queue", "rotate"), NAMES.arn("sqs", NAMES.dead_letter_queue("rotate"))
TOPIC = ("topic", PAGES), NAMES.arn("sns", NAMES.name(PAGES))
VAULT, COPY = (("vault", "main"), "*"), "backup:CopyIntoBackupVault"
DENIALS = [
    Request(case, principal, action, resource, EXPLICIT_DENY, {"aws:SecureTransport": tls}, on)
    for case, principal, action, (on, resource), tls in (
        ("other account, queue", OTHER_ACCOUNT_ROLE, "sqs:ReceiveMessage", QUEUE, "true"),
        ("queue, plain HTTP", ADMINISTRATOR, "sqs:ReceiveMessage", QUEUE, "false"),
        ("topic, plain HTTP", ADMINISTRATOR, "sns:Publish", TOPIC, "false"),
        ("other account, copy of a backup", OTHER_ACCOUNT_ROLE, COPY, VAULT, "true"),
        ("deletion of a backup", ADMINISTRATOR, "backup:DeleteRecoveryPoint", VAULT, "true"),
    )
]

REQUESTS = [*SECRETS, *KEYS, *BUCKETS, *ROLES, *ENDPOINTS, *SHARING_FUNCTION, *DENIALS]
