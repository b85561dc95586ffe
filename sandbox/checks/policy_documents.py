"""Finds every policy document of a deployment: who may take a role, what it may do, and who may touch what is guarded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.engine.types import Deployment, Registration

_GUARDED = {
    "aws:kms/key:Key": ("key", "policy"),
    "aws:s3/bucketPolicy:BucketPolicy": ("bucket", "policy"),
    "aws:secretsmanager/secretPolicy:SecretPolicy": ("secret", "policy"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("endpoint", "policy"),
    "aws:sns/topicPolicy:TopicPolicy": ("topic", "policy"),
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": ("logs", "policyDocument"),
    "aws:ecr/repositoryPolicy:RepositoryPolicy": ("repository", "policy"),
    "aws:dynamodb/resourcePolicy:ResourcePolicy": ("table", "policy"),
    "aws:backup/vaultPolicy:VaultPolicy": ("vault", "policy"),
    "aws:apigateway/restApi:RestApi": ("api", "policy"),
    "aws:sqs/queuePolicy:QueuePolicy": ("queue", "policy"),
}
"""Type of a resource that carries a policy, the word for what it guards, and the property."""


@dataclass(slots=True)
class Role:
    """One IAM role. `name`: as in AWS. `policies`: what it may do. `boundary`: what it may never exceed, if there is one."""

    name: str
    arn: str
    description: str
    trust: dict[str, Any]
    policies: list[dict[str, Any]] = field(default_factory=list)
    boundary: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A document on a resource. `kind`: key, bucket, secret, ...; `name`: its name in the program."""

    kind: str
    name: str
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Documents:
    """Every document of one stack. `managed`: the policies with an ARN of their own, by it."""

    roles: dict[str, Role]
    managed: dict[str, dict[str, Any]]
    guarded: tuple[Guarded, ...]

    def on(self, kind: str, name: str) -> dict[str, Any]:
        """The document on one resource; KeyError when there is none."""
        for guarded in self.guarded:
            if (guarded.kind, guarded.name) == (kind, name):
                return guarded.document
        raise KeyError(f"no {kind} {name}")


def collect(deployment: Deployment) -> Documents:
    """The documents of a deployment whose outputs are known. Policies that are attached by ARN are found by it."""
    roles: dict[str, Role] = {}
    managed: dict[str, dict[str, Any]] = {}
    bounded: dict[str, str] = {}
    for resource in deployment.resources:
        asked, type_ = resource.registration.inputs, resource.registration.type
        if type_ == "aws:iam/role:Role":
            name = str(resource.outputs.get("name", resource.registration.name))
            roles[name] = Role(
                name, str(resource.outputs["arn"]), str(asked.get("description", "")), json.loads(asked["assumeRolePolicy"])
            )
            bounded[name] = str(asked.get("permissionsBoundary") or "")
        elif type_ == "aws:iam/policy:Policy":
            managed[str(resource.outputs["arn"])] = json.loads(asked["policy"])
        elif type_ == "aws:iam/rolePolicy:RolePolicy":
            roles[str(asked["role"])].policies.append(json.loads(asked["policy"]))
        elif type_ == "aws:iam/rolePolicyAttachment:RolePolicyAttachment" and str(asked["policyArn"]) in managed:
            roles[str(asked["role"])].policies.append(managed[str(asked["policyArn"])])
    for name, arn in bounded.items():
        roles[name].boundary = managed.get(arn)
    return Documents(roles, managed, tuple(_guarded(resource.registration for resource in deployment.resources)))


def _guarded(registrations: Iterator[Registration]) -> Iterator[Guarded]:
    for registration in registrations:
        if registration.type in _GUARDED:
            kind, key = _GUARDED[registration.type]
            if text := registration.inputs.get(key):
                yield Guarded(kind, registration.name, json.loads(text))
