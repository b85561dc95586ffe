"""The interface VPC endpoints of AWS services that tasks use."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, Placement, StackArgs
from components.iam.documents import render
from components.iam.endpoint_policies import interface_policies
from components.naming import tags
from components.settings.network import NetworkSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class VpcEndpointsArgs(StackArgs):
    """Arguments of `VpcEndpoints`.

    network: Endpoints of ECS Exec.
    vpc_id: VPC of the endpoints.
    placement: Subnets of the endpoints, one for each zone, and their security group.
    """

    network: NetworkSettings
    vpc_id: pulumi.Input[str]
    placement: Placement


class VpcEndpoints(Component):
    """Interface endpoints with private DNS for ECR, CloudWatch Logs, Secrets Manager, KMS, STS and CloudWatch.

    Why: Tasks without internet access can start, write logs and read secrets. The endpoint policies prevent data
    exfiltration with credentials of another account.
    Cost: about 8 USD a month per service and zone. Controls: GH-VPC-008, GH-VPC-009.
    """

    def __init__(self, name: str, args: VpcEndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:VpcEndpoints", name, args, opts)
        for service, policy in interface_policies(args.names, ecs_exec=args.network.exec_endpoints).items():
            aws.ec2.VpcEndpoint(
                service,
                vpc_id=args.vpc_id,
                service_name=f"com.amazonaws.{args.names.region}.{service}",
                vpc_endpoint_type="Interface",
                subnet_ids=list(args.placement.subnet_ids),
                security_group_ids=[args.placement.security_group_id],
                private_dns_enabled=True,
                policy=render(policy),
                tags=tags("none", Name=args.names.name(service.replace(".", "-"))),
                opts=self.child,
            )
        self.register_outputs({})
