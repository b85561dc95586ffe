"""Composite component for the console behind CloudFront."""

import pulumi

from components.component import Component
from components.contract import Stack
from components.edge.distribution import Distribution, DistributionArgs
from components.edge.load_balancer import LoadBalancer, LoadBalancerArgs
from components.edge.web_acl import WebAcl, WebAclArgs
from components.foundation import Foundation
from components.network.security_groups import ORIGIN
from components.private_network import PrivateNetwork
from components.settings.workloads import CONSOLE
from components.storage.bucket import Bucket, Buckets


class WebHosting(Component):
    """The distribution of the console, with its buckets, web ACL and internal load balancer."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        foundation: Foundation,
        network: PrivateNetwork,
        certificate_arn: pulumi.Input[str],
        cloudfront_certificate_arn: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__("gatehouse:platform:WebHosting", name, None, opts)
        settings, names, contract = stack.settings, stack.names, stack.contract
        buckets = Buckets(settings, names)
        edge_logs = Bucket.log_bucket("edge-logs", buckets.edge_logs(), self.child)
        web_ui = Bucket(
            "web-ui",
            buckets.web_ui(foundation.keys.data_arn, foundation.log_bucket.name),
            self.child,
        )
        service, host = contract.services[CONSOLE], contract.hosts[CONSOLE]
        load_balancer = LoadBalancerArgs(
            names=names,
            load_balancer=settings.load_balancer,
            test_traffic=settings.rollout.tests_traffic,
            internal=True,
            services={CONSOLE: service},
            host_names=contract.hosts,
            vpc_id=network.vpc.vpc_id,
            placement=network.placement("app", ORIGIN),
            certificate_arn=certificate_arn,
            log_bucket=foundation.log_bucket.name,
        )
        self.load_balancer = LoadBalancer(ORIGIN, load_balancer, self.child)
        web_acl = WebAclArgs(
            names=names,
            waf=settings.waf,
            host_names={CONSOLE: host},
            log_bucket_arn=edge_logs.arn,
            logs=foundation.logs,
        )
        distribution = DistributionArgs(
            names=names,
            host_name=host,
            certificate_arn=cloudfront_certificate_arn,
            web_acl_arn=WebAcl("cloudfront", web_acl, self.child).arn,
            bucket=web_ui.name,
            load_balancer_arn=self.load_balancer.arn,
            load_balancer_name=self.load_balancer.dns_name,
            health_paths=(service.health, service.ready),
            log_bucket_arn=edge_logs.arn,
        )
        self.distribution = Distribution("console", distribution, self.child)
        self.register_outputs({})
