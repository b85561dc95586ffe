"""The load balancer: HTTPS only, one host name a service, and nothing else answered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs, with_dependencies
from components.contract import ContractService
from components.edge.target_groups import TargetGroups
from components.iam.bucket_policies import BALANCER_PREFIXES
from components.naming import Naming
from components.settings.network import LoadBalancerSettings
from components.tags import tags

ACCESS_PREFIX, CONNECTION_PREFIX = BALANCER_PREFIXES
TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"
"""TLS 1.3 and 1.2 with forward secrecy and post-quantum key exchange (ELB user guide, "Security policies")."""
HSTS = "max-age=31536000; includeSubDomains"
IDLE_TIMEOUT_S = 120
DRAIN_S = 60


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """What the edge is told.

    names: the stack's names. edge: deletion protection. services: by name. hosts: host name of each service.
    vpc_id, subnet_ids, security_group_id: the edge tier. zone_id: where the host names are published. certificate_arn:
    for all of them.
    log_bucket: takes access and connection logs.
    """

    names: Naming
    load_balancer: LoadBalancerSettings
    services: Mapping[str, ContractService]
    host_names: Mapping[str, str]
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    zone_id: pulumi.Input[str]
    certificate_arn: pulumi.Input[str]
    log_bucket: pulumi.Input[str]


class LoadBalancer(pulumi.ComponentResource):
    """An application load balancer with a host name and two target groups for each service; a request that fits none is
    answered with 404.

    Why: three host names are three origins, so what a Core sends can never run in the console. Of two target groups one
    takes the traffic, and a deployment fills the other before it moves. `/metrics` is answered here, before any service
    sees it. Cost: about 20 USD a month, plus 6 USD for each capacity unit used throughout.
    Controls: GH-ALB-001 to GH-ALB-007, GH-ALB-009, GH-ALB-010.
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    label: pulumi.Output[str]
    target_groups: dict[str, TargetGroups]
    """The way to each service."""

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:edge:LoadBalancer", name, component_inputs(args), opts)
        balancer = self._balancer(name, args)
        https = self._listeners(balancer.arn, args)
        self._hide_metrics(https)
        self.target_groups = {
            name: self._route(service, 10 + index, https, args) for index, (name, service) in enumerate(args.services.items())
        }
        for service, host in ((service, args.host_names[service]) for service in args.services):
            aws.route53.Record(
                service,
                zone_id=args.zone_id,
                name=host,
                type="A",
                aliases=[
                    aws.route53.RecordAliasArgs(name=balancer.dns_name, zone_id=balancer.zone_id, evaluate_target_health=True)
                ],
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.arn, self.dns_name, self.label = balancer.arn, balancer.dns_name, balancer.arn_suffix
        groups = {service: [route.blue, route.green] for service, route in self.target_groups.items()}
        self.register_outputs({"arn": self.arn, "dnsName": self.dns_name, "targetGroups": groups})

    def target_groups_of(self, services: Sequence[ContractService]) -> dict[int, TargetGroups]:
        """The way to each of these services that the load balancer reaches, by port."""
        return {service.port: self.target_groups[service.name] for service in services if service.name in self.target_groups}

    def _balancer(self, name: str, args: LoadBalancerArgs) -> aws.lb.LoadBalancer:
        return aws.lb.LoadBalancer(
            name,
            name=args.names.name("edge"),
            load_balancer_type="application",
            internal=False,
            subnets=list(args.subnet_ids),
            security_groups=[args.security_group_id],
            drop_invalid_header_fields=True,
            desync_mitigation_mode="defensive",
            xff_header_processing_mode="append",
            enable_http2=True,
            enable_waf_fail_open=False,
            enable_deletion_protection=args.load_balancer.deletion_protection,
            idle_timeout=IDLE_TIMEOUT_S,
            access_logs=aws.lb.LoadBalancerAccessLogsArgs(bucket=args.log_bucket, prefix=ACCESS_PREFIX, enabled=True),
            connection_logs=aws.lb.LoadBalancerConnectionLogsArgs(bucket=args.log_bucket, prefix=CONNECTION_PREFIX, enabled=True),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _listeners(self, balancer: pulumi.Output[str], args: LoadBalancerArgs) -> pulumi.Output[str]:
        """Port 80 redirects, port 443 refuses what no rule takes. Returns the ARN of the latter."""
        redirect = aws.lb.ListenerDefaultActionRedirectArgs(protocol="HTTPS", port="443", status_code="HTTP_301")
        aws.lb.Listener(
            "http",
            load_balancer_arn=balancer,
            port=80,
            protocol="HTTP",
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="redirect", redirect=redirect)],
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        nothing = aws.lb.ListenerDefaultActionFixedResponseArgs(
            content_type="text/plain", message_body="Not found", status_code="404"
        )
        return aws.lb.Listener(
            "https",
            load_balancer_arn=balancer,
            port=443,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=args.certificate_arn,
            default_actions=[aws.lb.ListenerDefaultActionArgs(type="fixed-response", fixed_response=nothing)],
            routing_http_response_server_enabled=False,
            routing_http_response_strict_transport_security_header_value=HSTS,
            routing_http_response_x_content_type_options_header_value="nosniff",
            routing_http_response_x_frame_options_header_value="DENY",
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        ).arn

    def _hide_metrics(self, listener: pulumi.Output[str]) -> None:
        """First of all rules, at every host name. WAF refuses the encoded spellings that a path pattern does not
        see."""
        nothing = aws.lb.ListenerRuleActionFixedResponseArgs(
            content_type="text/plain", message_body="Not found", status_code="404"
        )
        paths = aws.lb.ListenerRuleConditionPathPatternArgs(values=["/metrics", "/metrics/*"])
        aws.lb.ListenerRule(
            "metrics",
            listener_arn=listener,
            priority=1,
            conditions=[aws.lb.ListenerRuleConditionArgs(path_pattern=paths)],
            actions=[aws.lb.ListenerRuleActionArgs(type="fixed-response", fixed_response=nothing)],
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _route(
        self, service: ContractService, priority: int, listener: pulumi.Output[str], args: LoadBalancerArgs
    ) -> TargetGroups:
        blue, green = (self._target_group(name, service, args) for name in (service.name, f"{service.name}-green"))
        rule = self._rule(service.name, priority, listener, args.host_names[service.name], (blue, green))
        labels = (blue.arn_suffix, green.arn_suffix)
        return TargetGroups(with_dependencies(blue.arn, rule.arn), with_dependencies(green.arn, rule.arn), rule.arn, labels)

    def _target_group(self, name: str, service: ContractService, args: LoadBalancerArgs) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            name,
            name=args.names.name(name),
            port=service.port,
            protocol="HTTP",
            target_type="ip",
            vpc_id=args.vpc_id,
            deregistration_delay=DRAIN_S,
            health_check=aws.lb.TargetGroupHealthCheckArgs(
                enabled=True,
                path=service.ready,
                port="traffic-port",
                protocol="HTTP",
                matcher="200",
                interval=15,
                timeout=5,
                healthy_threshold=2,
                # ECS kills a task that fails this check, and readiness fails with the database: two and a half minutes
                # outlast a failover of RDS or ElastiCache, so healthy tasks are not replaced for a store's sake.
                unhealthy_threshold=10,
            ),
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _rule(
        self, service: str, priority: int, listener: pulumi.Output[str], host: str, groups: Sequence[aws.lb.TargetGroup]
    ) -> aws.lb.ListenerRule:
        hosts = aws.lb.ListenerRuleConditionHostHeaderArgs(values=[host])
        weights = [
            aws.lb.ListenerRuleActionForwardTargetGroupArgs(arn=group.arn, weight=weight)
            for group, weight in zip(groups, (100, 0), strict=True)
        ]
        forward = aws.lb.ListenerRuleActionForwardArgs(target_groups=weights)
        return aws.lb.ListenerRule(
            service,
            listener_arn=listener,
            priority=priority,
            conditions=[aws.lb.ListenerRuleConditionArgs(host_header=hosts)],
            actions=[aws.lb.ListenerRuleActionArgs(type="forward", forward=forward)],
            tags=tags("none"),
            # ECS changes the weights with every deployment; setting them back would send users to tasks that are gone.
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=["actions"]),
        )
