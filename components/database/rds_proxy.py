"""RDS Proxy: one pool of database connections for all tasks."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs, with_dependencies
from components.naming import Naming
from components.tags import tags

IDLE_S = 1800
"""Seconds after which the proxy closes a client's connection that nobody uses."""


@dataclass(frozen=True, kw_only=True)
class RdsProxyArgs:
    """What the proxy is told.

    names: the stack's names. subnet_ids: the app tier, for the data tier takes connections from there alone.
    security_group_id: who may connect. role_arn: signs in to the database. database: identifier of the instance.
    log_key_arn, log_retention_days: its log group.
    """

    names: Naming
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    instance_identifier: pulumi.Input[str]
    log_key_arn: pulumi.Input[str]
    log_retention_days: int


class RdsProxy(pulumi.ComponentResource):
    """A proxy to which the application signs in with IAM, and which signs in to the database with IAM.

    Why: many tasks share few connections, and a failover is over in seconds instead of a minute; no password is stored
    for it. Migrations go to the database itself, as its owner. Cost: 0.015 USD an hour and vCPU of the database, 22 USD
    a month at least. Controls: GH-RDS-006, GH-RDS-007.
    """

    address: pulumi.Output[str]
    """Known once the database stands behind it."""

    def __init__(self, name: str, args: RdsProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:database:RdsProxy", name, component_inputs(args), opts)
        log = aws.cloudwatch.LogGroup(
            name,
            name=args.names.proxy_log_group,
            retention_in_days=args.log_retention_days,
            kms_key_id=args.log_key_arn,
            tags=tags("log"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        proxy = aws.rds.Proxy(
            name,
            name=args.names.name("main"),
            engine_family="POSTGRESQL",
            default_auth_scheme="IAM_AUTH",
            require_tls=True,
            # Debug logging would write statements, and with them their values.
            debug_logging=False,
            idle_client_timeout=IDLE_S,
            role_arn=args.role_arn,
            vpc_subnet_ids=list(args.subnet_ids),
            vpc_security_group_ids=[args.security_group_id],
            tags=tags("confidential"),
            # RDS would make the log group itself, without key and for ever.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[log]),
        )
        pool = aws.rds.ProxyDefaultTargetGroup(
            name,
            db_proxy_name=proxy.name,
            connection_pool_config=aws.rds.ProxyDefaultTargetGroupConnectionPoolConfigArgs(
                # The rest is for migrations, and for people who look for a fault.
                max_connections_percent=90,
                connection_borrow_timeout=10,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        target = aws.rds.ProxyTarget(
            name,
            db_proxy_name=proxy.name,
            target_group_name=pool.name,
            db_instance_identifier=args.instance_identifier,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.address = with_dependencies(proxy.endpoint, target.id)
        self.register_outputs({"address": self.address})
