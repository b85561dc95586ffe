"""The components of the package."""

from typing import Any

import pulumi

from components.account.cloud_trail import CloudTrail, CloudTrailArgs
from components.component import TargetGroups
from components.compute.ecs_service import EcsService, EcsServiceArgs
from components.database.rds_instance import RdsInstance, RdsInstanceArgs
from components.encryption.kms_keys import KmsKey, KmsKeyArgs
from components.iam.bucket_policies import access_log_writers, bucket_policy
from components.iam.documents import Document
from components.naming import Naming
from components.network.network_acls import NetworkAcls, NetworkAclsArgs
from components.network.vpc import Vpc, VpcArgs
from components.package.facade import Facade, Values
from components.settings.workloads import ServicesSettings
from components.storage.bucket import Bucket, BucketArgs


def _bucket_policy(values: Values) -> Document:
    names, bucket, sources = values["names"], values["bucket_name"], tuple(values["log_sources"] or ())
    writers = access_log_writers(names, bucket, sources) if sources else ()
    return bucket_policy(names, bucket, encrypted_by_key=values.get("key_arn") is not None, writers=writers)


def _network_acls(vpc: Any, values: Values, opts: pulumi.ResourceOptions) -> None:
    args = NetworkAclsArgs(
        names=values["names"],
        network=values["network"],
        ipv6=values.get("ipv6", False),
        vpc_id=vpc.vpc_id,
        subnets=vpc.subnets,
    )
    NetworkAcls("network-acls", args, opts)


FACADES = (
    Facade(
        name="Bucket",
        component=Bucket,
        args=BucketArgs,
        outputs={"name": str, "arn": str},
        extra={
            "names": (Naming, "Stack, account and region, from which names and policies are derived."),
            "log_sources": (list[str] | None, "Full names of the buckets whose access logs this bucket receives."),
        },
        computed={"policy": _bucket_policy},
    ),
    Facade(name="KmsKey", component=KmsKey, args=KmsKeyArgs, outputs={"arn": str}),
    Facade(
        name="Network",
        component=Vpc,
        args=VpcArgs,
        outputs={"vpc_id": str, "subnets": dict[str, list[str]], "prefix_lists": dict[str, str]},
        also=_network_acls,
    ),
    Facade(
        name="Service",
        component=EcsService,
        args=EcsServiceArgs,
        outputs={"name": str},
        extra={
            "port": (int | None, "Container port that receives requests. A service without a port has no load balancer."),
            "target_group_pair": (TargetGroups | None, "Blue and green target groups, and their listener rule, for `port`."),
        },
        computed={
            "target_groups": lambda values: {values["port"]: values["target_group_pair"]} if values.get("port") else {},
            "spot": lambda _: ServicesSettings.model_fields["spot"].default,
            # Only services of the runtime contract add tasks while responses are slow, with an alarm that names a runbook.
            "runbooks_url": lambda _: "",
        },
    ),
    Facade(
        name="Database",
        component=RdsInstance,
        args=RdsInstanceArgs,
        outputs={"identifier": str, "endpoint": str, "address": str, "arn": str, "owner_secret_arn": str},
    ),
    Facade(name="AuditTrail", component=CloudTrail, args=CloudTrailArgs, outputs={"arn": str, "log_group": str}),
)
