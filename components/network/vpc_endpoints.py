"""Interface endpoints: the AWS services that tasks use without the internet, each with a policy of what may pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.iam.documents import Document, allow, document, render
from components.naming import Naming
from components.tags import tags


@dataclass(frozen=True, kw_only=True)
class VpcEndpointsArgs:
    """names: the stack's names. vpc_id, subnet_ids: where the endpoints stand, one address a zone. security_group_id:
    who may reach them. with_exec: also those of ECS Exec."""

    names: Naming
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    security_group_id: pulumi.Input[str]
    ecs_exec: bool = False


class VpcEndpoints(pulumi.ComponentResource):
    """Interface endpoints with private DNS for registry, logs, secrets, keys, tokens and metrics.

    Why: a task without a way to the internet still starts, logs and reads its secrets, and a stolen credential of
    another account cannot use our network to carry data out. Cost: about 8 USD a month for each service and zone.
    Controls: GH-VPC-008, GH-VPC-009.
    """

    ids: dict[str, pulumi.Output[str]]

    def __init__(self, name: str, args: VpcEndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:network:VpcEndpoints", name, component_inputs(args), opts)
        self.ids = {
            service: aws.ec2.VpcEndpoint(
                service,
                vpc_id=args.vpc_id,
                service_name=f"com.amazonaws.{args.names.region}.{service}",
                vpc_endpoint_type="Interface",
                subnet_ids=list(args.subnet_ids),
                security_group_ids=[args.security_group_id],
                private_dns_enabled=True,
                policy=render(policy),
                tags=tags("none", Name=args.names.name(service.replace(".", "-"))),
                opts=pulumi.ResourceOptions(parent=self),
            ).id
            for service, policy in policies(args.names, with_exec=args.ecs_exec).items()
        }
        self.register_outputs({"ids": self.ids})


def policies(names: Naming, *, with_exec: bool = False) -> dict[str, Document]:
    """What may pass each endpoint. Everywhere: principals of our account only; where the call has a resource: resources
    of ours only. with_exec: also the endpoints of ECS Exec."""
    repository = names.arn("ecr", f"repository/{names.name('*')}")
    pull = _ours(
        names,
        "Pull",
        ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"],
        [repository],
    )
    sign_in = _ours(names, "SignIn", ["ecr:GetAuthorizationToken"], ["*"])
    secrets = [names.secret_arn("*"), names.managed_secret_arn]
    return {
        "ecr.api": document(sign_in, pull),
        "ecr.dkr": document(sign_in, pull),
        "logs": document(
            _ours(
                names,
                "Write",
                ["logs:CreateLogStream", "logs:PutLogEvents"],
                [f"{names.log_group_arn(names.log_group('*'))}:*"],
            )
        ),
        "secretsmanager": document(
            _ours(names, "Read", ["secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"], secrets)
        ),
        "kms": document(
            _ours(
                names,
                "UseKeys",
                ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:DescribeKey"],
                [names.arn("kms", "key/*")],
            ),
            _ours(names, "SignCheckpoints", ["kms:Sign", "kms:GetPublicKey"], [names.arn("kms", "key/*")]),
        ),
        "sts": document(_ours(names, "WhoAmI", ["sts:GetCallerIdentity"], ["*"])),
        "monitoring": document(
            _ours(names, "Measure", ["cloudwatch:PutMetricData"], ["*"], {"cloudwatch:namespace": "Gatehouse"})
        ),
        **(_exec(names) if with_exec else {}),
    }


def _exec(names: Naming) -> dict[str, Document]:
    """The channels of a shell in a task; the calls know no resource (Service Authorization Reference, Session Manager
    Message Gateway)."""
    channels = [f"ssmmessages:{verb}{kind}Channel" for verb in ("Create", "Open") for kind in ("Control", "Data")]
    return {
        "ssmmessages": document(_ours(names, "Channels", channels, ["*"])),
        "ssm": document(_ours(names, "AgentReports", ["ssm:UpdateInstanceInformation"], ["*"])),
    }


def _ours(
    names: Naming, sid: str, actions: list[str], resources: list[str], more: dict[str, str] | None = None
) -> dict[str, object]:
    # Calls without a resource (a sign-in, a metric) carry no aws:ResourceAccount, so it cannot be asked of them.
    owned = {} if resources == ["*"] else {"aws:ResourceAccount": names.account}
    return allow(
        sid,
        actions,
        resources,
        principal="*",
        conditions={"StringEquals": {"aws:PrincipalAccount": names.account, **owned, **(more or {})}},
    )
