"""ECR repositories and their policies."""

from sandbox.emulator.resource_type import ResourceType

RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ecr/repository:Repository": ResourceType(
        call="ecr.create_repository", id="{repositoryName}", outputs={"repositoryUrl": "{repositoryUri}"}
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": ResourceType(
        call="ecr.put_lifecycle_policy",
        id="{repository}",
        names={"policy": "lifecyclePolicyText"},
        outputs={"registryId": "{account}"},
    ),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": ResourceType(
        call="ecr.set_repository_policy",
        id="{repository}",
        names={"policy": "policyText"},
        outputs={"registryId": "{account}"},
    ),
}
