"""Rules for ECR repositories."""

from functools import partial

from gatehouse_policies.analysis.policy_holders import ACCOUNTS
from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    allows_known_accounts,
    has_resource,
    is_exactly,
    is_true,
)
from gatehouse_policies.engine.rule import CheckResults, Severity, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonECR/latest/userguide"
_repository_rule = partial(resource_rule, types=aws("ecr.Repository"))


images_are_scanned_on_push = _repository_rule(
    "GH-ECR-001",
    title="ECR repositories scan images on push",
    upstream="ECR.1 CKV_AWS_163",
    url=f"{_GUIDE}/image-scanning.html",
).requires(is_true("imageScanningConfiguration.scanOnPush"))


tags_are_immutable = _repository_rule(
    "GH-ECR-002",
    title="ECR repositories have immutable image tags",
    upstream="ECR.2 CKV_AWS_51",
    url=f"{_GUIDE}/image-tag-mutability.html",
).requires(is_exactly("imageTagMutability", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"))


lifecycle_policy_exists = stack_rule(
    "GH-ECR-003",
    title="ECR repositories have a lifecycle policy",
    severity=Severity.LOW,
    types=aws("ecr.Repository"),
    pack="resilience",
    upstream="ECR.3",
    url=f"{_GUIDE}/LifecyclePolicies.html",
).requires(
    has_resource(
        "ecr.LifecyclePolicy", "repository", missing="the repository has no lifecycle policy"
    )
)


@resource_rule(
    "GH-ECR-005",
    title="Lifecycle policies of ECR do not expire images in use",
    remedy=(
        'use tagStatus="tagged" with tagPatternList for releases, and a rule with higher '
        "priority for tags of deployed images"
    ),
    severity=Severity.HIGH,
    types=aws("ecr.LifecyclePolicy"),
    levels=levels("A", "M", "M"),
    pack="resilience",
    url=f"{_GUIDE}/lifecycle_policy_parameters.html",
)
def lifecycle_policy_retains_images_in_use(lifecycle: Resource) -> CheckResults:
    for rule in lifecycle.props.decoded("policy").block("policy").blocks("rules"):
        selection = rule.block("selection")
        if selection.text("tagStatus") == "any" and selection.text("countType") in (
            "imageCountMoreThan",
            "sinceImagePushed",
        ):
            yield (
                f"{selection.path_of('tagStatus')} is any, so images that run are counted or "
                f"expired"
            )


repository_policy_is_not_public = resource_rule(
    "GH-ECR-006",
    title="ECR repository policies do not allow public or unknown cross-account access",
    remedy="name the principals, or add a condition on aws:PrincipalOrgID or aws:SourceArn",
    severity=Severity.CRITICAL,
    types=aws("ecr.RepositoryPolicy", "ecr.RegistryPolicy"),
    lists=ACCOUNTS,
    upstream="2.21 CKV_AWS_32 ECR1",
    url=f"{_GUIDE}/repository-policies.html",
).requires(allows_known_accounts("policy", "a statement"))


@_repository_rule(
    "GH-ECR-004",
    title="ECR repositories are encrypted with a customer managed key",
    remedy='set encryptionConfigurations to [{encryptionType: "KMS", kmsKey: the key\'s ARN}]',
    severity=Severity.LOW,
    upstream="CKV_AWS_136",
    url=f"{_GUIDE}/encryption-at-rest.html",
)
def repository_uses_customer_key(repository: Resource) -> CheckResults:
    configurations = repository.props.blocks("encryptionConfigurations")
    if not any(
        block.text("encryptionType").startswith("KMS") and block.is_customer_key("kmsKey")
        for block in configurations
    ):
        yield "encryptionConfigurations has no customer managed key"
