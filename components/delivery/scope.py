"""`Delivery`: what limits the roles of the pipeline to the resources of a stack."""

from collections.abc import Sequence
from typing import Any

from components.context import Stack
from components.iam.documents import Conditions, Statement, allow
from components.naming import PROJECT

GLOBAL_REGION = "us-east-1"
"""Value of aws:RequestedRegion for IAM, Route 53, AWS Budgets and Cost Explorer. Source: the
endpoints and signing regions of botocore."""
IMAGE = "image"
ANY = ("*",)


class Delivery:
    """Limits of the statements for the pipeline of a stack.

    all: All names of the stack, as a pattern.
    in_regions: The condition that a request is sent to one of the stack's regions.
    own_resource: The condition that a resource has the stack's tags, in one of its regions.
    own_request: The condition that a request for a new resource has the stack's tags. A request for
        a resource with tags of others does not meet the condition, because it would take the
        resource over.
    """

    def __init__(self, stack: Stack) -> None:
        self.settings, self.names = stack.settings, stack.names
        self.hosts = stack.contract.host_patterns
        self.cloudfront = stack.settings.services.cloudfront
        self.all = self.names.name("*")
        regions = {self.names.region, GLOBAL_REGION, *self.settings.other_regions}
        tags = {"Project": PROJECT, "Environment": self.names.stack}
        region: dict[str, Any] = {"aws:RequestedRegion": sorted(regions)}
        resource = {f"aws:ResourceTag/{name}": value for name, value in tags.items()}
        request = {f"aws:RequestTag/{name}": value for name, value in tags.items()}
        self.in_regions: Conditions = {"StringEquals": region}
        self.own_resource: Conditions = {"StringEquals": region | resource}
        self.own_request: Conditions = {
            "StringEquals": region | request,
            "StringEqualsIfExists": resource,
        }

    def regional(
        self, sid: str, actions: str | Sequence[str], resources: Sequence[str] = ANY
    ) -> Statement:
        """Return a statement that allows requests to the stack's regions."""
        return allow(sid, actions, resources, conditions=self.in_regions)

    def arns(self, service: str, *resources: str) -> list[str]:
        """Return the ARNs of resources in any region."""
        return [self.names.any_arn(service, resource, "*") for resource in resources]

    def s3_arns(self, *resources: str) -> list[str]:
        return [self.names.s3_arn(resource) for resource in resources]


def together(*conditions: Conditions) -> dict[str, dict[str, Any]]:
    """Return the conditions that require all of these."""
    merged: dict[str, dict[str, Any]] = {}
    for condition in conditions:
        for operator, keys in condition.items():
            merged[operator] = {**merged.get(operator, {}), **keys}
    return merged
