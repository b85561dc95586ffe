"""The roles with which the pipeline on GitHub looks at the stack, changes it, and pushes its images."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.delivery import policies
from components.delivery.deploy_permissions import Pipeline
from components.iam.documents import render
from components.naming import Naming
from components.settings.operations import DeliverySettings
from components.tags import tags

SESSION_S = {policies.PREVIEW: 3600, policies.DEPLOY: 7200, policies.IMAGE: 3600}
"""How long a job's credentials live: a release may bake for a while, see the timeouts in .github/workflows."""
WORDS = {
    policies.PREVIEW: "Looks at how the stack is set up, for previews and the nightly comparison",
    policies.DEPLOY: "Changes the stack from the pipeline",
    policies.IMAGE: "Pushes images into the stack's repositories",
}


@dataclass(frozen=True, kw_only=True)
class DeliveryRolesArgs:
    """names: the stack's names. deployer: who, and where Pulumi's state is. domain: the stack's DNS zone. away: region of copies,
    "" without."""

    names: Naming
    delivery: DeliverySettings
    domain: str
    replica_region: str


class DeliveryRoles(pulumi.ComponentResource):
    """GitHub as an identity provider, where this stack makes it, and three roles, each taken by one GitHub environment of
    one repository alone and held by a permissions boundary.

    Why: a pipeline without keys has none to lose. A preview can read no secret, object or log line; a deployment cannot make a
    role stronger than the stack's boundary, itself included, cannot touch the audit trail, its locked bucket or the backup
    vaults, and ends nothing that holds data: those are an administrator's acts. Cost: none. Controls: GH-IAM-001 to
    GH-IAM-005, GH-IAM-007.
    """

    roles: dict[str, pulumi.Output[str]]
    """ARN of each role: preview, deploy, image."""

    def __init__(self, name: str, args: DeliveryRolesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:delivery:DeliveryRoles", name, component_inputs(args), opts)
        self.roles = {}
        if args.delivery.create_oidc_provider:
            aws.iam.OpenIdConnectProvider(
                name,
                url=f"https://{policies.ISSUER}",
                client_id_lists=[policies.AUDIENCE],
                tags=tags("internal"),
                opts=pulumi.ResourceOptions(parent=self),
            )
        if args.delivery.repository:
            self._roles(args)
        self.register_outputs({"roles": self.roles})

    def _roles(self, args: DeliveryRolesArgs) -> None:
        reach = reached(args)
        bound = self._policy(policies.BOUNDARY, "The bound of the pipeline's roles", render(policies.boundary(reach)), args)
        documents = policies.policies(reach)
        made = {
            thing: self._policy(thing, "Of the pipeline's roles", render(policy), args) for thing, policy in documents.items()
        }
        for thing, words in WORDS.items():
            role = aws.iam.Role(
                thing,
                name=args.names.name(thing),
                description=words,
                assume_role_policy=render(policies.trusted(reach, policies.environment(thing, args.names))),
                permissions_boundary=bound.arn,
                max_session_duration=SESSION_S[thing],
                tags=tags("internal"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            for policy in policies.attached(thing, documents):
                aws.iam.RolePolicyAttachment(
                    f"{thing}-{policy}",
                    role=role.name,
                    policy_arn=made[policy].arn,
                    opts=pulumi.ResourceOptions(parent=self),
                )
            self.roles[thing] = role.arn

    def _policy(self, thing: str, words: str, text: str, args: DeliveryRolesArgs) -> aws.iam.Policy:
        return aws.iam.Policy(
            thing,
            name=args.names.name(thing),
            description=words,
            policy=text,
            tags=tags("internal"),
            opts=pulumi.ResourceOptions(parent=self),
        )


def reached(args: DeliveryRolesArgs) -> Pipeline:
    """What the pipeline reaches, from the settings."""
    delivery = args.delivery
    return Pipeline(
        args.names,
        delivery.repository or "",
        args.domain,
        args.replica_region,
        state=delivery.state_bucket or "",
        state_key=delivery.state_key_arn or "",
    )
