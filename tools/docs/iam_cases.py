"""Questions about who may do what in prod, each with the answer that the documents must give; docs/permissions.md shows them."""

from __future__ import annotations

from tools.docs.iam_cases_function import FUNCTION
from tools.docs.iam_decisions import ADMINISTRATOR, AWAY, NAMES, OPERATOR, OTHER, STRANGER, WIDENED, Question, a_secret, came_from
from tools.docs.iam_decisions import ALLOWED as YES
from tools.docs.iam_decisions import DENIED as NEVER
from tools.docs.iam_decisions import NOT_ALLOWED as NO

_CLOUDTRAIL, _CLOUDWATCH, _ACCESS_LOGS, _ECS = (
    f"{service}.amazonaws.com" for service in ("cloudtrail", "cloudwatch", "logging.s3", "ecs-tasks")
)
_READ = "secretsmanager:GetSecretValue"
_MANAGED = NAMES.arn("secretsmanager", "secret:rds!db-0a1b-a1B2c3")
_TAG = "secretsmanager:ResourceTag/aws:rds:primaryDBInstanceArn"
_TABLE = NAMES.table_arn("tokens")

SECRETS = [
    Question(
        "ECS injects the pepper into the gateway", "gateway-execution", _READ, a_secret("pepper"), YES, on=("secret", "pepper")
    ),
    Question(
        "but no secret of the console", "gateway-execution", _READ, a_secret("session-key"), NEVER, on=("secret", "session-key")
    ),
    Question("the running gateway reads no secret", "gateway-task", _READ, a_secret("pepper"), NEVER, on=("secret", "pepper")),
    Question("neither does an administrator", ADMINISTRATOR, _READ, a_secret("pepper"), NEVER, on=("secret", "pepper")),
    Question(
        "an operator reads the first sign-in", OPERATOR, _READ, a_secret("bootstrap-token"), YES, on=("secret", "bootstrap-token")
    ),
    Question("and nothing else", OPERATOR, _READ, a_secret("session-key"), NEVER, on=("secret", "session-key")),
    Question(
        "another account does nothing to a secret",
        STRANGER,
        "secretsmanager:DescribeSecret",
        a_secret("pepper"),
        NEVER,
        on=("secret", "pepper"),
    ),
    Question("the rotation writes a secret it makes", "rotate", "secretsmanager:PutSecretValue", a_secret("pepper"), YES),
    Question("no other secret", "rotate", "secretsmanager:PutSecretValue", a_secret("other"), NO),
    Question("and deletes none", "rotate", "secretsmanager:DeleteSecret", a_secret("pepper"), NEVER),
    Question(
        "the migration gets the owner's password of our database",
        "migrate-execution",
        _READ,
        _MANAGED,
        YES,
        {_TAG: NAMES.database_arn},
    ),
    Question("not that of another database", "migrate-execution", _READ, _MANAGED, NO, {_TAG: NAMES.arn("rds", "db:other")}),
    Question("nor that of a database it cannot tell", "migrate-execution", _READ, _MANAGED, NO),
]


def _via(service: str, **context: str) -> dict[str, str]:
    return {"kms:CallerAccount": NAMES.account, "kms:ViaService": f"{service}.{NAMES.region}.amazonaws.com", **context}


def _for_secret(kind: str) -> dict[str, str]:
    return {"kms:EncryptionContext:SecretARN": a_secret(kind)}


def _trail(arn: str) -> dict[str, str]:
    return {"aws:SourceArn": arn, "kms:EncryptionContext:aws:cloudtrail:arn": arn}


_DIRECT = {"kms:CallerAccount": NAMES.account}
_ALARM = NAMES.arn("cloudwatch", f"alarm:{NAMES.name('gateway-5xx')}")
_SECRETS_KEY, _DATA_KEY, _LOGS_KEY, _BACKUP_KEY = (("key", name) for name in ("secrets", "data", "logs", "backup"))
_REPLICA = {**_DIRECT, "kms:ReplicaRegion": AWAY}
_LOG = "kms:EncryptionContext:aws:logs:arn"
_TRAIL = NAMES.arn("cloudtrail", f"trail/{NAMES.name('trail')}")
_LOGS = f"logs.{NAMES.region}.amazonaws.com"
_TOKENS = {
    "kms:EncryptionContext:aws:dynamodb:tableName": NAMES.name("tokens"),
    "kms:EncryptionContext:aws:dynamodb:subscriberId": NAMES.account,
}

_BUCKET = "kms:EncryptionContext:aws:s3:arn"
_OBJECT = {_BUCKET: NAMES.bucket_arn("data")}

KEYS = [
    Question(
        "the pepper is opened for ECS",
        "gateway-execution",
        "kms:Decrypt",
        "*",
        YES,
        _via("secretsmanager", **_for_secret("pepper")),
        _SECRETS_KEY,
    ),
    Question(
        "through Secrets Manager alone",
        "gateway-execution",
        "kms:Decrypt",
        "*",
        NO,
        _DIRECT | _for_secret("pepper"),
        _SECRETS_KEY,
    ),
    Question(
        "and no other secret",
        "gateway-execution",
        "kms:Decrypt",
        "*",
        NO,
        _via("secretsmanager", **_for_secret("session-key")),
        _SECRETS_KEY,
    ),
    Question(
        "the running gateway opens nothing",
        "gateway-task",
        "kms:Decrypt",
        "*",
        NO,
        _via("secretsmanager", **_for_secret("pepper")),
        _SECRETS_KEY,
    ),
    Question(
        "the console reads the tokens table", "console-task", "kms:Decrypt", "*", YES, _via("dynamodb", **_TOKENS), _DATA_KEY
    ),
    Question("the gateway does not", "gateway-task", "kms:Decrypt", "*", NO, _via("dynamodb", **_TOKENS), _DATA_KEY),
    Question(
        "a sealed export is encrypted for the console",
        "console-task",
        "kms:GenerateDataKey",
        "*",
        YES,
        _via("s3", **_OBJECT),
        _DATA_KEY,
    ),
    Question(
        "in no other bucket",
        "console-task",
        "kms:GenerateDataKey",
        "*",
        NO,
        _via("s3", **{_BUCKET: NAMES.bucket_arn("logs")}),
        _DATA_KEY,
    ),
    Question("and not for the gateway", "gateway-task", "kms:GenerateDataKey", "*", NO, _via("s3", **_OBJECT), _DATA_KEY),
    Question("an administrator uses no key by hand", ADMINISTRATOR, "kms:Decrypt", "*", NO, _DIRECT, _DATA_KEY),
    Question("but restores a database with it", ADMINISTRATOR, "kms:Decrypt", "*", YES, _via("rds"), _DATA_KEY),
    Question("grants are made for services alone", ADMINISTRATOR, "kms:CreateGrant", "*", NO, _DIRECT, _DATA_KEY),
    Question(
        "another account administers no key", STRANGER, "kms:PutKeyPolicy", "*", NO, {"kms:CallerAccount": OTHER}, _DATA_KEY
    ),
    Question(
        "whoever deploys makes the replica of the backup key", ADMINISTRATOR, "kms:ReplicateKey", "*", YES, _REPLICA, _BACKUP_KEY
    ),
    Question(
        "in the second region alone",
        ADMINISTRATOR,
        "kms:ReplicateKey",
        "*",
        NO,
        _REPLICA | {"kms:ReplicaRegion": "us-east-1"},
        _BACKUP_KEY,
    ),
    Question("and of no other key", ADMINISTRATOR, "kms:ReplicateKey", "*", NO, _REPLICA, _DATA_KEY),
    Question(
        "CloudWatch Logs encrypts our log groups",
        _LOGS,
        "kms:Encrypt",
        "*",
        YES,
        {_LOG: NAMES.log_group_arn(NAMES.log_group("gateway"))},
        _LOGS_KEY,
    ),
    Question("and no others", _LOGS, "kms:Encrypt", "*", NO, {_LOG: NAMES.log_group_arn("/others")}, _LOGS_KEY),
    Question("CloudTrail encrypts our trail", _CLOUDTRAIL, "kms:GenerateDataKey", "*", YES, _trail(_TRAIL), _LOGS_KEY),
    Question("and no other", _CLOUDTRAIL, "kms:GenerateDataKey", "*", NO, _trail(f"{_TRAIL}-2"), _LOGS_KEY),
    Question(
        "alarms publish to the encrypted topic", _CLOUDWATCH, "kms:Decrypt", "*", YES, came_from(NAMES.account, _ALARM), _LOGS_KEY
    ),
    Question("those of our account", _CLOUDWATCH, "kms:Decrypt", "*", NO, came_from(OTHER, _ALARM), _LOGS_KEY),
]

_ON_DATA, _ON_TRAIL, _ON_LOGS = (("bucket", name) for name in ("data", "trail", "logs"))
_PLAIN = {"aws:SecureTransport": "false"}
_TLS = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}
_DATA, _SINK = NAMES.bucket_arn("data"), NAMES.bucket_arn("logs")
_EVIDENCE = f"{NAMES.bucket_arn('trail')}/AWSLogs/{NAMES.account}/CloudTrail/x.json.gz"
_SSE = "s3:x-amz-server-side-encryption"
_FROM_TRAIL = {**_TLS, "aws:SourceArn": _TRAIL, "s3:x-amz-acl": "bucket-owner-full-control"}

BUCKETS = [
    Question("over TLS, an administrator may", ADMINISTRATOR, "s3:PutObject", f"{_DATA}/a", YES, _TLS, _ON_DATA),
    Question("without TLS nobody may", ADMINISTRATOR, "s3:GetObject", f"{_DATA}/a", NEVER, _PLAIN, _ON_DATA),
    Question("nor with TLS 1.1", ADMINISTRATOR, "s3:GetObject", f"{_DATA}/a", NEVER, {**_TLS, "s3:TlsVersion": "1.1"}, _ON_DATA),
    Question(
        "nobody brings a key of his own",
        ADMINISTRATOR,
        "s3:PutObject",
        f"{_DATA}/a",
        NEVER,
        {**_TLS, f"{_SSE}-customer-algorithm": "AES256"},
        _ON_DATA,
    ),
    Question(
        "nor names another KMS key",
        ADMINISTRATOR,
        "s3:PutObject",
        f"{_DATA}/a",
        NEVER,
        {**_TLS, f"{_SSE}-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/x"},
        _ON_DATA,
    ),
    Question(
        "nor asks for weaker encryption", ADMINISTRATOR, "s3:PutObject", f"{_DATA}/a", NEVER, {**_TLS, _SSE: "AES256"}, _ON_DATA
    ),
    Question("another account is out", STRANGER, "s3:GetObject", f"{_DATA}/a", NEVER, _TLS, _ON_DATA),
    Question("CloudTrail writes our trail", _CLOUDTRAIL, "s3:PutObject", _EVIDENCE, YES, _FROM_TRAIL, _ON_TRAIL),
    Question(
        "no other trail", _CLOUDTRAIL, "s3:PutObject", _EVIDENCE, NO, {**_FROM_TRAIL, "aws:SourceArn": f"{_TRAIL}-2"}, _ON_TRAIL
    ),
    Question(
        "and gives the object away", _CLOUDTRAIL, "s3:PutObject", _EVIDENCE, NO, {**_TLS, "aws:SourceArn": _TRAIL}, _ON_TRAIL
    ),
    Question(
        "S3 writes access logs of our buckets",
        _ACCESS_LOGS,
        "s3:PutObject",
        f"{_SINK}/s3/x",
        YES,
        _TLS | came_from(NAMES.account, _DATA),
        _ON_LOGS,
    ),
    Question(
        "of no other bucket",
        _ACCESS_LOGS,
        "s3:PutObject",
        f"{_SINK}/s3/x",
        NO,
        _TLS | came_from(NAMES.account, "arn:aws:s3:::others"),
        _ON_LOGS,
    ),
    Question(
        "and nowhere else", _ACCESS_LOGS, "s3:PutObject", f"{_SINK}/else/x", NO, _TLS | came_from(NAMES.account, _DATA), _ON_LOGS
    ),
]

BUCKETS += [
    Question("the console keeps a sealed export", "console-task", "s3:PutObject", f"{_DATA}/exports/x", YES, _TLS, _ON_DATA),
    Question("reads it back", "console-task", "s3:GetObject", f"{_DATA}/exports/x", YES, _TLS, _ON_DATA),
    Question("deletes none", "console-task", "s3:DeleteObject", f"{_DATA}/exports/x", NO, _TLS, _ON_DATA),
    Question("and touches nothing else there", "console-task", "s3:GetObject", f"{_DATA}/a", NO, _TLS, _ON_DATA),
    Question("the gateway has nothing to do with it", "gateway-task", "s3:GetObject", f"{_DATA}/exports/x", NO, _TLS, _ON_DATA),
]

_FROM_US = came_from(NAMES.account, NAMES.arn("ecs", "cluster/x"))
_ASSUME = "sts:AssumeRole"

ROLES = [
    Question(
        "ECS takes the gateway's role for our tasks",
        _ECS,
        _ASSUME,
        NAMES.role_arn("gateway-task"),
        YES,
        _FROM_US,
        ("role", "gateway-task"),
    ),
    Question(
        "not for another account's",
        _ECS,
        _ASSUME,
        NAMES.role_arn("gateway-task"),
        NO,
        came_from(OTHER, f"arn:aws:ecs:eu-west-1:{OTHER}:cluster/x"),
        ("role", "gateway-task"),
    ),
    Question(
        "no other service takes it",
        "lambda.amazonaws.com",
        _ASSUME,
        NAMES.role_arn("gateway-task"),
        NO,
        _FROM_US,
        ("role", "gateway-task"),
    ),
    Question(
        "no administrator takes it", ADMINISTRATOR, _ASSUME, NAMES.role_arn("gateway-task"), NO, on=("role", "gateway-task")
    ),
    Question(
        "the gateway signs in to its database as itself",
        "gateway-task",
        "rds-db:connect",
        NAMES.arn("rds-db", "dbuser:db-ABC/gatehouse_app"),
        YES,
    ),
    Question("not as its owner", "gateway-task", "rds-db:connect", NAMES.arn("rds-db", "dbuser:db-ABC/gatehouse_owner"), NO),
    Question("the gateway touches no share token", "gateway-task", "dynamodb:GetItem", _TABLE, NO),
    Question("the console reads one", "console-task", "dynamodb:GetItem", _TABLE, YES),
    Question("but never lists them all", "console-task", "dynamodb:Scan", _TABLE, NO),
    Question("and touches no other table", "console-task", "dynamodb:GetItem", NAMES.table_arn("others"), NO),
    Question(
        "ECS pulls our image",
        "gateway-execution",
        "ecr:BatchGetImage",
        NAMES.arn("ecr", f"repository/{NAMES.name('runtime')}"),
        YES,
    ),
    Question("no other image", "gateway-execution", "ecr:BatchGetImage", NAMES.arn("ecr", "repository/others"), NO),
    Question("the migration has no power of its own", "migrate-task", "s3:ListAllMyBuckets", "*", NO),
]

_OURS, _OF_OTHERS = {"aws:ResourceAccount": NAMES.account}, {"aws:ResourceAccount": OTHER}
_THEIRS = f"arn:aws:secretsmanager:{NAMES.region}:{OTHER}:secret:x-a1B2c3"

ENDPOINTS = [
    Question(
        "our secret passes the endpoint",
        "gateway-execution",
        _READ,
        a_secret("pepper"),
        YES,
        _OURS,
        ("secret", "pepper"),
        "secretsmanager",
    ),
    Question(
        "another account's credentials do not", STRANGER, _READ, _THEIRS, NO, _OF_OTHERS, through="secretsmanager", owner=OTHER
    ),
    Question(
        "a sealed export passes",
        "console-task",
        "s3:PutObject",
        f"{_DATA}/exports/x",
        YES,
        {**_TLS, **_OURS},
        _ON_DATA,
        "s3",
    ),
    Question(
        "nothing is carried to a stranger's bucket",
        ADMINISTRATOR,
        "s3:PutObject",
        "arn:aws:s3:::strangers/a",
        NO,
        _OF_OTHERS,
        through="s3",
    ),
    Question("no table is scanned through it", ADMINISTRATOR, "dynamodb:Scan", _TABLE, NO, _OURS, through="dynamodb"),
    Question(
        "no secret is deleted through it",
        ADMINISTRATOR,
        "secretsmanager:DeleteSecret",
        a_secret("pepper"),
        NO,
        _OURS,
        through="secretsmanager",
    ),
]

BOUNDARY = [
    Question("a role that is widened by mistake still works with data", WIDENED, "s3:GetObject", f"{_DATA}/a", YES),
    Question("in our regions alone", WIDENED, "s3:GetObject", f"{_DATA}/a", NO, {"aws:RequestedRegion": "us-east-1"}),
    Question("it makes no role or user", WIDENED, "iam:CreateUser", "*", NEVER),
    Question("it writes no policy", WIDENED, "iam:PutRolePolicy", "*", NEVER),
    Question("it takes no other role", WIDENED, "sts:AssumeRole", ADMINISTRATOR, NEVER),
    Question("it does not stop the trail", WIDENED, "cloudtrail:StopLogging", _TRAIL, NEVER),
    Question("it deletes no backup", WIDENED, "backup:DeleteRecoveryPoint", "*", NEVER),
    Question("it opens no key to others", WIDENED, "kms:PutKeyPolicy", "*", NEVER),
    Question("it unmasks no log", WIDENED, "logs:Unmask", NAMES.log_group_arn(NAMES.log_group("gateway")), NEVER),
    Question("it starts no machine", WIDENED, "ec2:RunInstances", "*", NO),
]

QUESTIONS = {
    "Secrets": SECRETS,
    "Keys": KEYS,
    "Buckets": BUCKETS,
    "Roles": ROLES,
    "Boundary": BOUNDARY,
    "Endpoints": ENDPOINTS,
    "Share function": FUNCTION,
}
