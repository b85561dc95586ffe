"""The IAM and resource policies of the prod stack."""

import json
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import yaml
from pulumi_local.type_tokens import aws, by_token
from pulumi_local.types import Deployment

from components.naming import Naming
from sandbox.paths import REPOSITORY
from tools.docs.deployments import deployed

STACK = "prod"
SETTINGS: dict[str, Any] = yaml.safe_load((REPOSITORY / f"Pulumi.{STACK}.yaml").read_text())[
    "config"
]["gatehouse:settings"]
SETTINGS["delivery"] = {
    "repository": "acme/gatehouse",
    "create_oidc_provider": True,
    "state_bucket": "acme-pulumi-state",
}
"""The settings of the stack file, with the roles of a pipeline."""
NAMES = Naming(STACK, SETTINGS["account"], SETTINGS["region"])
_RESOURCE_POLICIES = by_token(
    {
        "kms.Key": ("key", "policy"),
        "s3.BucketPolicy": ("bucket", "policy"),
        "secretsmanager.SecretPolicy": ("secret", "policy"),
        "ec2.VpcEndpoint": ("endpoint", "policy"),
        "sns.TopicPolicy": ("topic", "policy"),
        "cloudwatch.LogResourcePolicy": ("logs", "policyDocument"),
        "ecr.RepositoryPolicy": ("repository", "policy"),
        "dynamodb.ResourcePolicy": ("table", "policy"),
        "backup.VaultPolicy": ("vault", "policy"),
        "apigateway.RestApi": ("api", "policy"),
        "sqs.QueuePolicy": ("queue", "policy"),
    }
)
"""For each resource type, the kind of resource that the policy protects, and the property that
contains the document.
"""


@dataclass(slots=True)
class Role:
    """An IAM role. trust: the assume role policy. boundary: the permissions boundary, if the role
    has one.
    """

    name: str
    arn: str
    description: str
    trust: dict[str, Any]
    policies: list[dict[str, Any]] = field(default_factory=list)
    boundary: dict[str, Any] | None = None


@dataclass(frozen=True)
class ResourcePolicy:
    """The policy of a resource. kind: key, bucket, secret and so on. name: name of the resource in
    the program.
    """

    kind: str
    name: str
    document: dict[str, Any]


@dataclass(frozen=True)
class PolicyDocuments:
    """The documents of a stack. managed: managed policies, keyed by ARN."""

    roles: dict[str, Role]
    managed: dict[str, dict[str, Any]]
    resource_policies: tuple[ResourcePolicy, ...]


@cache
def documents() -> PolicyDocuments:
    """Every policy document of the stack, including those that the stack adds when sharing is
    serverless.
    """
    serverless = json.dumps(
        {**SETTINGS, "sharing": {"mode": "serverless", "api_gateway_log_role": True}}
    )
    base, added = (
        collect(deployed(STACK, settings)) for settings in (json.dumps(SETTINGS), serverless)
    )
    known = {(policy.kind, policy.name) for policy in base.resource_policies}
    guarded = (
        *base.resource_policies,
        *(policy for policy in added.resource_policies if (policy.kind, policy.name) not in known),
    )
    return PolicyDocuments(
        {**added.roles, **base.roles}, {**added.managed, **base.managed}, guarded
    )


def collect(deployment: Deployment) -> PolicyDocuments:
    """The policy documents of a deployment with known outputs."""
    roles: dict[str, Role] = {}
    managed: dict[str, dict[str, Any]] = {}
    boundaries: dict[str, str] = {}
    policies: list[ResourcePolicy] = []
    for resource in deployment.resources:
        inputs, type_ = resource.registration.inputs, resource.registration.type
        if type_ in _RESOURCE_POLICIES:
            kind, key = _RESOURCE_POLICIES[type_]
            if text := inputs.get(key):
                policies.append(ResourcePolicy(kind, resource.registration.name, json.loads(text)))
        elif type_ in aws("iam.Role"):
            name = str(resource.outputs.get("name", resource.registration.name))
            trust = json.loads(inputs["assumeRolePolicy"])
            roles[name] = Role(
                name, str(resource.outputs["arn"]), str(inputs.get("description", "")), trust
            )
            boundaries[name] = str(inputs.get("permissionsBoundary") or "")
        elif type_ in aws("iam.Policy"):
            managed[str(resource.outputs["arn"])] = json.loads(inputs["policy"])
        elif type_ in aws("iam.RolePolicy"):
            roles[str(inputs["role"])].policies.append(json.loads(inputs["policy"]))
        elif type_ in aws("iam.RolePolicyAttachment") and str(inputs["policyArn"]) in managed:
            roles[str(inputs["role"])].policies.append(managed[str(inputs["policyArn"])])
    for name, arn in boundaries.items():
        roles[name].boundary = managed.get(arn)
    return PolicyDocuments(roles, managed, tuple(policies))


def short_name(role: str) -> str:
    return role.removeprefix(NAMES.name(""))
