"""Who may do what around a service that a function serves: its role, that of API Gateway's logs, and what the keys let them
do, made from names alone."""

from collections.abc import Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class ServerlessSharing:
    """What functions that serve services ask of the rest of the stack; nothing where processes serve every service.

    log_role: this stack lets API Gateway write logs.
    """

    names: Naming
    contract: Contract
    log_role: bool

    @property
    def arns(self) -> tuple[str, ...]:
        """The functions."""
        return tuple(function_arn(self.names, name) for name in self.contract.functions)

    @property
    def log_groups(self) -> tuple[str, ...]:
        """The log groups of the functions and of their APIs (Naming.log_group's `process`)."""
        return tuple(group for name in self.contract.functions for group in (name, access_log(name)))

    @property
    def stages(self) -> dict[str, str]:
        """The stage of each service's API."""
        return {function.service.name: STAGE for function in self.contract.functions.values()}

    def role_definitions(self) -> dict[str, RoleDefinition]:
        """The roles by name."""
        found = {
            function_role(name): RoleDefinition(
                f"What the {name} function may do",
                trust("lambda.amazonaws.com", account=self.names.account),
                _function(self.names, function),
            )
            for name, function in self.contract.functions.items()
        }
        if self.log_role:
            found[LOG_ROLE] = RoleDefinition(
                "Writes the access logs of the account's REST APIs",
                # As the guide has it ("Permissions for CloudWatch logging"), which names no source for the account's role;
                # nobody can hand it to API Gateway in another account (iam:PassRole).
                trust("apigateway.amazonaws.com"),
                _logging(self.names),
            )
        return found

    def key_users(self) -> Mapping[str, tuple[Statement, ...]]:
        """What functions ask of the keys, by key: Lambda decrypts a function's settings with the function's own role."""
        return {"secrets": tuple(_reads_settings(self.names, name) for name in self.contract.functions)}


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
