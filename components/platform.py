"""Composite component with the resources that ECS services depend on."""

from collections.abc import Sequence

import pulumi

from components.component import StackComponent, TargetGroups
from components.compute.container_image import RUNTIME, ContainerImage
from components.compute.ecs_service import EcsCluster
from components.contract import ContractService
from components.edge.certificate import Certificate
from components.edge.load_balancer import LoadBalancer
from components.foundation import Foundation
from components.network.security_groups import ORIGIN
from components.network.service_discovery import ServiceDiscovery
from components.private_network import PrivateNetwork
from components.settings.workloads import CONSOLE
from components.stack import Stack
from components.web_hosting import WebHosting


class Platform(StackComponent):
    """Image repositories, certificate, load balancer, ECS cluster and service discovery."""

    core_images: dict[str, str]
    """Image reference of each Core, keyed by repository."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        foundation: Foundation,
        network: PrivateNetwork,
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:platform:Platform", name, stack, opts)
        settings, key_arn = self.settings, foundation.keys.data_arn
        self.runtime_image = ContainerImage(RUNTIME, stack, key_arn, self.child)
        self.core_images = {
            name: ContainerImage(name, stack, key_arn, self.child).reference
            for name in settings.core_tasks
        }
        self.certificate = Certificate("certificate", stack, self.child)
        self.load_balancer = LoadBalancer(
            "edge",
            stack,
            self.child,
            services={
                name: service
                for name, service in self.contract.services.items()
                if not (name == CONSOLE and settings.services.cloudfront)
            },
            vpc_id=network.vpc.vpc_id,
            placement=network.placement("edge", "edge"),
            certificate_arn=self.certificate.arn,
            log_bucket=foundation.access_log_bucket,
        )
        cloudfront_arn = self.certificate.cloudfront_arn
        self.web_hosting = (
            WebHosting(
                "web-hosting",
                stack,
                foundation,
                network,
                self.certificate.arn,
                cloudfront_arn,
                self.child,
            )
            if cloudfront_arn is not None
            else None
        )
        self.cluster = EcsCluster("main", stack, self.child)
        self.service_discovery = ServiceDiscovery(
            "service-discovery", stack, network.vpc.vpc_id, self.child
        )
        self.register_outputs({})

    @property
    def load_balancers(self) -> dict[str, LoadBalancer]:
        internal = {ORIGIN: self.web_hosting.load_balancer} if self.web_hosting else {}
        return {"edge": self.load_balancer, **internal}

    @property
    def target_groups(self) -> dict[str, TargetGroups]:
        """The target groups of each service behind a load balancer, keyed by the name of the
        service.
        """
        return {
            name: groups
            for balancer in self.load_balancers.values()
            for name, groups in balancer.target_groups.items()
        }

    def target_groups_of(
        self, services: Sequence[ContractService]
    ) -> list[tuple[int, TargetGroups]]:
        """Return the ports and the target groups of the services to which a load balancer forwards
        requests.
        """
        return [
            (service.port, groups[service.name])
            for groups in (self.target_groups, self.load_balancer.grpc_groups)
            for service in services
            if service.name in groups
        ]
