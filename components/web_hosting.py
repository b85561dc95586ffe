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
        buckets = Buckets(stack.settings, stack.names)
        edge_logs = Bucket.log_bucket("edge-logs", buckets.edge_logs(), self.child)
        web_ui = Bucket(
            "web-ui",
            buckets.web_ui(foundation.keys.data_arn, foundation.log_bucket.name),
            self.child,
        )
        load_balancer = LoadBalancerArgs(
            stack=stack,
            internal=True,
            services={CONSOLE: stack.contract.services[CONSOLE]},
            vpc_id=network.vpc.vpc_id,
            placement=network.placement("app", ORIGIN),
            certificate_arn=certificate_arn,
            log_bucket=foundation.log_bucket.name,
        )
        self.load_balancer = LoadBalancer(ORIGIN, load_balancer, self.child)
        web_acl = WebAclArgs(
            stack=stack,
            logs_key_arn=foundation.keys.logs_arn,
            host_names={CONSOLE: stack.contract.hosts[CONSOLE]},
            log_bucket_arn=edge_logs.arn,
        )
        distribution = DistributionArgs(
            stack=stack,
            certificate_arn=cloudfront_certificate_arn,
            web_acl_arn=WebAcl("cloudfront", web_acl, self.child).arn,
            bucket=web_ui.name,
            load_balancer_arn=self.load_balancer.arn,
            load_balancer_name=self.load_balancer.dns_name,
            log_bucket_arn=edge_logs.arn,
        )
        self.distribution = Distribution("console", distribution, self.child)
        self.register_outputs({})
