"""Rules about Lambda functions: no secrets in their environment, and no stranger who can call them."""

from policies import iam_document, tokens
from policies.rule import ALWAYS, Found, Severity, Upstream, Violation, resource_rule
from policies.secrets import looks_secret
from policies.stack import Resource

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
