"""Rules for ECR repositories."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.iam.grammar import matches
from gatehouse_policies.analysis.policy_holders import ACCOUNTS
from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import allows_known_accounts, has_resource
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

# A template applies to the repositories that ECR creates itself.
_TEMPLATES = aws("ecr.RepositoryCreationTemplate")
_repository_rule = partial(resource_rule, types=(*aws("ecr.Repository"), *_TEMPLATES))


@stack_rule("GH-ECR-001", types=aws("ecr.Repository"))
def images_are_scanned_on_push(repository: Resource, stack: Stack) -> CheckResults:
    if repository.props.block("imageScanningConfiguration").flag("scanOnPush"):
        return
    name = repository.props.known_text("name")
    for registry in stack.of_type(aws("ecr.RegistryScanningConfiguration")):
        if any(_scans(rule, name) for rule in registry.props.blocks("rules")):
            return
    yield "imageScanningConfiguration.scanOnPush is not true, and no rule of the registry applies"


def _scans(rule: Properties, name: str) -> bool:
    """True if a rule of the registry scans new images of the repository. A filter without a
    wildcard matches the names that contain it.

    https://docs.aws.amazon.com/AmazonECR/latest/userguide/image-scanning-filters.html
    """
    filters = [block.text("filter") for block in rule.blocks("repositoryFilters")]
    return rule.text("scanFrequency") in ("SCAN_ON_PUSH", "CONTINUOUS_SCAN") and any(
        matches(name, text if "*" in text else f"*{text}*") for text in filters
    )


def _matches_everything(pattern: str) -> bool:
    return not pattern.strip("*")


@_repository_rule("GH-ECR-002")
def tags_are_immutable(repository: Resource) -> CheckResults:
    mutability = repository.props.text("imageTagMutability", "MUTABLE")
    if mutability not in ("IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"):
        yield "imageTagMutability is not IMMUTABLE or IMMUTABLE_WITH_EXCLUSION"
    for excluded in repository.props.blocks("imageTagMutabilityExclusionFilters"):
        if mutability == "IMMUTABLE_WITH_EXCLUSION" and _matches_everything(
            excluded.text("filter")
        ):
            yield f"{excluded.path_of('filter')} excludes all tags"


lifecycle_policy_exists = stack_rule("GH-ECR-003", types=aws("ecr.Repository")).requires(
    has_resource(
        "ecr.LifecyclePolicy", "repository", missing="the repository has no lifecycle policy"
    )
)


@resource_rule("GH-ECR-005", types=(*aws("ecr.LifecyclePolicy"), *_TEMPLATES))
def lifecycle_policy_retains_images_in_use(lifecycle: Resource) -> CheckResults:
    name = "lifecyclePolicy" if lifecycle.type in _TEMPLATES else "policy"
    for rule in lifecycle.props.decoded(name).block(name).blocks("rules"):
        selection = rule.block("selection")
        if selection.text("countType") not in ("imageCountMoreThan", "sinceImagePushed"):
            continue
        if selection.text("tagStatus") == "any":
            yield (
                f"{selection.path_of('tagStatus')} is any, so images that run are counted or "
                f"expired"
            )
        for prop in ("tagPatternList", "tagPrefixList"):
            # An image must have tags that match all elements.
            if selection.has(prop) and all(map(_matches_everything, selection.texts(prop))):
                yield f"{selection.path_of(prop)} selects all tags"


repository_policy_is_not_public = resource_rule(
    "GH-ECR-006",
    types=(*aws("ecr.RepositoryPolicy", "ecr.RegistryPolicy"), *_TEMPLATES),
    lists=ACCOUNTS,
).requires(
    allows_known_accounts("policy", "a statement"),
    allows_known_accounts("repositoryPolicy", "a statement"),
)


@_repository_rule("GH-ECR-004")
def repository_uses_customer_key(repository: Resource) -> CheckResults:
    configurations = repository.props.blocks("encryptionConfigurations")
    if not any(
        block.text("encryptionType").startswith("KMS") and block.is_customer_key("kmsKey")
        for block in configurations
    ):
        yield "encryptionConfigurations has no customer managed key"
