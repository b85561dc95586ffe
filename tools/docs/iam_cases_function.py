"""The questions about a function that serves a door; docs/permissions.md shows them with the others."""

from __future__ import annotations

from tools.docs.iam_decisions import ALLOWED as YES
from tools.docs.iam_decisions import DENIED as NEVER
from tools.docs.iam_decisions import NAMES, Question, a_secret, came_from
from tools.docs.iam_decisions import NOT_ALLOWED as NO

_API, _PULLED, _API_LOG = ("api", "sharing"), ("repository", "image"), ("role", "api-log")
_RUNTIME = NAMES.arn("ecr", f"repository/{NAMES.name('runtime')}")
_TRAIL_LOG = NAMES.arn("logs", "log-group:/aws/cloudtrail/other:log-stream:x")
_SHARE = NAMES.arn("execute-api", "a1b2c3d4e5/live/GET/")
_TLS = {"aws:SecureTransport": "true"}
FUNCTION = [
    Question("the share function reads one token", "sharing-function", "dynamodb:GetItem", NAMES.table_arn("tokens"), YES),
    Question("never lists them", "sharing-function", "dynamodb:Scan", NAMES.table_arn("tokens"), NO),
    Question("and writes none", "sharing-function", "dynamodb:PutItem", NAMES.table_arn("tokens"), NO),
    Question(
        "signs in to no database", "sharing-function", "rds-db:connect", NAMES.arn("rds-db", "dbuser:db-A/gatehouse_app"), NO
    ),
    Question("reads no secret", "sharing-function", "secretsmanager:GetSecretValue", a_secret("pepper"), NO),
    Question("a stranger may call the stage over TLS", "198.51.100.23:nobody", "execute-api:Invoke", _SHARE, YES, _TLS, _API),
    Question(
        "not without TLS", "198.51.100.23:nobody", "execute-api:Invoke", _SHARE, NEVER, {"aws:SecureTransport": "false"}, _API
    ),
    Question(
        "not with another method",
        "198.51.100.23:nobody",
        "execute-api:Invoke",
        NAMES.arn("execute-api", "a1b2c3d4e5/live/DELETE/"),
        NO,
        _TLS,
        _API,
    ),
    Question(
        "Lambda pulls the image for our function",
        "lambda.amazonaws.com",
        "ecr:BatchGetImage",
        _RUNTIME,
        YES,
        came_from(NAMES.account, NAMES.arn("lambda", f"function:{NAMES.name('sharing')}")),
        _PULLED,
    ),
    Question(
        "not for another function",
        "lambda.amazonaws.com",
        "ecr:BatchGetImage",
        _RUNTIME,
        NO,
        came_from(NAMES.account, NAMES.arn("lambda", "function:other")),
        _PULLED,
    ),
    Question(
        "API Gateway takes the role of its logs",
        "apigateway.amazonaws.com",
        "sts:AssumeRole",
        NAMES.role_arn("api-log"),
        YES,
        on=_API_LOG,
    ),
    Question("which reads no log of the account's trail", "api-log", "logs:GetLogEvents", _TRAIL_LOG, NO),
]
