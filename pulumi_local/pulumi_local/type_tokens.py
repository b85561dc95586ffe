"""Type tokens of pulumi-aws."""

import keyword
import re
from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from pulumi_local.lists import name_set

Value = TypeVar("Value")

AWS_PROVIDER = "pulumi:providers:aws"
STACK = "pulumi:pulumi:Stack"
S3_V2_CLASSES = name_set(
    "Bucket BucketAccelerateConfiguration BucketAcl BucketCorsConfiguration "
    "BucketLifecycleConfiguration BucketLogging BucketObjectLockConfiguration "
    "BucketRequestPaymentConfiguration BucketServerSideEncryptionConfiguration BucketVersioning "
    "BucketWebsiteConfiguration"
)
"""Classes that pulumi-aws 7 also registers under the deprecated name `<class>V2`."""


@cache
def aws(*classes: str) -> tuple[str, ...]:
    """The tokens of classes: `aws("kms.Key")` is `("aws:kms/key:Key",)`.

    Includes the tokens that pulumi-aws also registers for a class: `s3.BucketV2` for `s3.Bucket`,
    `alb.Listener` for `lb.Listener`.
    """
    tokens: list[str] = []
    for name in classes:
        module, _, class_name = name.partition(".")
        tokens.append(_token(module, class_name))
        if module == "s3" and class_name in S3_V2_CLASSES:
            tokens.append(_token(module, f"{class_name}V2"))
        elif module == "lb":
            tokens.append(_token("alb", class_name))
    return tuple(tokens)


def class_name(token: str) -> str:
    """The class in a Python program: aws.s3.Bucket for `aws:s3/bucket:Bucket`, gatehouse.Key for
    `gatehouse:index:Key`.
    """
    parts = token.split(":")
    if parts[0] == "gatehouse" and parts[1] == "index":
        return f"gatehouse.{parts[2]}"
    if parts[0] != "aws" or len(parts) != 3:
        return token
    module = parts[1].partition("/")[0]
    return f"aws.{module}{'_' if keyword.iskeyword(module) else ''}.{parts[2]}"


def function_name(token: str) -> str:
    """The function in a Python program: aws.ssm.get_parameter for
    `aws:ssm/getParameter:getParameter`.
    """
    package, _, rest = token.partition(":")
    module, _, name = rest.partition("/")[0], "", rest.rpartition(":")[2]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return ".".join(part for part in (package, module, snake) if part not in ("", "index"))


def by_token(values: Mapping[str, Value]) -> dict[str, Value]:
    return {token: value for name, value in values.items() for token in aws(name)}


def _token(module: str, class_name: str) -> str:
    return f"aws:{module}/{class_name[0].lower()}{class_name[1:]}:{class_name}"


KEYS = aws("kms.Key", "kms.ReplicaKey", "kms.ExternalKey", "kms.ReplicaExternalKey")
"""KMS keys, which all have a key policy. The first type is that of keys with material of KMS."""
STATEFUL = KEYS + aws(
    *("s3.Bucket", "secretsmanager.Secret", "rds.Instance", "rds.Cluster", "dynamodb.Table"),
    *("elasticache.ReplicationGroup", "memorydb.Cluster", "docdb.Cluster", "docdb.ElasticCluster"),
    *("neptune.Cluster", "redshift.Cluster", "redshiftserverless.Namespace", "opensearch.Domain"),
    *("elasticsearch.Domain", "efs.FileSystem", "ebs.Volume", "cognito.UserPool", "backup.Vault"),
    *("ecr.Repository", "cloudwatch.LogGroup", "cloudtrail.Trail", "route53.Zone"),
)
"""Types whose replacement or deletion loses data, evidence or a delegation, directly or by losing
the key that decrypts data.
"""
S3_DEPRECATED = tuple(_token("s3", f"{name}V2") for name in sorted(S3_V2_CLASSES))
