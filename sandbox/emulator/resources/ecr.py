"""ECR repositories and their policies."""

import json
from typing import Any

from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import PULUMI_ONLY, ResourceType


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _set_encryption(request: CreateRequest, parameters: dict[str, Any]) -> None:
    configurations = request.take("encryptionConfigurations")
    if configurations:
        parameters["encryptionConfiguration"] = request.part("ecr.create_repository", "encryptionConfiguration", configurations)


def _put_lifecycle_policy(request: CreateRequest) -> Created:
    name = request.take("repository")
    request.call("ecr.put_lifecycle_policy", repositoryName=name, lifecyclePolicyText=_document(request.take("policy")))
    return name, {"registryId": request.account}


def _set_repository_policy(request: CreateRequest) -> Created:
    name = request.take("repository")
    request.call("ecr.set_repository_policy", repositoryName=name, policyText=_document(request.take("policy")))
    return name, {"registryId": request.account}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:ecr/repository:Repository": ResourceType(
        call="ecr.create_repository",
        result="repository",
        id="{repositoryName}",
        names={"name": "repositoryName"},
        prepare=_set_encryption,
        handled=("encryptionConfigurations",),
        ignored={"forceDelete": PULUMI_ONLY},
        outputs={"arn": "{repositoryArn}", "repositoryUrl": "{repositoryUri}"},
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": ResourceType(create=_put_lifecycle_policy),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": ResourceType(create=_set_repository_policy),
}
