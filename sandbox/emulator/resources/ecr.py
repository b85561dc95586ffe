"""ECR repositories and their policies."""

import json
from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import HOW_PULUMI_WORKS, Row


def _document(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _repository(make: Make, parameters: dict[str, Any]) -> None:
    configurations = make.take("encryptionConfigurations")
    if configurations:
        parameters["encryptionConfiguration"] = make.part("ecr.create_repository", "encryptionConfiguration", configurations)


def _lifecycle(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("repository")
    make.call("ecr.put_lifecycle_policy", repositoryName=name, lifecyclePolicyText=_document(make.take("policy")))
    return name, {"registryId": make.account}


def _repository_policy(make: Make) -> tuple[str, dict[str, Any]]:
    name = make.take("repository")
    make.call("ecr.set_repository_policy", repositoryName=name, policyText=_document(make.take("policy")))
    return name, {"registryId": make.account}


ROWS: dict[str, Row] = {
    "aws:ecr/repository:Repository": Row(
        call="ecr.create_repository",
        reply="repository",
        id="{repositoryName}",
        names={"name": "repositoryName"},
        shape=_repository,
        by_hand=("encryptionConfigurations",),
        ignored={"forceDelete": HOW_PULUMI_WORKS},
        outputs={"arn": "{repositoryArn}", "repositoryUrl": "{repositoryUri}"},
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Row(make=_lifecycle),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": Row(make=_repository_policy),
}
