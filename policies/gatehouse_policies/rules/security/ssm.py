"""Rules for AWS Systems Manager: parameters and documents."""

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.secret_detection import is_placeholder, looks_secret
from gatehouse_policies.engine.requirements import is_customer_key
from gatehouse_policies.engine.rule import CheckResults, resource_rule


@resource_rule("GH-SSM-001", types=aws("ssm.Parameter"), lists={"harmless": ()})
def parameter_has_no_secret(parameter: Resource) -> CheckResults:
    leaf = (parameter.props.known_text("name") or parameter.name).rpartition("/")[2]
    if leaf in parameter.lists["harmless"]:
        return
    for prop in ("value", "insecureValue", "valueWo"):
        if not parameter.props.has(prop):
            continue
        value = parameter.props.text(prop)
        replaced = prop in parameter.ignored and is_placeholder(value)
        if looks_secret(leaf, value) and not replaced:
            yield f"{prop} probably contains a secret"


parameter_uses_customer_key = resource_rule("GH-SSM-002", types=aws("ssm.Parameter")).requires(
    is_customer_key("keyId"), when=lambda parameter: parameter.props.text("type") == "SecureString"
)


@resource_rule("GH-SSM-003", types=aws("ssm.Document"))
def document_is_not_public(document: Resource) -> CheckResults:
    # The provider accepts a map of strings: type is "Share", and account_ids is "All" or a list
    # that is separated by commas.
    permissions = document.props.block("permissions")
    ids = permissions.text("account_ids") or permissions.text("accountIds")
    if "all" in {account.strip().lower() for account in ids.split(",")}:
        yield "the document is public"


@resource_rule("GH-SSM-004", types=aws("ssm.Document"))
def sessions_are_encrypted(document: Resource) -> CheckResults:
    if document.props.text("documentType") != "Session":
        return
    content = document.props.document("content")
    if content.text("sessionType") == "Port":
        return  # A session that forwards a port has no inputs.
    inputs = content.block("inputs")
    if not inputs.has("kmsKeyId"):
        yield "inputs.kmsKeyId is not set, so the session is not encrypted with a KMS key"
    if not _logs_encrypted(inputs, "s3BucketName", "s3EncryptionEnabled") and not _logs_encrypted(
        inputs, "cloudWatchLogGroupName", "cloudWatchEncryptionEnabled"
    ):
        yield "no encrypted log of the session is configured"


def _logs_encrypted(inputs: Properties, destination: str, encrypted: str) -> bool:
    return inputs.has(destination) and inputs.flag(encrypted, True)
