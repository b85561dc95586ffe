"""The Application Load Balancer, with a host name and two target groups for each service."""

from collections.abc import Iterable, Mapping

import pulumi
import pulumi_aws as aws

from components.component import (
    TEST_HEADER,
    Placement,
    StackComponent,
    TargetGroups,
    with_dependencies,
)
from components.context import Stack
from components.contract import ContractService
from components.iam.bucket_policies import LOAD_BALANCER_PREFIXES
from components.naming import tags

ACCESS_LOG_PREFIX, CONNECTION_LOG_PREFIX = LOAD_BALANCER_PREFIXES
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
"""TLS 1.2 and 1.3 with forward secrecy and post-quantum key exchange. Source: Elastic Load
Balancing User Guide, "Security policies for your Application Load Balancer"."""
HSTS = "max-age=31536000; includeSubDomains"
NOT_FOUND: aws.lb.ListenerRuleActionFixedResponseArgsDict = {
    "content_type": "text/plain",
    "message_body": "Not found",
    "status_code": "404",
}
PRIORITY = 20
TEST_PRIORITY = 5
"""Difference between the priorities of the two rules of a service. The rule for test traffic is
evaluated first.
"""
GRPC = "grpc"
GRPC_PRIORITY = 10
"""Priority of the rule for gRPC requests, which is evaluated before the other rules."""
GRPC_SERVICE = "gateway"
"""Service that receives gRPC requests."""
IDLE_TIMEOUT_S = 120
DEREGISTRATION_DELAY_S = 60


class LoadBalancer(StackComponent):
    """An Application Load Balancer with a host name and two target groups for each service.
    Requests for other host names receive status code 404.

    Why: Each host name is a separate web origin, so responses from a Core cannot access the
    console. One target group receives the traffic while a deployment starts tasks in the other.
    Requests for `/metrics` are not forwarded. The rule of the gateway also has the wildcard name of
    the Cores, because ECS shifts the traffic of one rule. `*` matches any number of labels. A
    condition has at most three values, and a rule at most five. Source: Elastic Load Balancing User
    Guide, "Listener rules" and "Condition types for listener rules" (2026-11-23).

    services: Services, keyed by name.
    internal: Whether the load balancer has only private addresses, as the origin of a CloudFront
        distribution.
    """

    label: pulumi.Output[str]
    """CloudWatch dimension of the load balancer."""
    target_groups: dict[str, TargetGroups]
    """Target groups, keyed by service."""
    grpc_groups: dict[str, TargetGroups]
    """Target groups of gRPC requests, keyed by service."""

    def __init__(
        self,
        name: str,
        stack: Stack,
        opts: pulumi.ResourceOptions,
        *,
        services: Mapping[str, ContractService],
        vpc_id: pulumi.Input[str],
        placement: Placement,
        certificate_arn: pulumi.Input[str],
        log_bucket: pulumi.Input[str],
        internal: bool = False,
    ) -> None:
        super().__init__(name, stack, opts)
        self._internal, self._vpc_id = internal, vpc_id
        load_balancer = self._load_balancer(name, placement, log_bucket)
        https = self._listeners(load_balancer.arn, certificate_arn, services)
        self.arn, self.dns_name = load_balancer.arn, load_balancer.dns_name
        self.zone_id = load_balancer.zone_id
        self.label = load_balancer.arn_suffix
        self.target_groups = {
            name: self._target_groups(service, self._priority(name), https)
            for name, service in services.items()
        }
        self.grpc_groups = {
            name: self._target_groups(service, GRPC_PRIORITY, https, grpc=True)
            for name, service in services.items()
            if name == GRPC_SERVICE and self.settings.load_balancer.grpc
        }
        self.register_outputs({})

    def _load_balancer(
        self, name: str, placement: Placement, log_bucket: pulumi.Input[str]
    ) -> aws.lb.LoadBalancer:
        return aws.lb.LoadBalancer(
            name,
            name=self.names.name(name),
            load_balancer_type="application",
            internal=self._internal or self.settings.load_balancer.internal,
            subnets=list(placement.subnet_ids),
            security_groups=[placement.security_group_id],
            drop_invalid_header_fields=True,
            desync_mitigation_mode="defensive",
            # CloudFront appends the address of the viewer. The address from which CloudFront
            # connects is not relevant.
            xff_header_processing_mode="preserve" if self._internal else "append",
            enable_http2=True,
            enable_waf_fail_open=False,
            enable_deletion_protection=self.settings.protection.deletion_protection,
            idle_timeout=IDLE_TIMEOUT_S,
            access_logs={"bucket": log_bucket, "prefix": ACCESS_LOG_PREFIX, "enabled": True},
            connection_logs={
                "bucket": log_bucket,
                "prefix": CONNECTION_LOG_PREFIX,
                "enabled": True,
            },
            tags=tags("none"),
            opts=self.child,
        )

    def _listeners(
        self,
        load_balancer_arn: pulumi.Output[str],
        certificate_arn: pulumi.Input[str],
        services: Iterable[str],
    ) -> pulumi.Output[str]:
        """Return 404 on port 443 by default and for `/metrics` of the services, but not of Cores. A
        public load balancer redirects port 80 to HTTPS. Returns the HTTPS listener."""
        if not self._internal:
            self._redirect(load_balancer_arn)
        https = aws.lb.Listener(
            self._resource("https"),
            load_balancer_arn=load_balancer_arn,
            port=443,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=certificate_arn,
            default_actions=[{"type": "fixed-response", "fixed_response": NOT_FOUND}],
            routing_http_response_server_enabled=False,
            routing_http_response_strict_transport_security_header_value=HSTS,
            routing_http_response_x_content_type_options_header_value="nosniff",
            # Applications behind the gateway use frames of their own origin. The content security
            # policies of the console and of the sharing service allow no frames.
            routing_http_response_x_frame_options_header_value="SAMEORIGIN",
            tags=tags("none"),
            opts=self.child,
        )
        # The web ACL blocks encoded forms of the path.
        aws.lb.ListenerRule(
            self._resource("metrics"),
            listener_arn=https.arn,
            priority=1,
            conditions=[
                {"path_pattern": {"values": ["/metrics", "/metrics/*"]}},
                {"host_header": {"values": [self.contract.hosts[name] for name in services]}},
            ],
            actions=[{"type": "fixed-response", "fixed_response": NOT_FOUND}],
            tags=tags("none"),
            opts=self.child,
        )
        return https.arn

    def _redirect(self, load_balancer_arn: pulumi.Output[str]) -> None:
        aws.lb.Listener(
            "http",
            load_balancer_arn=load_balancer_arn,
            port=80,
            protocol="HTTP",
            default_actions=[
                {
                    "type": "redirect",
                    "redirect": {"protocol": "HTTPS", "port": "443", "status_code": "HTTP_301"},
                }
            ],
            tags=tags("none"),
            opts=self.child,
        )

    def _priority(self, service: str) -> int:
        """The priority does not depend on the services of this load balancer: a rule that takes the
        priority of a rule that is deleted later in the same update is rejected (PriorityInUse)."""
        return PRIORITY + list(self.contract.hosts).index(service)

    def _target_groups(
        self,
        service: ContractService,
        priority: int,
        listener: pulumi.Output[str],
        *,
        grpc: bool = False,
    ) -> TargetGroups:
        """Forward requests for the host name to the first target group. During a deployment, ECS
        shifts the traffic to the other group.

        grpc: Forward only gRPC requests, with HTTP/2. A target group with this version rejects
            requests with HTTP/1.1 (status 464), so other requests need target groups with HTTP/1.1.
            The version `GRPC` would add routing by method, but its health checks are gRPC requests.
            Source: Elastic Load Balancing User Guide, "Target groups for your Application Load
            Balancers", protocol version, and "Troubleshoot your Application Load Balancers". A
            service can have five target groups, also several of one port (Amazon ECS Developer
            Guide, "Registering multiple target groups with an Amazon ECS service", 2026-11-28).
        """
        # The name of a target group is limited to 32 characters. An internal load balancer has one
        # service.
        resource = "origin" if self._internal else GRPC if grpc else service.name
        # Target groups and rules are replaced together, because ECS owns the actions of the rules:
        # a change that replaces a target group (protocol, port or VPC) needs other names and
        # priorities here, so that both exist during the update.
        blue, green = (
            self._target_group(f"{colour}-{resource}", service, "HTTP2" if grpc else "HTTP1")
            for colour in ("blue", "green")
        )
        groups: list[aws.lb.ListenerRuleActionForwardTargetGroupArgsDict] = [
            {"arn": blue.arn, "weight": 100},
            {"arn": green.arn, "weight": 0},
        ]
        conditions: list[aws.lb.ListenerRuleConditionArgsDict] = [
            {"host_header": {"values": list(self.contract.host_patterns[service.name])}}
        ]
        if grpc:
            conditions.append(
                {
                    "http_header": {
                        "http_header_name": "Content-Type",
                        "values": ["application/grpc*"],
                    }
                }
            )
        rule = self._rule(f"forward-{resource}", listener, priority, conditions, groups)
        test_rule = None
        if self.settings.rollout.tests_traffic:
            # ECS tests a deployment with requests that have this header.
            header, value = TEST_HEADER
            test: aws.lb.ListenerRuleConditionArgsDict = {
                "http_header": {"http_header_name": header, "values": [value]}
            }
            # In the first deployment, both rules forward to the only tasks.
            test_rule = self._rule(
                f"test-{resource}", listener, priority - TEST_PRIORITY, [*conditions, test], groups
            )
        dimensions = [
            {"LoadBalancer": self.label, "TargetGroup": group.arn_suffix} for group in (blue, green)
        ]
        return TargetGroups(
            with_dependencies(blue.arn, rule),
            with_dependencies(green.arn, rule),
            rule,
            dimensions,
            test_rule,
        )

    def _rule(
        self,
        name: str,
        listener: pulumi.Output[str],
        priority: int,
        conditions: list[aws.lb.ListenerRuleConditionArgsDict],
        groups: list[aws.lb.ListenerRuleActionForwardTargetGroupArgsDict],
    ) -> pulumi.Output[str]:
        return aws.lb.ListenerRule(
            name,
            listener_arn=listener,
            priority=priority,
            conditions=conditions,
            actions=[{"type": "forward", "forward": {"target_groups": groups}}],
            tags=tags("none"),
            # ECS changes the weights in every deployment. Resetting them would route requests to
            # stopped tasks.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["actions"]),
        ).arn

    def _target_group(
        self, name: str, service: ContractService, version: str
    ) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            name,
            name=self.names.name(name),
            port=service.port,
            # The load balancer encrypts the connection but does not validate the certificate, which
            # each task creates at start.
            # Source: Elastic Load Balancing User Guide, "Target groups for your Application Load
            #     Balancers".
            protocol="HTTPS",
            protocol_version=version,
            target_type="ip",
            vpc_id=self._vpc_id,
            deregistration_delay=DEREGISTRATION_DELAY_S,
            health_check={
                "enabled": True,
                "path": service.health,
                "port": "traffic-port",
                "protocol": "HTTPS",
                "matcher": "200",
                "interval": 15,
                "timeout": 5,
                "healthy_threshold": 2,
                # ECS replaces tasks that fail this check. Therefore, it does not depend on the data
                # stores: an outage of the database would replace all tasks.
                "unhealthy_threshold": 4,
            },
            tags=tags("none"),
            opts=self.child,
        )

    def _resource(self, name: str) -> str:
        """Return the name of a resource, which differs between the two kinds of load balancers.
        Both exist while a service moves from one to the other."""
        return f"origin-{name}" if self._internal else name
