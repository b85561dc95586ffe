"""Rules about the Pulumi program as a whole: which account it may touch, what it protects, how its resources are
tagged.
"""

import re
from collections.abc import Mapping

from policies.analysis import type_tokens as tokens
from policies.analysis.properties import MalformedError, Props
from policies.analysis.resources import Resource, Stack
from policies.analysis.secret_detection import looks_secret
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Undecided, levels, resource_rule, stack_rule

_OPTIONS = "https://www.pulumi.com/docs/iac/concepts/resources/options"

_STATEFUL = (
    tokens.BUCKET + tokens.KEY + tokens.SECRET + tokens.DB_INSTANCE + tokens.DB_CLUSTER + tokens.TABLE + tokens.BACKUP_VAULT
)
_HOLDS_DATA = (
    tokens.BUCKET + tokens.KEY + tokens.SECRET + tokens.DB_INSTANCE + tokens.DB_CLUSTER + tokens.TABLE + tokens.LOG_GROUP
)
_REQUIRED_TAGS = ("Project", "Environment", "Owner", "CostCentre", "ManagedBy", "DataClass")


@resource_rule(
    "GH-PUL-001",
    title="What holds data is protected by Pulumi",
    why="A protected resource survives a wrong rename, a wrong branch and `pulumi destroy`.",
    remedy="declare it with ResourceOptions(protect=True)",
    severity=Severity.HIGH,
    types=_STATEFUL,
    levels=levels("-", "A", "M"),
    pack="resilience",
    url=f"{_OPTIONS}/protect/",
)
def data_is_protected(resource: Resource) -> Found:
    if not resource.protect:
        yield "protect is not set"


@resource_rule(
    "GH-PUL-002",
    title="The program says which account it may touch",
    why="With the wrong credentials in the shell, a program without this deploys into whatever account they open.",
    remedy="build an aws.Provider with allowedAccountIds and pass it to every resource",
    severity=Severity.HIGH,
    types=(tokens.AWS_PROVIDER,),
    levels=AFTER_DEV,
    url=f"{_OPTIONS}/provider/",
)
def the_account_is_named(provider: Resource) -> Found:
    if not provider.props.has("allowedAccountIds") or provider.props.decoded("allowedAccountIds").size("allowedAccountIds") == 0:
        yield "the provider names no allowedAccountIds"


@resource_rule(
    "GH-TAG-001",
    title="Everything that holds data says whose it is and of what kind",
    why="Cost, ownership and the answer to an incident hang on tags; what is not tagged belongs to nobody.",
    remedy="set the tag on the resource, or in the provider's defaultTags",
    severity=Severity.LOW,
    types=_HOLDS_DATA + tokens.CACHE + tokens.LOAD_BALANCER + tokens.SERVICE + tokens.FUNCTION + tokens.VPC,
    levels=AFTER_DEV,
    pack="resilience",
    url="https://docs.aws.amazon.com/whitepapers/latest/tagging-best-practices/tagging-best-practices.html",
)
def tags_are_complete(resource: Resource) -> Found:
    tags = dict.fromkeys(resource.props.block("tags").names()) | _default_tags(resource)
    for tag in _REQUIRED_TAGS:
        if tag not in tags:
            yield f"the tag {tag} is missing"
    own = resource.props.block("tags")
    data_class = own.text("DataClass") if own.has("DataClass") else tags.get("DataClass")
    if resource.type in _HOLDS_DATA and data_class == "none":
        yield "the tag DataClass says none, and the resource holds data"


def _default_tags(resource: Resource) -> dict[str, object]:
    """The tags that the provider adds. Providers take objects as JSON text."""
    if resource.provider is None or not resource.provider.has("defaultTags"):
        return {}
    tags = resource.provider.decoded("defaultTags").block("defaultTags").value("tags")
    if not isinstance(tags, Mapping | None):
        raise MalformedError("provider.defaultTags.tags", "an object", "something else")
    return dict(tags or {})


@resource_rule(
    "GH-PUL-003",
    title="Everything is made in the regions that were agreed on",
    why="Data in another region is under another law, outside the backups and the alarms, and often nobody knows of it.",
    remedy="use a region of this rule's list `regions`, or add it there in the pack's configuration",
    severity=Severity.HIGH,
    types=(),
    levels=ALWAYS,
    lists={"regions": ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")},
    url="https://www.pulumi.com/registry/packages/aws/how-to-guides/enhanced-region-support/",
)
def the_region_is_agreed_on(resource: Resource) -> Found:
    if not resource.type.startswith("aws:") and resource.type != tokens.AWS_PROVIDER:
        return
    if resource.props.has("region") and resource.props.text("region") not in resource.lists["regions"]:
        yield "region is not one of those that were agreed on"


# Inputs of the bucket itself that have resources of their own since version 4 of the provider.
_INLINE = (
    *("accelerationStatus", "corsRules", "lifecycleRules", "logging", "loggings", "objectLockConfiguration"),
    *("policy", "replicationConfiguration", "requestPayer", "serverSideEncryptionConfiguration", "versioning"),
    *("versionings", "website"),
)


@stack_rule(
    "GH-PUL-004",
    title="No old names and no old inputs",
    why="What is deprecated goes with the next version; until then, two ways of saying one thing undo each other.",
    remedy="use the class without V2, a resource of its own instead of the bucket's input, and aws.lb in place of aws.alb",
    severity=Severity.LOW,
    types=tokens.S3_OLD + tokens.BUCKET + tokens.LOAD_BALANCER + tokens.LISTENER + tokens.TARGET_GROUP,
    levels=AFTER_DEV,
    pack="resilience",
    url="https://www.pulumi.com/registry/packages/aws/how-to-guides/7-0-migration/",
)
def nothing_is_old(resource: Resource, stack: Stack) -> Found:
    if resource.type in tokens.S3_OLD:
        yield f"{resource.type.rpartition(':')[2]} is an old name"
    for name in _INLINE if resource.type in tokens.BUCKET else ():
        if resource.props.has(name):
            yield f"{name} is set on the bucket itself"
    if resource.type.startswith("aws:alb/") and any(one.type.startswith("aws:lb/") for one in stack):
        yield "aws.alb and aws.lb are used side by side"


_SECRET_OUTPUT = re.compile(
    r"(password|passwd|passphrase|secret|token|credential|pepper|(api|access|private|signing|secret)_?key)$", re.IGNORECASE
)


@stack_rule(
    "GH-PUL-005",
    title="No secret is among the stack's outputs",
    why="Everybody who may read the stack reads its outputs, marked as secret or not, and so do all stacks that refer to it.",
    remedy="export the secret's ARN or name, and let whoever needs it read Secrets Manager",
    severity=Severity.CRITICAL,
    # The SDK hands outputs to a policy without their secret marks, so the mark cannot be asked for; it would not keep the
    # value from a reader of the stack anyway: https://www.pulumi.com/docs/iac/concepts/secrets/
    types=(tokens.STACK,),
    levels=ALWAYS,
    exemptible=False,
    unknown_allowed={"outputs": "AWS chooses many of them, and they are read again when they are known"},
    url="https://www.pulumi.com/docs/iac/concepts/secrets/",
)
def outputs_hold_no_secret(root: Resource, stack: Stack) -> Found:
    for name in root.props.names():
        yield from _secret_in(name, root.props)


def _secret_in(name: str, holder: Props) -> Found:
    if not holder.known(name):
        if _SECRET_OUTPUT.search(name):
            yield Undecided("outputs")
        return
    value = holder.value(name)
    if isinstance(value, Mapping):
        block = Props(value, holder.at(name))
        for inner in block.names():
            yield from _secret_in(inner, block)
    elif isinstance(value, list):
        numbered = Props({str(at): one for at, one in enumerate(value)}, holder.at(name))
        for at in numbered.names():
            yield from _secret_in(at, numbered)
    elif isinstance(value, str) and value:
        named = _SECRET_OUTPUT.search(name) and not value.startswith("arn:")
        if named or looks_secret("", value):
            yield f"the output {holder.at(name)} seems to hold a secret"
