"""Composite component for the console behind CloudFront."""

import pulumi

from components.component import StackComponent
from components.edge.distribution import Distribution
from components.edge.load_balancer import LoadBalancer
from components.edge.web_acl import WebAcl
from components.foundation import Foundation
from components.network.security_groups import ORIGIN
from components.private_network import PrivateNetwork
from components.settings.workloads import CONSOLE
from components.stack import Stack
from components.storage.bucket import Bucket, Buckets


class WebHosting(StackComponent):
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
        super().__init__("gatehouse:platform:WebHosting", name, stack, opts)
        buckets = Buckets(stack.settings, stack.names)
        edge_logs = Bucket.log_bucket("edge-logs", buckets.edge_logs(), self.child)
        web_ui = Bucket(
            "web-ui",
            buckets.web_ui(foundation.keys.data_arn, foundation.log_bucket.name),
            self.child,
        )
        self.load_balancer = LoadBalancer(
            ORIGIN,
            stack,
            self.child,
            services={CONSOLE: self.contract.services[CONSOLE]},
            vpc_id=network.vpc.vpc_id,
            placement=network.placement("app", ORIGIN),
            certificate_arn=certificate_arn,
            log_bucket=foundation.access_log_bucket,
            internal=True,
        )
        web_acl = WebAcl(
            "cloudfront",
            stack,
            {CONSOLE: self.contract.host_patterns[CONSOLE]},
            self.child,
            logs_key_arn=foundation.keys.logs_arn,
            protected_arns={},
            log_bucket_arn=edge_logs.arn,
        )
        self.distribution = Distribution(
            "console",
            stack,
            self.load_balancer,
            self.child,
            certificate_arn=cloudfront_certificate_arn,
            web_acl_arn=web_acl.arn,
            bucket=web_ui.name,
            log_bucket_arn=edge_logs.arn,
        )
        self.register_outputs({})
