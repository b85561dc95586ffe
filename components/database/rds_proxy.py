"""RDS Proxy, a connection pool that all tasks share."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import Component, LogArgs, Placement, with_dependencies
from components.naming import tags

IDLE_CLIENT_TIMEOUT_S = 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class RdsProxyArgs(LogArgs):
    """Arguments of `RdsProxy`.

    placement: Subnets of the app tier (the data tier accepts connections from this tier), and
        security group of the proxy.
    role_arn: Role with which the proxy connects to the database.
    instance_identifier: Identifier of the DB instance.
    """

    placement: Placement
    role_arn: pulumi.Input[str]
    instance_identifier: pulumi.Input[str]


class RdsProxy(Component):
    """An RDS Proxy with IAM authentication for clients and for the database.

    Why: Many tasks share a small number of connections, and a failover takes seconds instead of a
    minute. No password is stored. Migrations bypass the proxy because they run as the owner.
    Cost: 0.015 USD per hour and vCPU of the database, at least 22 USD a month. Controls:
        GH-RDS-006, GH-RDS-007.
    """

    address: pulumi.Output[str]
    """Endpoint. Resolves after the DB instance is registered."""

    def __init__(
        self, name: str, args: RdsProxyArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:database:RdsProxy", name, args, opts)
        log = self.create_log_group(name, args.names.proxy_log_group, args.logs)
        proxy = aws.rds.Proxy(
            name,
            name=args.names.name("main"),
            engine_family="POSTGRESQL",
            default_auth_scheme="IAM_AUTH",
            require_tls=True,
            # Debug logs contain SQL statements with their values.
            debug_logging=False,
            idle_client_timeout=IDLE_CLIENT_TIMEOUT_S,
            role_arn=args.role_arn,
            vpc_subnet_ids=list(args.placement.subnet_ids),
            vpc_security_group_ids=[args.placement.security_group_id],
            tags=tags("confidential"),
            # RDS would otherwise create the log group without a KMS key or a retention period.
            opts=self.after(log),
        )
        target_group = aws.rds.ProxyDefaultTargetGroup(
            name,
            db_proxy_name=proxy.name,
            connection_pool_config={
                # The remaining connections are for migrations and operators.
                "max_connections_percent": 90,
                "connection_borrow_timeout": 10,
            },
            opts=self.child,
        )
        target = aws.rds.ProxyTarget(
            name,
            db_proxy_name=proxy.name,
            target_group_name=target_group.name,
            db_instance_identifier=args.instance_identifier,
            opts=self.child,
        )
        self.address = with_dependencies(proxy.endpoint, target.id)
        self.register_outputs({"address": self.address})
