"""ECR repositories and references to the images that a stack runs."""

import json

import pulumi
import pulumi_aws as aws

from components.component import StackComponent, with_dependencies
from components.context import Stack
from components.iam.documents import render
from components.iam.resource_policies import repository_policy
from components.iam.sharing_roles import function_arns
from components.naming import tags

RUNTIME = "runtime"
"""Resource name of the repository for the image of Gatehouse."""
RELEASES, UNTAGGED_DAYS, DEPLOYED_DAYS = 50, 7, 3650


class ContainerImage(StackComponent):
    """An ECR repository with immutable tags, scan on push and KMS encryption, for the image of
    Gatehouse (`RUNTIME`) or of a Core.

    Why: Tasks reference the image by digest, so the tested image is the deployed image.
    """

    url: str
    """`<registry>/<repository>`, known at preview."""
    reference: str
    """`<registry>/<repository>@sha256:...`, known at preview."""
    lambda_reference: pulumi.Input[str]
    """The image reference. Resolves after Lambda is allowed to pull the image."""

    def __init__(
        self, name: str, stack: Stack, key_arn: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> None:
        super().__init__(name, stack, opts)
        settings = self.settings
        image = settings.core_tasks[name].image_digest if name != RUNTIME else settings.image.digest
        functions = function_arns(self.names, self.contract) if name == RUNTIME else ()
        repository = aws.ecr.Repository(
            name,
            name=self.names.name(name),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            encryption_configurations=[{"encryption_type": "KMS", "kms_key": key_arn}],
            force_delete=settings.buckets.force_destroy,
            tags=tags("internal"),
            opts=self.protected(),
        )
        releases = RELEASES if name == RUNTIME else 0
        lifecycle = json.dumps(lifecycle_policy(releases))
        aws.ecr.LifecyclePolicy(name, repository=repository.name, policy=lifecycle, opts=self.child)
        self.repository = repository.name
        self.url = f"{self.names.registry}/{self.names.name(name)}"
        self.reference = f"{self.url}@{image}"
        self.lambda_reference = self.reference
        if functions:
            document = render(repository_policy(functions))
            policy = aws.ecr.RepositoryPolicy(
                name, repository=repository.name, policy=document, opts=self.child
            )
            self.lambda_reference = with_dependencies(
                pulumi.Output.from_input(self.reference), policy.id
            )
        self.register_outputs({})


def lifecycle_policy(images_max: int) -> dict[str, object]:
    """Return a lifecycle policy that retains the newest `images_max` releases and, for ten years,
    deployed images, and expires untagged images after a week. With 0, it retains all tagged images,
    because the deployed images of Cores have no tag of their own.

    A push creates several images: an index, the image, its attestations and signatures. So the
    rules select tags. Whoever pushes images chooses their tags, so the rule for deployed images
    counts days instead of images. An image that a rule matches cannot be expired by a rule with a
    lower priority, so a deployed image does not expire as a release, and ECR does not expire images
    of an existing index (ECR User Guide, "Lifecycle policy properties"). `make deploy` tags images
    as deployed.
    """
    newest = {"countType": "imageCountMoreThan", "countNumber": images_max}
    rules = {
        "Retain deployed images": {**_tagged("deployed-*"), **_older_than(DEPLOYED_DAYS)},
        f"Retain the newest {images_max} releases": {**_tagged("release-*"), **newest},
        f"Expire untagged images after {UNTAGGED_DAYS} days": {
            "tagStatus": "untagged",
            **_older_than(UNTAGGED_DAYS),
        },
    }
    return {
        "rules": [
            {
                "rulePriority": priority,
                "description": description,
                "selection": selection,
                "action": {"type": "expire"},
            }
            for priority, (description, selection) in enumerate(rules.items(), start=1)
            if images_max or selection["tagStatus"] == "untagged"
        ]
    }


def _tagged(pattern: str) -> dict[str, object]:
    return {"tagStatus": "tagged", "tagPatternList": [pattern]}


def _older_than(days: int) -> dict[str, object]:
    return {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": days}
