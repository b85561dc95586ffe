"""Composite component with the resources that ECS services depend on."""

from collections.abc import Sequence
from dataclasses import replace

import pulumi

from components.component import Component, StackArgs, TargetGroups
from components.compute.container_image import ContainerImage, ContainerImageArgs
from components.compute.ecs_service import EcsCluster
from components.contract import ContractService, Stack
from components.edge.certificate import Certificate, CertificateArgs
from components.edge.load_balancer import LoadBalancer, LoadBalancerArgs
from components.foundation import Foundation
from components.iam import sharing_roles
from components.network.security_groups import ORIGIN
from components.network.service_discovery import ServiceDiscovery, ServiceDiscoveryArgs
from components.private_network import PrivateNetwork
from components.settings.workloads import CONSOLE, ImageSettings
from components.web_hosting import WebHosting


class Platform(Component):
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
        super().__init__("gatehouse:platform:Platform", name, None, opts)
        settings, names, contract = stack.settings, stack.names, stack.contract
        image = ContainerImageArgs(
            names=names,
            image=settings.image,
            key_arn=foundation.keys.data_arn,
            protection=settings.protection,
            buckets=settings.buckets,
            function_arns=sharing_roles.function_arns(names, contract),
        )
        self.runtime_image = ContainerImage("runtime", image, self.child)
        digests = {name: core.image_digest for name, core in settings.core_tasks.items()}
        self.core_images = {}
        for repository, digest in digests.items():
            sidecar = ImageSettings(digest=digest, retained_images=settings.image.retained_images)
            args = replace(image, image=sidecar, repository=repository, function_arns=())
            self.core_images[repository] = ContainerImage(repository, args, self.child).reference
        self.certificate = Certificate(
            "certificate",
            CertificateArgs(
                names=names,
                domain=settings.domain,
                host_names=tuple(contract.hosts.values()),
                cloudfront_host=contract.hosts[CONSOLE] if settings.services.cloudfront else "",
                protection=settings.protection,
                existing=settings.existing_resources,
                replaces_records=bool(settings.recovery.restore.stack),
            ),
            self.child,
        )
        load_balancer = LoadBalancerArgs(
            names=names,
            load_balancer=settings.load_balancer,
            test_traffic=settings.rollout.tests_traffic,
            services={
                name: service
                for name, service in contract.services.items()
                if not (name == CONSOLE and settings.services.cloudfront)
            },
            host_names=contract.hosts,
            vpc_id=network.vpc.vpc_id,
            placement=network.placement("edge", "edge"),
            certificate_arn=self.certificate.arn,
            log_bucket=foundation.log_bucket.name,
        )
        self.load_balancer = LoadBalancer("edge", load_balancer, self.child)
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
        self.cluster = EcsCluster("main", StackArgs(names=names), self.child)
        cores = tuple(core.name for core in settings.cores)
        discovery = ServiceDiscoveryArgs(names=names, vpc_id=network.vpc.vpc_id, core_names=cores)
        self.service_discovery = ServiceDiscovery("service-discovery", discovery, self.child)
        self.register_outputs({})

    @property
    def load_balancers(self) -> dict[str, LoadBalancer]:
        """The load balancers, keyed by resource name."""
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

    def target_groups_of(self, services: Sequence[ContractService]) -> dict[int, TargetGroups]:
        """Return the target groups of the services to which a load balancer forwards requests,
        keyed by port.
        """
        return {
            service.port: self.target_groups[service.name]
            for service in services
            if service.name in self.target_groups
        }
