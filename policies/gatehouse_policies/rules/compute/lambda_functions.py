"""Rules for Lambda functions, permissions and function URLs."""

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import aws
from pulumi_local.types import UNKNOWN

from gatehouse_policies.analysis.iam.grammar import Condition, Document, Statement
from gatehouse_policies.analysis.iam.strangers import access, owner_of
from gatehouse_policies.analysis.policy_holders import ACCOUNTS, foreign
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.secret_detection import looks_secret, name_indicates_secret
from gatehouse_policies.engine.rule import (
    CheckResults,
    Undecided,
    Violation,
    resource_rule,
    stack_rule,
)


@resource_rule(
    "GH-LAM-003",
    types=aws("lambda.Function"),
    lists={"harmless": ()},
    decided_by_name=r"environment\.variables\.",
)
def environment_has_no_secrets(function: Resource) -> CheckResults:
    variables = function.props.block("environment").block("variables")
    for name in variables.names():
        if name in function.lists["harmless"]:
            continue
        if not variables.known(name):
            if name_indicates_secret(name):
                yield Undecided(variables.path_of(name))
        elif looks_secret(name, variables.text(name)):
            yield f"the environment variable {name} probably contains a secret"
    if variables.names() and not function.props.has("kmsKeyArn"):
        yield Violation(
            "kmsKeyArn is not set, so an AWS managed key encrypts the environment",
            "set kmsKeyArn",
            "low",
        )


@stack_rule("GH-LAM-004", types=aws("lambda.Permission", "lambda.FunctionUrl"), lists=ACCOUNTS)
def invocation_is_restricted(resource: Resource, stack: Stack) -> CheckResults:
    if resource.type in aws("lambda.FunctionUrl"):
        if resource.props.text("authorizationType") != "AWS_IAM":
            yield Violation(
                "authorizationType is not AWS_IAM, so anyone can call the URL",
                'set authorizationType="AWS_IAM"',
            )
        return
    # An event source token is the ID of an Alexa skill.
    if resource.props.has("eventSourceToken"):
        return
    statement = _statement(resource, stack)
    allowed = access(Document((statement,)))
    if allowed.everyone or allowed.services:
        has_source = resource.props.has("sourceArn")
        yield (
            "sourceArn names no account"
            if has_source
            else "the permission has no sourceArn, sourceAccount or principalOrgId"
        )
    elif allowed.named():
        yield from foreign(allowed, resource, "the permission")


# Inputs of a permission, and the conditions of the statement that Lambda adds to the policy of the
# function: https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
_CONDITIONS = {
    "sourceAccount": ("stringequals", "aws:sourceaccount"),
    "sourceArn": ("arnlike", "aws:sourcearn"),
    "principalOrgId": ("stringequals", "aws:principalorgid"),
}


def _statement(permission: Resource, stack: Stack) -> Statement:
    """The statement of a permission. An unknown source is a resource of the program."""
    principal = permission.props.text("principal")
    kind = "Service" if "." in principal and ":" not in principal else "AWS"
    conditions = [
        Condition(operator, key, (permission.props.known_text(name) or UNKNOWN,))
        for name, (operator, key) in _CONDITIONS.items()
        if permission.props.has(name) and (name != "sourceArn" or _names_account(permission, stack))
    ]
    return Statement(
        True,
        ("lambda:InvokeFunction",),
        None,
        None,
        None,
        ((kind, principal),),
        None,
        tuple(conditions),
    )


def _names_account(permission: Resource, stack: Stack) -> bool:
    """False if another account can own the source. After the deletion of a bucket, another account
    can create one with its name: https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
    """
    if stack.referenced_by(permission, "sourceArn", aws("s3.Bucket")):
        return True
    known = permission.props.known("sourceArn")
    return not known or bool(owner_of(permission.props.text("sourceArn")))


# Supported runtimes as of November 2026.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-supported
_RUNTIMES = name_set(
    "python3.11 python3.12 python3.13 python3.14 nodejs22.x nodejs24.x java17 java17.al2023 java21 "
    "java25 dotnet10 ruby3.3 ruby3.4 ruby4.0 provided.al2023"
)


@resource_rule("GH-LAM-001", types=aws("lambda.Function"))
def runtime_is_supported(function: Resource) -> CheckResults:
    if (
        function.props.text("packageType", "Zip") == "Zip"
        and function.props.text("runtime") not in _RUNTIMES
    ):
        yield "runtime is not in the list of supported runtimes"


@stack_rule("GH-LAM-002", types=aws("lambda.Function"))
def function_runs_in_vpc(function: Resource, stack: Stack) -> CheckResults:
    # A function uses the data stores whose outputs are in its environment.
    stores = stack.referenced_by(
        function, "environment", aws("rds.Instance", "rds.Cluster", "elasticache.ReplicationGroup")
    )
    if not function.props.has("vpcConfig"):
        for store in stores:
            yield f"vpcConfig is not set, and the function uses {store.name}"
    elif function.props.block("vpcConfig").size("subnetIds") < 2:
        yield "vpcConfig.subnetIds has fewer than two subnets"


# Services that invoke functions synchronously and return errors to the client.
_SYNCHRONOUS = name_set("apigateway.amazonaws.com elasticloadbalancing.amazonaws.com")


@stack_rule("GH-LAM-005", strict=True, types=aws("lambda.Function"))
def failures_and_concurrency_are_handled(function: Resource, stack: Stack) -> CheckResults:
    callers = {
        permission.props.text("principal")
        for permission in stack.referencing(function, aws("lambda.Permission"), "function")
    }
    synchronous = bool(callers) and callers <= _SYNCHRONOUS
    events = stack.referencing(function, aws("lambda.FunctionEventInvokeConfig"), "functionName")
    has_destination = any(
        event.props.block("destinationConfig").has("onFailure") for event in events
    )
    if not has_destination and not synchronous and not function.props.has("deadLetterConfig"):
        yield "deadLetterConfig is not set, so failed invocations are lost"
    if function.props.number("reservedConcurrentExecutions", -1) < 0:
        yield "reservedConcurrentExecutions is not set"
    if function.props.block("tracingConfig").text("mode") != "Active":
        yield "tracingConfig.mode is not Active"
