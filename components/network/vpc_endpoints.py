"""The interface VPC endpoints of AWS services that tasks use."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.iam.documents import render
from components.iam.endpoint_policies import interface_policies
from components.naming import tags


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcEndpointsArgs(StackArgs):
    """Arguments of `VpcEndpoints`.

    vpc_id: VPC of the endpoints.
    subnet_ids: Subnets of the endpoints, one for each zone.
    security_group_id: Security group of the endpoints.
    ecs_exec: Also create the endpoints of ECS Exec.
    """

    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    ecs_exec: bool = False


class VpcEndpoints(Component):
    """Interface endpoints with private DNS for ECR, CloudWatch Logs, Secrets Manager, KMS, STS and CloudWatch.

    Why: Tasks without internet access can start, write logs and read secrets. The endpoint policies prevent data
    exfiltration with credentials of another account.
    Cost: about 8 USD a month per service and zone. Controls: GH-VPC-008, GH-VPC-009.
    """

    def __init__(self, name: str, args: VpcEndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:VpcEndpoints", name, args, opts)
        for service, policy in interface_policies(args.names, ecs_exec=args.ecs_exec).items():
            aws.ec2.VpcEndpoint(
                service,
                vpc_id=args.vpc_id,
                service_name=f"com.amazonaws.{args.names.region}.{service}",
                vpc_endpoint_type="Interface",
                subnet_ids=list(args.subnet_ids),
                security_group_ids=[args.security_group_id],
                private_dns_enabled=True,
                policy=render(policy),
                tags=tags("none", Name=args.names.name(service.replace(".", "-"))),
                opts=self.child,
            )
        self.register_outputs({})
