"""Fake IDs, ARNs and other outputs of resources, and fake results of provider functions.

The values are derived from the URN, or from the token and arguments of the function, so they are
the same in every run.
"""

import base64
import collections.abc
import hashlib
import json
import typing
import uuid
from typing import Any

from gatehouse_policies.analysis.type_tokens import aws, by_token
from gatehouse_policies.program.aws_location import AwsLocation
from gatehouse_policies.program.schema import Schema, properties, provider_module
from gatehouse_policies.program.types import UNKNOWN, Registration

_NAME_INPUTS = (
    *("bucket", "name", "identifier", "clusterIdentifier", "replicationGroupId"),
    *("userId", "userGroupId", "family", "alarmName"),
)

_ID_IS_ARN = (
    *("aws:lb/", "aws:acm/", "aws:sns/", "aws:secretsmanager/", "aws:cloudtrail/"),
    *("aws:iam/policy:", "aws:ecs/cluster:", "aws:ecs/service:"),
)
"""Types whose Pulumi ID is the ARN."""

_EC2_PREFIXES = {
    "Vpc": "vpc",
    "Subnet": "subnet",
    "InternetGateway": "igw",
    "Eip": "eipalloc",
    "NatGateway": "nat",
    "RouteTable": "rtb",
    "RouteTableAssociation": "rtbassoc",
    "VpcEndpoint": "vpce",
    "FlowLog": "fl",
    "DefaultSecurityGroup": "sg",
    "SecurityGroup": "sg",
    "SecurityGroupIngressRule": "sgr",
    "SecurityGroupEgressRule": "sgr",
    "NetworkAcl": "acl",
}

_BALANCING = "arn:aws:elasticloadbalancing:{region}:{account}:"
_DEFAULT_ARN = "arn:aws:{module}:{region}:{account}:{kind}/{name}"
_OIDC_PROVIDER = "arn:aws:iam::{account}:oidc-provider/{issuer}"
_ARNS = by_token(
    {
        "s3.Bucket": "arn:aws:s3:::{name}",
        "kms.Alias": "arn:aws:kms:{region}:{account}:{name}",
        "iam.Role": "arn:aws:iam::{account}:role/{name}",
        "iam.Policy": "arn:aws:iam::{account}:policy/{name}",
        "iam.OpenIdConnectProvider": _OIDC_PROVIDER,
        "iam.getOpenIdConnectProvider": _OIDC_PROVIDER,
        "iam.SamlProvider": "arn:aws:iam::{account}:saml-provider/{name}",
        "secretsmanager.Secret": (
            "arn:aws:secretsmanager:{region}:{account}:secret:{name}-{digits:.6}"
        ),
        "rds.Instance": "arn:aws:rds:{region}:{account}:db:{name}",
        "ecs.TaskDefinition": "arn:aws:ecs:{region}:{account}:task-definition/{name}:1",
        "lb.LoadBalancer": _BALANCING + "loadbalancer/app/{name}/{digits:.16}",
        "lb.TargetGroup": _BALANCING + "targetgroup/{name}/{digits:.16}",
        "acm.Certificate": "arn:aws:acm:{region}:{account}:certificate/{uuid}",
        "wafv2.IpSet": "arn:aws:wafv2:{region}:{account}:regional/ipset/{name}/{uuid}",
        "wafv2.WebAcl": "arn:aws:wafv2:{region}:{account}:regional/webacl/{name}/{uuid}",
        "cloudwatch.LogGroup": "arn:aws:logs:{region}:{account}:log-group:{name}",
        "cloudwatch.MetricAlarm": "arn:aws:cloudwatch:{region}:{account}:alarm:{name}",
        "sns.Topic": "arn:aws:sns:{region}:{account}:{name}",
        "lambda.Function": "arn:aws:lambda:{region}:{account}:function:{name}",
    }
)
"""The ARN format of types that do not use `_DEFAULT_ARN`."""

_DATABASE_ADDRESS = "{name}.{digits:.12}.{region}.rds.amazonaws.com"
_OUTPUTS = by_token(
    {
        "rds.Instance": {"address": _DATABASE_ADDRESS, "endpoint": _DATABASE_ADDRESS + ":{port}"},
        "lb.LoadBalancer": {
            "arnSuffix": "app/{name}/{digits:.16}",
            "dnsName": "{name}-{number}.{region}.elb.amazonaws.com",
        },
        "lb.TargetGroup": {"arnSuffix": "targetgroup/{name}/{digits:.16}"},
        "elasticache.ReplicationGroup": {
            "primaryEndpointAddress": "master.{name}.{digits:.6}.cache.amazonaws.com"
        },
        "ecr.Repository": {"repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}"},
        "sqs.Queue": {"url": "https://sqs.{region}.amazonaws.com/{account}/{name}"},
        "kms.Alias": {"targetKeyArn": "arn:aws:kms:{region}:{account}:key/{target}"},
    }
)
"""The format of other outputs of a type."""

_REGISTRY_TOKEN = base64.b64encode(b"AWS:fake-password").decode()
"""User name and password of a registry. Programs decode and split them."""


def fake_outputs(
    registration: Registration, type_schema: Schema | None, location: AwsLocation
) -> tuple[str, dict[str, Any]]:
    """The ID and all outputs: the inputs of the program, and fake values for the outputs that AWS
    computes.

    The ID of a type without a schema, such as a type of another provider, is unknown, and so are
    the outputs that are not inputs.
    """
    outputs = dict(registration.inputs)
    if type_schema is None:
        return "", outputs
    name = _physical_name(registration)
    for key, property_ in type_schema.outputs.items():
        # Optional inputs that the program omits stay absent: a fake policy or ACL would mislead a
        # rule.
        if (
            key not in outputs
            and not property_.optional
            and (key not in type_schema.inputs or _is_name(key))
        ):
            # The keys of a map are unknown, so the map is.
            is_map = (typing.get_origin(property_.type) or property_.type) in (
                dict,
                collections.abc.Mapping,
            )
            outputs[key] = (
                UNKNOWN if is_map else _output(key, property_.type, registration, name, location)
            )
    if registration.inputs.get("assignGeneratedIpv6CidrBlock"):
        outputs.setdefault("ipv6CidrBlock", "2001:db8:1234:1a00::/56")
    arn = outputs.get("arn")
    by_arn = (
        isinstance(arn, str) and arn.startswith("arn:") and registration.type.startswith(_ID_IS_ARN)
    )
    return (str(arn) if by_arn else name), outputs


def fake_result(token: str, args: dict[str, Any], location: AwsLocation) -> dict[str, Any] | None:
    """The result of a function such as `aws:ec2/getVpc:getVpc`: the arguments of the call, and fake
    values of the right types.

    None for a function that the installed package, such as pulumi-aws or pulumi-github, does not
    have.
    """
    package, _, rest = token.partition(":")
    path, _, name = rest.partition(":")
    module = provider_module(package, path)
    result_class = getattr(module, f"{name[:1].upper()}{name[1:]}Result", None)
    if result_class is None:
        return None
    kind = name.removeprefix("get")
    lookup = Registration(
        f"{token}::{json.dumps(args, sort_keys=True, default=str)}",
        token,
        kind.lower(),
        True,
        "",
        dict(args),
    )
    types = {key: value.type for key, value in properties(result_class).items()}
    result = {
        key: _output(key, type_, lookup, kind.lower(), location) for key, type_ in types.items()
    }
    if token in aws("ecr.getAuthorizationToken", "ecr.getCredentials"):
        result["authorizationToken"] = _REGISTRY_TOKEN
    # Lists of IDs usually have one item per availability zone: a single item would look like an
    # error in the program.
    for key in ("ids", "names"):
        if key in result:
            result[key] = [f"{item}-{number}" for item in result[key] for number in (1, 2, 3)]
    if path == "iam/getPolicy":
        # The name of a policy of AWS, such as AdministratorAccess. Rules need its ARN.
        managed = (str(policy.value) for policy in getattr(module, "ManagedPolicy", ()))
        names = (arn for arn in managed if arn.endswith(f"/{args.get('name')}"))
        result["arn"] = next(names, result["arn"])
    if kind in _EC2_PREFIXES:
        result["id"] = f"{_EC2_PREFIXES[kind]}-{_digits(lookup, 17)}"
    return result | {
        key: _converted(value, types.get(key)) for key, value in args.items() if value is not None
    }


def _converted(value: Any, type_: Any) -> Any:
    """An argument in the result of a function. A provider converts text to the type of the
    property, which the SDK requires.
    """
    if not isinstance(value, str) or value == UNKNOWN:
        return value
    if type_ is bool:
        return value.lower() in ("true", "1")
    return float(value) if type_ in (int, float) and value.replace(".", "", 1).isdigit() else value


def _physical_name(registration: Registration) -> str:
    if registration.external and registration.import_id not in ("", UNKNOWN):
        return registration.import_id
    for key in _NAME_INPUTS:
        value = registration.inputs.get(key)
        if isinstance(value, str) and value != UNKNOWN:
            return value
    if registration.type in aws("kms.Key"):
        return _uuid(registration)
    prefix = _EC2_PREFIXES.get(registration.type.rpartition(":")[2])
    if prefix:
        return f"{prefix}-{_digits(registration, 17)}"
    name = f"{registration.name}-{_digits(registration, 7)}"
    # The provider writes names of buckets in lower-case letters.
    return name.lower() if registration.type.startswith("aws:s3/") else name


def _is_name(key: str) -> bool:
    return key in _NAME_INPUTS or key == "region" or key.lower().endswith("arn")


def _output(
    key: str, type_: Any, registration: Registration, name: str, location: AwsLocation
) -> Any:
    if form := _OUTPUTS.get(registration.type, {}).get(key):
        return _fill(form, registration, name, location)
    if key == "domainValidationOptions" and registration.type in aws("acm.Certificate"):
        return _validation_records(registration)
    if key == "masterUserSecrets" and registration.type in aws("rds.Instance"):
        return _database_secrets(registration, location)
    if key == "region":
        return location.region
    if key in ("ownerId", "accountId", "registryId"):
        return location.account
    if key == "arn" and name.startswith("arn:"):
        return name  # The ID of a resource that the program reads.
    if key.lower().endswith("arn"):
        return _fill(_ARNS.get(registration.type, _DEFAULT_ARN), registration, name, location)
    return _empty(type_, name if key in _NAME_INPUTS else f"{name}-{key.lower()}")


def _fill(form: str, registration: Registration, name: str, location: AwsLocation) -> str:
    package, _, kind = registration.type.rpartition(":")
    return form.format(
        name=name,
        region=location.region,
        account=location.account,
        module=package.split(":")[-1].split("/")[0],
        kind=kind.lower(),
        digits=_digits(registration, 16),
        number=int(_digits(registration, 8), 16),
        uuid=_uuid(registration),
        port=registration.inputs.get("port", 5432),
        issuer=str(registration.inputs.get("url", "")).removeprefix("https://"),
        target=str(registration.inputs.get("targetKeyId", "")).rpartition("/")[2],
    )


def _digits(registration: Registration, length: int) -> str:
    return hashlib.sha256(registration.urn.encode()).hexdigest()[:length]


def _uuid(registration: Registration) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, registration.urn))


def _empty(type_: Any, text: str) -> Any:
    """A value of a Python type: `text` for a string, a list of one item for a list."""
    origin = typing.get_origin(type_) or type_
    if origin is bool:
        return False
    if origin in (int, float):
        return 0
    if origin in (list, collections.abc.Sequence):
        item = (typing.get_args(type_) or (str,))[0]
        return [_empty(item, text)]
    if origin is str:
        return text
    if isinstance(origin, type):
        return {
            key: _empty(inner.type, f"{text}-{key.lower()}")
            for key, inner in properties(origin).items()
        }
    return {}


def _validation_records(registration: Registration) -> list[dict[str, str]]:
    names = [
        registration.inputs.get("domainName", ""),
        *registration.inputs.get("subjectAlternativeNames", []),
    ]
    return [
        {
            "domainName": domain,
            "resourceRecordName": f"_{_digits(registration, 32)}.{domain}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": f"_{_digits(registration, 24)}.acm-validations.aws.",
        }
        for domain in dict.fromkeys(names)
    ]


def _database_secrets(registration: Registration, location: AwsLocation) -> list[dict[str, str]]:
    if not registration.inputs.get("manageMasterUserPassword"):
        return []
    prefix = f"arn:aws:secretsmanager:{location.region}:{location.account}:secret"
    secret = f"{prefix}:rds!db-{_uuid(registration)}-{_digits(registration, 6)}"
    key = registration.inputs.get("masterUserSecretKmsKeyId", "")
    return [{"secretArn": secret, "secretStatus": "active", "kmsKeyId": key}]
