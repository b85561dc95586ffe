"""IAM roles that the jobs of a pipeline assume through OpenID Connect."""

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.delivery import policies
from components.delivery.scope import IMAGE, Delivery
from components.iam.documents import Document, render
from components.naming import DEPLOY, PREVIEW, tags

ROLES = {
    PREVIEW: (
        "Reads the configuration of the stack, for previews and nightly drift detection",
        3600,
    ),
    DEPLOY: ("Deploys the stack", 7200),
    IMAGE: ("Pushes images of Gatehouse to the repository of the stack", 3600),
}
"""Description and maximum session duration in seconds of each role. .github/workflows/release.yml
requests the whole duration, in which a deployment with its rollout ends."""


class DeliveryRoles(StackComponent):
    """An optional OIDC provider and three IAM roles, each for jobs in one GitHub environment of one
    repository, or with other subjects.

    Why: The pipeline needs no long-lived credentials. A preview cannot read secrets, objects or log
    events. A deployment cannot create roles without the stack's permissions boundary, extend its
    own permissions, change CloudTrail trails or backup vaults, or delete data stores.
    """

    roles: dict[str, pulumi.Output[str]]
    """ARNs of the roles preview, deploy and image, keyed by role name."""

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, stack, opts)
        self.roles = {}
        if self.settings.delivery.create_oidc_provider:
            aws.iam.OpenIdConnectProvider(
                name,
                url=f"https://{self.settings.delivery.issuer}",
                client_id_lists=[policies.AUDIENCE],
                tags=tags("internal"),
                opts=self.child,
            )
        if self.settings.delivery.repository:
            self._create_roles(Delivery(stack))
        self.register_outputs({})

    def _create_roles(self, delivery: Delivery) -> None:
        boundary: pulumi.Input[str] | None = self.names.permissions_boundary
        if boundary is None:
            description = "Permissions boundary of the pipeline roles"
            document = policies.boundary(delivery)
            boundary = self._policy(policies.BOUNDARY, description, document).arn
        documents = policies.policies(delivery)
        managed = {
            name: self._policy(name, "Permissions of the pipeline roles", policy)
            for name, policy in documents.items()
        }
        for role_name, (description, session_s) in ROLES.items():
            role = aws.iam.Role(
                role_name,
                name=self.names.name(role_name),
                path=self.names.role_path,
                description=description,
                assume_role_policy=render(policies.trust_policy(delivery, role_name)),
                permissions_boundary=boundary,
                max_session_duration=session_s,
                tags=tags("internal"),
                opts=self.child,
            )
            for policy in policies.attached_policies(role_name, documents):
                aws.iam.RolePolicyAttachment(
                    f"{role_name}-{policy}",
                    role=role.name,
                    policy_arn=managed[policy].arn,
                    opts=self.child,
                )
            self.roles[role_name] = role.arn

    def _policy(self, name: str, description: str, document: Document) -> aws.iam.Policy:
        return aws.iam.Policy(
            name,
            name=self.names.name(name),
            description=description,
            policy=render(document),
            tags=tags("internal"),
            opts=self.child,
        )
