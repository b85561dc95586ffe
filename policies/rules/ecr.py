"""Rules about image repositories: scanned, immutable, encrypted, tidied."""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/AmazonECR/latest/userguide"


@resource_rule(
    "GH-ECR-001",
    title="Images are scanned when they arrive",
    why="Known holes in the image's packages are then known before it runs.",
    remedy="set imageScanningConfiguration to {scanOnPush: True}",
    severity=Severity.MEDIUM,
    types=tokens.REPOSITORY,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("ECR.1",), checkov=("CKV_AWS_163",), prowler=("ecr_repositories_scan_images_on_push_enabled",)
    ),
    url=f"{_GUIDE}/image-scanning.html",
)
def images_are_scanned(repository: Resource) -> Found:
    if not repository.props.block("imageScanningConfiguration").flag("scanOnPush"):
        yield "imageScanningConfiguration.scanOnPush is not true"


@resource_rule(
    "GH-ECR-002",
    title="A tag never moves to another image",
    why="What was checked under a tag should be what runs under it.",
    remedy='set imageTagMutability="IMMUTABLE"',
    severity=Severity.MEDIUM,
    types=tokens.REPOSITORY,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("ECR.2",), checkov=("CKV_AWS_51",), prowler=("ecr_repositories_tag_immutability",)),
    url=f"{_GUIDE}/image-tag-mutability.html",
)
def tags_do_not_move(repository: Resource) -> Found:
    if not repository.props.text("imageTagMutability", "MUTABLE").startswith("IMMUTABLE"):
        yield "imageTagMutability is not IMMUTABLE"


@stack_rule(
    "GH-ECR-003",
    title="Old images end",
    why="Every pushed image is kept and paid for until a lifecycle policy ends it.",
    remedy="add an aws.ecr.LifecyclePolicy for the repository",
    severity=Severity.LOW,
    types=tokens.REPOSITORY,
    levels=AFTER_DEV,
    pack="resilience",
    upstream=Upstream(security_hub=("ECR.3",), prowler=("ecr_repositories_lifecycle_policy_enabled",)),
    url=f"{_GUIDE}/LifecyclePolicies.html",
)
def old_images_end(repository: Resource, stack: Stack) -> Found:
    if not stack.users(repository, tokens.REPOSITORY_LIFECYCLE, "repository"):
        yield "no lifecycle policy belongs to this repository"


@resource_rule(
    "GH-ECR-004",
    title="Repositories are encrypted with a customer key",
    why="Images hold the product's code and sometimes more.",
    remedy='set encryptionConfigurations to [{encryptionType: "KMS", kmsKey: the key\'s ARN}]',
    severity=Severity.LOW,
    types=tokens.REPOSITORY,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_136",)),
    url=f"{_GUIDE}/encryption-at-rest.html",
)
def repositories_have_a_customer_key(repository: Resource) -> Found:
    configurations = repository.props.blocks("encryptionConfigurations")
    if not any(c.text("encryptionType").startswith("KMS") and c.has("kmsKey") for c in configurations):
        yield "encryptionConfigurations name no customer key"
