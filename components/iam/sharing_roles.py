"""Who may do what around a service that a function serves: its role, that of API Gateway's logs, and what the keys let them
do, made from names alone."""

from collections.abc import Mapping

from components.contract import Contract, Function
from components.iam.documents import Document, Statement, allow, document, trust
from components.iam.role_policies import TABLE_ACTIONS, RoleDefinition, function_role
from components.naming import PROJECT, Naming
from components.sharing.rest_api import STAGE

LOG_ROLE = "api-log"


def access_log(function: str) -> str:
    """The log group of a function's API (Naming.log_group's `process`)."""
    return f"{function}-access"


def function_arn(names: Naming, function: str) -> str:
    """The Lambda function of this name in the contract."""
    return names.arn("lambda", f"function:{names.name(function)}")


def function_arns(names: Naming, contract: Contract) -> tuple[str, ...]:
    """ARNs of the functions of the stack."""
    return tuple(function_arn(names, name) for name in contract.functions)


def log_groups(contract: Contract) -> tuple[str, ...]:
    """The log groups of the functions and of their APIs (Naming.log_group's `process`)."""
    return tuple(group for name in contract.functions for group in (name, access_log(name)))


def stages(contract: Contract) -> dict[str, str]:
    """The stage of each API, by service."""
    return {function.service.name: STAGE for function in contract.functions.values()}


def role_definitions(names: Naming, contract: Contract, *, log_role: bool) -> dict[str, RoleDefinition]:
    """The roles of the functions by name, and with `log_role` the role with which API Gateway writes access logs."""
    definitions = {
        function_role(name): RoleDefinition(
            f"What the {name} function may do",
            trust("lambda.amazonaws.com", account=names.account),
            _function(names, function),
        )
        for name, function in contract.functions.items()
    }
    if log_role:
        definitions[LOG_ROLE] = RoleDefinition(
            "Writes the access logs of the account's REST APIs",
            # The role of the account takes no condition (API Gateway developer guide, "Permissions for CloudWatch logging").
            # iam:PassRole keeps it from API Gateway in another account.
            trust("apigateway.amazonaws.com"),
            _logging(names),
        )
    return definitions


def key_users(names: Naming, contract: Contract) -> Mapping[str, tuple[Statement, ...]]:
    """Statements for the key policies, by key. Lambda decrypts a function's environment variables under the function's role."""
    return {"secrets": tuple(_reads_settings(names, name) for name in contract.functions)}


def _function(names: Naming, function: Function) -> Document:
    """What the service asks of AWS today: one item of the tokens table, for its readiness; its log and its traces."""
    group = names.log_group_arn(names.log_group(function.name))
    return document(
        allow("TokensTable", TABLE_ACTIONS[function.service.name], [names.table_arn("tokens")]),
        allow("WriteLog", ["logs:CreateLogStream", "logs:PutLogEvents"], [f"{group}:*"]),
        # X-Ray knows no resource for what is sent to it (Service Authorization Reference, AWS X-Ray).
        allow("SendTraces", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], ["*"]),
    )


def _logging(names: Naming) -> Document:
    """The actions of AmazonAPIGatewayPushToCloudWatchLogs, on the groups of our stacks and on those that API Gateway
    makes itself: a test group when the role is set, and execution logs, which our stages do not write."""
    groups = [f"/{PROJECT}/*", "/aws/apigateway/*", "API-Gateway-Execution-Logs_*"]
    return document(
        allow("FindLog", ["logs:DescribeLogGroups"], [names.arn("logs", "log-group:*")]),
        allow(
            "WriteLogs",
            [
                *("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
                *("logs:GetLogEvents", "logs:FilterLogEvents"),
            ],
            [names.log_group_arn(group) for group in groups],
        ),
    )


def _reads_settings(names: Naming, function: str) -> Statement:
    return allow(
        f"{function.capitalize()}ReadsItsSettings",
        ["kms:Decrypt"],
        ["*"],
        principal={"AWS": names.role_arn(function_role(function))},
        conditions={
            "StringEquals": {
                "kms:CallerAccount": names.account,
                "kms:EncryptionContext:aws:lambda:FunctionArn": function_arn(names, function),
            }
        },
    )
