"""Roles and key policy statements of the serverless form of the sharing service."""

from collections.abc import Mapping

from components.context import Stack
from components.contract import Contract
from components.iam import sharing_policies
from components.iam.documents import Document, Statement, allow, document, trust
from components.iam.key_policies import read_environment
from components.iam.role_policies import RoleDefinition, function_role, send_traces, write_log
from components.naming import Naming

API_LOG_ROLE = "api-log"
STAGE = "live"
"""Name of the REST API's stage."""


def access_log(function: str) -> str:
    """Return the log group of the function's REST API (`process` of `Naming.log_group`)."""
    return f"{function}-access"


def api_log_groups(names: Naming) -> tuple[str, ...]:
    """Return patterns of the log groups of the REST APIs of all stacks (`access_log`), and of those
    that API Gateway creates."""
    return f"/{names.prefix}/*-access*", "/aws/apigateway/*", "API-Gateway-Execution-Logs_*"


def function_arns(names: Naming, contract: Contract) -> tuple[str, ...]:
    return tuple(names.arn("lambda", f"function:{names.name(name)}") for name in contract.functions)


def role_definitions(stack: Stack) -> dict[str, RoleDefinition]:
    """Return the roles of the functions and, if this stack creates it, the role for API Gateway
    access logs, keyed by resource name."""
    names = stack.names
    roles = {}
    for name, function in stack.contract.functions.items():
        share = sharing_policies.statements(names, [function.service.name])
        permissions = document(*share, write_log(names, name), send_traces())
        trust_policy = trust("lambda.amazonaws.com")
        roles[function_role(name)] = RoleDefinition(
            f"Role of the {name} function", trust_policy, permissions
        )
    if stack.settings.sharing.api_gateway_log_role:
        roles[API_LOG_ROLE] = RoleDefinition(
            "Delivers logs from the account's REST APIs to CloudWatch Logs",
            trust("apigateway.amazonaws.com"),
            _api_logging(names),
        )
    return roles


def key_statements(stack: Stack) -> Mapping[str, tuple[Statement, ...]]:
    """Return key policy statements, keyed by KMS key, which allow Lambda to decrypt the environment
    variables of a function with the function's role."""
    statements = (
        read_environment(f"{name.capitalize()}ReadsEnvironment", stack, function_role(name), name)
        for name in stack.contract.functions
    )
    return {"secrets": tuple(statements)}


def _api_logging(names: Naming) -> Document:
    """Return the actions in AmazonAPIGatewayPushToCloudWatchLogs, limited to `api_log_groups`."""
    return document(
        allow("DescribeLogGroups", "logs:DescribeLogGroups", [names.arn("logs", "log-group:*")]),
        allow(
            "WriteLogs",
            "logs:CreateLogGroup CreateLogStream DescribeLogStreams PutLogEvents GetLogEvents "
            "FilterLogEvents",
            [names.log_group_arn(group) for group in api_log_groups(names)],
        ),
    )
