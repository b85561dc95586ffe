"""The repository of the container image, and the image that this stack runs."""

import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs, with_dependencies
from components.iam.documents import Document, allow, document, render
from components.naming import Naming
from components.settings.workloads import ImageSettings
from components.tags import tags

RUNTIME = "runtime"


@dataclass(frozen=True, kw_only=True)
class ContainerImageArgs:
    """names: the stack's names. image: which image runs, and how many are kept. key_arn: the KMS key of the layers.
    force_delete: delete with images in it. repository: what it is called (Naming.name's `thing`). functions: ARNs of the
    Lambda functions that run the image."""

    names: Naming
    image: ImageSettings
    key_arn: pulumi.Input[str]
    force_delete: bool
    repository: str = RUNTIME
    function_arns: tuple[str, ...] = ()


class ContainerImage(pulumi.ComponentResource):
    """An ECR repository whose tags never move, scanned on push, encrypted by our key.

    Why: the stack names the image by digest, so what was tested is what runs. Cost: 0.10 USD a GB and month. Controls:
    GH-ECR-001 to GH-ECR-004, GH-ECS-014.
    """

    repository: pulumi.Output[str]
    reference: str
    """`<registry>/<repository>@sha256:...`, known at preview."""
    lambda_reference: pulumi.Input[str]
    """The same, once the functions may pull it."""

    def __init__(self, name: str, args: ContainerImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:compute:ContainerImage", name, component_inputs(args), opts)
        repository = aws.ecr.Repository(
            name,
            name=args.names.name(args.repository),
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
            encryption_configurations=[
                aws.ecr.RepositoryEncryptionConfigurationArgs(encryption_type="KMS", kms_key=args.key_arn)
            ],
            force_delete=args.force_delete,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.ecr.LifecyclePolicy(
            name,
            repository=repository.name,
            policy=json.dumps(lifecycle(args.image.retained_images)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.repository = repository.name
        self.reference = reference(args.names, args.image.digest, args.repository)
        self.lambda_reference = self.reference
        if args.function_arns:
            policy = aws.ecr.RepositoryPolicy(
                name,
                repository=repository.name,
                policy=render(pulled_by(args.names, args.function_arns)),
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.lambda_reference = with_dependencies(pulumi.Output.from_input(self.reference), policy.id)
        self.register_outputs({"repository": self.repository, "reference": self.reference})


def reference(names: Naming, digest: str, repository: str = RUNTIME) -> str:
    """The image with this digest in a repository of the stack."""
    return f"{names.account}.dkr.ecr.{names.region}.amazonaws.com/{names.name(repository)}@{digest}"


def pulled_by(names: Naming, functions: tuple[str, ...]) -> Document:
    """Lambda pulls for these functions of ours (Lambda developer guide, "Amazon ECR permissions"). The policy of a
    repository names no resource: it is the repository."""
    pulls = allow(
        "FunctionsPull",
        ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        [],
        principal={"Service": "lambda.amazonaws.com"},
        conditions={
            "StringEquals": {"aws:SourceAccount": names.account},
            "ArnLike": {"aws:SourceArn": list(functions)},
        },
    )
    del pulls["Resource"]
    return document(pulls)


def lifecycle(kept: int) -> dict[str, object]:
    """Untagged images leave after a week, of the others the newest stay."""
    expire = {"type": "expire"}
    untagged = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 7}
    newest = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": kept}
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "Untagged images leave after a week",
                "selection": untagged,
                "action": expire,
            },
            {"rulePriority": 2, "description": f"The newest {kept} images stay", "selection": newest, "action": expire},
        ]
    }
