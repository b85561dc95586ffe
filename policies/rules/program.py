"""Rules about the Pulumi program as a whole: which account it may touch, what it protects, how its resources are
tagged.
"""

from collections.abc import Mapping

from policies import tokens
from policies.props import MalformedError
from policies.rule import AFTER_DEV, Found, Severity, levels, resource_rule
from policies.stack import Resource

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
