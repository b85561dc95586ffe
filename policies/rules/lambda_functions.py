"""Rules about Lambda functions: no secrets in their environment, and no stranger who can call them."""

from policies.analysis import type_tokens as tokens
from policies.analysis.iam import document as iam_document
from policies.analysis.resources import Resource, Stack
from policies.analysis.secret_detection import looks_secret
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/lambda/latest/dg"


@resource_rule(
    "GH-LAM-003",
    title="No secret is in a function's environment",
    why=("Environment values are readable by everyone who may read the function's configuration, and stay in old versions."),
    remedy="let the function read it from Secrets Manager, and give it the secret's ARN",
    severity=Severity.CRITICAL,
    types=tokens.FUNCTION,
    levels=ALWAYS,
    exemptible=False,
    upstream=Upstream(
        checkov=("CKV_AWS_173", "CKV_AWS_45"),
        prowler=(
            "awslambda_function_env_vars_not_encrypted_with_cmk",
            "awslambda_function_no_secrets_in_variables",
        ),
    ),
    url=f"{_GUIDE}/configuration-envvars-encryption.html",
)
def environments_hold_no_secret(function: Resource) -> Found:
    variables = function.props.block("environment").block("variables")
    for name in variables.names():
        if variables.known(name) and looks_secret(name, variables.text(name)):
            yield f"the environment variable {name} seems to hold a secret"
    if variables.names() and not function.props.has("kmsKeyArn"):
        yield Violation("kmsKeyArn is not set, so the environment is encrypted with the key that AWS manages", "set kmsKeyArn")


@resource_rule(
    "GH-LAM-004",
    title="Only named callers invoke a function",
    why="A service that acts for every AWS customer could otherwise be made to call the function for another one.",
    remedy='set sourceArn or sourceAccount on the permission, and authorizationType="AWS_IAM" on the URL',
    severity=Severity.HIGH,
    types=tokens.FUNCTION_PERMISSION + tokens.FUNCTION_URL,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("Lambda.1",),
        cis=("2.21",),
        checkov=("CKV_AWS_301", "CKV_AWS_364", "CKV_AWS_258"),
        prowler=("awslambda_function_not_publicly_accessible", "awslambda_function_url_public"),
    ),
    url=f"{_GUIDE}/access-control-resource-based.html",
)
def only_named_callers_invoke(door: Resource) -> Found:
    if door.type in tokens.FUNCTION_URL:
        if door.props.text("authorizationType") != "AWS_IAM":
            yield "authorizationType is not AWS_IAM, so anyone may call the URL"
        return
    principal = door.props.text("principal")
    if iam_document.account_of(principal):
        return  # An account or a role of it: named by itself.
    if not any(door.props.has(name) for name in ("sourceArn", "sourceAccount", "principalOrgId")):
        yield "the permission names neither sourceArn nor sourceAccount"


# Runtimes that still get security fixes, of November 2026.
# https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-supported
_RUNTIMES = frozenset(
    {
        *("python3.11", "python3.12", "python3.13", "python3.14", "nodejs22.x", "nodejs24.x", "java21", "java25"),
        *("dotnet8", "dotnet10", "ruby3.3", "ruby3.4", "provided.al2023"),
    }
)


@resource_rule(
    "GH-LAM-001",
    title="Functions run on a runtime that gets fixes",
    why="AWS stops patching an old runtime, and some months later refuses to change the function at all.",
    remedy="set runtime to a current one",
    severity=Severity.MEDIUM,
    types=tokens.FUNCTION,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("Lambda.2",),
        checkov=("CKV_AWS_363",),
        prowler=("awslambda_function_using_supported_runtimes",),
        cdk_nag=("L1",),
    ),
    url=f"{_GUIDE}/lambda-runtimes.html",
)
def runtimes_get_fixes(function: Resource) -> Found:
    if function.props.text("packageType", "Zip") == "Zip" and function.props.text("runtime") not in _RUNTIMES:
        yield "runtime gets no security fixes, or is not known here"


@stack_rule(
    "GH-LAM-002",
    title="Functions that reach data stores are inside the network, in two zones",
    why="Outside, the store would have to be public; in one zone, the zone's outage stops the function.",
    remedy="set vpcConfig with private subnets of two zones and a security group",
    severity=Severity.MEDIUM,
    types=tokens.FUNCTION,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("Lambda.3", "Lambda.5"),
        checkov=("CKV_AWS_117",),
        prowler=("awslambda_function_inside_vpc", "awslambda_function_vpc_multi_az"),
    ),
    url=f"{_GUIDE}/configuration-vpc.html",
)
def functions_are_inside(function: Resource, stack: Stack) -> Found:
    # A function reaches a store when its environment is fed by one.
    stores = stack.targets(function, "environment", tokens.DB_INSTANCE + tokens.DB_CLUSTER + tokens.CACHE)
    if not function.props.has("vpcConfig"):
        for store in stores:
            yield f"vpcConfig is not set, and the function reaches {store.name}"
    elif function.props.block("vpcConfig").size("subnetIds") < 2:
        yield "vpcConfig.subnetIds names fewer than two subnets"


# These services call a function and hand its failure to their own caller: there is nothing to keep.
_WAIT_FOR_THE_ANSWER = frozenset({"apigateway.amazonaws.com", "elasticloadbalancing.amazonaws.com"})


@stack_rule(
    "GH-LAM-005",
    title="Functions fail in sight, and cannot take all capacity",
    why="A failed asynchronous call is dropped after its retries; a runaway function takes every other one's capacity.",
    remedy=("set deadLetterConfig (or an on-failure destination), reservedConcurrentExecutions, and tracingConfig.mode=Active"),
    severity=Severity.LOW,
    types=tokens.FUNCTION,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(checkov=("CKV_AWS_116", "CKV_AWS_115", "CKV_AWS_50"), prowler=("awslambda_function_no_dead_letter_queue",)),
    url=f"{_GUIDE}/invocation-async-retain-records.html",
)
def functions_fail_in_sight(function: Resource, stack: Stack) -> Found:
    callers = {one.props.text("principal") for one in stack.users(function, tokens.FUNCTION_PERMISSION, "function")}
    waited_for = bool(callers) and callers <= _WAIT_FOR_THE_ANSWER
    events = stack.users(function, tokens.FUNCTION_EVENTS, "functionName")
    told = any(one.props.block("destinationConfig").has("onFailure") for one in events)
    if not told and not waited_for and not function.props.has("deadLetterConfig"):
        yield "failed calls go nowhere (deadLetterConfig is not set)"
    if function.props.number("reservedConcurrentExecutions", -1) < 0:
        yield "reservedConcurrentExecutions is not set"
    if function.props.block("tracingConfig").text("mode") != "Active":
        yield "tracingConfig.mode is not Active"
