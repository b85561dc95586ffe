"""Fake IDs, ARNs and other outputs of resources, and fake results of provider functions.

The values are derived from the URN, or from the token and arguments of the function, so they are
the same in every run.
"""

import collections.abc
import hashlib
import json
import re
import typing
import uuid
from dataclasses import replace
from typing import Any

from pulumi_local.aws_location import AwsLocation
from pulumi_local.outputs import arn_formats
from pulumi_local.outputs.invented import (
    ACCOUNT,
    ADDRESS,
    ADDRESS_V6,
    FLAG,
    HEX_MARKER,
    MAP,
    MARKER,
    NETWORK,
    NETWORK_V6,
    NUMBER,
    REGISTRY_TOKEN,
)
from pulumi_local.schema import Property, Schema, properties, provider_module
from pulumi_local.type_tokens import aws, by_token
from pulumi_local.types import UNKNOWN, Registration

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

_DATABASE_ADDRESS = "{name}.{digits:.12}.{region}.rds.amazonaws.com"
_OUTPUTS = by_token(
    {
        "rds.Instance": {"address": _DATABASE_ADDRESS, "endpoint": _DATABASE_ADDRESS + ":{port}"},
        "rds.Cluster": {
            "endpoint": "{name}.cluster-{digits:.12}.{region}.rds.amazonaws.com",
            "readerEndpoint": "{name}.cluster-ro-{digits:.12}.{region}.rds.amazonaws.com",
        },
        "apigatewayv2.Api": {"executionArn": "arn:aws:execute-api:{region}:{account}:{name}"},
        "cloudfront.Distribution": {"domainName": "d{digits:.13}.cloudfront.net"},
        "lambda.Function": {
            "invokeArn": (
                "arn:aws:apigateway:{region}:lambda:path/2015-03-31/functions/"
                "arn:aws:lambda:{region}:{account}:function:{name}/invocations"
            ),
            "qualifiedArn": "arn:aws:lambda:{region}:{account}:function:{name}:1",
        },
        "lb.LoadBalancer": {"dnsName": "{name}-{number}.{region}.elb.amazonaws.com"},
        "s3.Bucket": {
            "bucketDomainName": "{name}.s3.amazonaws.com",
            "bucketRegionalDomainName": "{name}.s3.{region}.amazonaws.com",
        },
        "elasticache.ReplicationGroup": {
            "primaryEndpointAddress": "master.{name}.{digits:.6}.cache.amazonaws.com"
        },
        "ecr.Repository": {"repositoryUrl": "{account}.dkr.ecr.{region}.amazonaws.com/{name}"},
        "eks.Cluster": {"endpoint": "https://{digits:.16}.gr7.{region}.eks.amazonaws.com"},
        "sqs.Queue": {"url": "https://sqs.{region}.amazonaws.com/{account}/{name}"},
        "kms.Alias": {"targetKeyArn": "arn:aws:kms:{region}:{account}:key/{target}"},
    }
)
"""The format of other outputs of a type."""

# Names of properties with a network, an address or a URL.
_CIDR = re.compile(r"(^c|C)idr(Block)?s?$")
_ADDRESS = re.compile(r"(^i|I)p(v4)?(Address)?(es|s)?$")
_ADDRESS_V6 = re.compile(r"(^i|I)pv6(Address)?(es|s)?$")
_URL = re.compile(r"(^u|U)r[il]s?$")
_DOCUMENT = re.compile(r"json|\w*[pP]olicy(Document|Json)?")
# Examples in the description of an output.
_ARN = re.compile(r"`arn:aws:([a-z0-9-]+):[a-z0-9-]*:\d*:[^`]*`")
_DOCUMENTED = re.compile(
    r"`((?:[a-z]+://)?)([\w{}<>-]+)(\.[^`,\s]*amazonaws\.com|\.[^`,\s]*\.on\.aws)([^`,\s]*)"
)
_PLACEHOLDER = re.compile(r"\{region\}|<region>|REGION|[a-z]{2}-[a-z]+-\d(?=\.)")


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
                UNKNOWN if is_map else _output(key, property_, registration, name, location)
            )
    if registration.inputs.get("assignGeneratedIpv6CidrBlock"):
        outputs.setdefault("ipv6CidrBlock", NETWORK_V6)
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
    types = properties(result_class)
    name = f"{kind.lower()}-{MARKER}"
    if token not in aws("iam.getOpenIdConnectProvider"):
        # What a lookup finds can belong to another account. The ARN of an identity provider, which
        # contains its issuer, does not.
        location = replace(location, account=ACCOUNT)
    result = {key: _output(key, type_, lookup, name, location) for key, type_ in types.items()}
    if token in aws("ecr.getAuthorizationToken", "ecr.getCredentials"):
        result["authorizationToken"] = REGISTRY_TOKEN
    if path == "iam/getPolicy":
        # The name of a policy of AWS, such as AdministratorAccess. Rules need its ARN.
        managed = (str(policy.value) for policy in getattr(module, "ManagedPolicy", ()))
        names = (arn for arn in managed if arn.endswith(f"/{args.get('name')}"))
        result["arn"] = next(names, result["arn"])
    if kind in _EC2_PREFIXES:
        result["id"] = f"{_EC2_PREFIXES[kind]}-{HEX_MARKER}{_digits(lookup, 9)}"
    for key in result.keys() & types.keys():
        if types[key].type is str and _DOCUMENT.fullmatch(key) and key not in args:
            part = f"{name}-{key.lower()}"
            statement = {"Effect": "Allow", "Action": part, "Resource": part}
            result[key] = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    return result | {
        key: _converted(value, types[key].type if key in types else None)
        for key, value in args.items()
        if value is not None
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
    key: str, property_: Property, registration: Registration, name: str, location: AwsLocation
) -> Any:
    """The value of an output. It is invented if its form is not known."""
    if form := _OUTPUTS.get(registration.type, {}).get(key):
        return _fill(form, registration, name, location)
    if key == "domainValidationOptions" and registration.type in aws("acm.Certificate"):
        return _validation_records(registration)
    if key == "masterUserSecrets" and registration.type in aws("rds.Instance"):
        return _database_secrets(registration, location)
    if key == "identities" and registration.type in aws("eks.Cluster"):
        path = f"id/{_digits(registration, 32).upper()}"
        return [{"oidcs": [{"issuer": f"https://oidc.eks.{location.region}.amazonaws.com/{path}"}]}]
    if key == "arnSuffix":
        arn = _arn("arn", property_, registration, name, location)
        return arn.rpartition(":")[2].removeprefix("loadbalancer/")
    if key == "region":
        return location.region
    if key in ("ownerId", "accountId", "registryId"):
        return location.account
    if key == "arn" and name.startswith("arn:"):
        return name  # The ID of a resource that the program reads.
    if key.lower().endswith("arn"):
        return _arn(key, property_, registration, name, location)
    if key in _NAME_INPUTS or key == _own_id(registration.type):
        return name
    text = f"{name}-{key.lower()}-{MARKER}"
    if property_.type is str and (form := _documented(property_.description)):
        return form.format(text=f"{MARKER}-{_digits(registration, 6)}", region=location.region)
    return _empty(property_.type, key, text, int(_digits(registration, 6), 16))


def _own_id(token: str) -> str:
    """The output with the ID of a type, such as `keyId` of a key."""
    name = token.rpartition(":")[2]
    return f"{name[:1].lower()}{name[1:]}Id"


def _arn(
    key: str, property_: Property, registration: Registration, name: str, location: AwsLocation
) -> str:
    token, inputs = registration.type, registration.inputs
    kind = token.rpartition(":")[2]
    balancer = str(inputs.get("loadBalancerType", "application"))
    form = arn_formats.arn_format(token, key, balancer)
    if not form:
        if documented_arn := _ARN.search(property_.description):
            service = documented_arn[1]
            return f"arn:aws:{service}:{location.region}:{location.account}:{name}"
        service = token.split(":")[1].split("/")[0]
        place = f"{service}:{location.region}:{location.account}"
        return f"arn:aws:{place}:{kind.lower()}/{name}-{MARKER}"
    own = arn_formats.own_variable(form, kind, only=key != "arn")
    fixed = {"Partition": _partition(location.region), "Region": location.region}
    fixed |= {"Account": location.account, "AccountId": location.account}

    def value(variable: str, before: str) -> str:
        if variable in fixed:
            return fixed[variable]
        if variable == own:
            return _own_name(variable, registration, name).removeprefix(before.rpartition(":")[2])
        if variable == "Scope":
            return "global" if inputs.get("scope") == "CLOUDFRONT" else "regional"
        if arn_formats.is_version(variable):
            return "1"
        parent = inputs.get(_camel(variable)) or inputs.get(_camel(variable[:-4]))
        if isinstance(parent, str) and parent != UNKNOWN:
            return re.split("[:/]", parent)[-1]
        if variable.endswith("Uuid"):
            return _uuid(registration)
        # An ID of AWS is random, but a name is that of another resource.
        is_random = own and not variable.endswith("Name")
        return _digits(registration, 16) if is_random else f"{MARKER}-{name}"

    arn = arn_formats.fill(form, value)
    return f"{arn}-{_digits(registration, 6)}" if token in aws("secretsmanager.Secret") else arn


def _camel(variable: str) -> str:
    return variable[:1].lower() + variable[1:]


def _partition(region: str) -> str:
    prefixes = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
    return next((name for prefix, name in prefixes.items() if region.startswith(prefix)), "aws")


def _own_name(variable: str, registration: Registration, name: str) -> str:
    """The name of a resource in its ARN: an identity provider has that of its issuer, and an IAM
    resource has its path.
    """
    if variable == "OidcProviderName":
        return str(registration.inputs.get("url", name)).removeprefix("https://")
    if variable == "CertificateId":
        return _uuid(registration)
    path = registration.inputs.get("path")
    if variable.endswith("WithPath") and isinstance(path, str) and path != UNKNOWN:
        return f"{path.strip('/')}/{name}".lstrip("/")
    return name.lstrip("/") if variable.endswith("WithoutLeadingSlash") else name


def _documented(description: str) -> str:
    """The form of a URL or host name of AWS that the description of an output contains, such as
    `https://{text}.execute-api.{region}.amazonaws.com`; "" without one.
    """
    match = _DOCUMENTED.search(description)
    if match is None:
        return ""
    scheme, _, domain, rest = match.groups()
    parts = _PLACEHOLDER.sub("\0", f"{domain}{rest}")
    return scheme + "{text}" + re.sub(r"[{}<>]", "", parts).replace("\0", "{region}")


def _fill(form: str, registration: Registration, name: str, location: AwsLocation) -> str:
    return form.format(
        name=name,
        region=location.region,
        account=location.account,
        digits=_digits(registration, 16),
        number=int(_digits(registration, 8), 16),
        port=registration.inputs.get("port", 5432),
        target=str(registration.inputs.get("targetKeyId", "")).rpartition("/")[2],
    )


def _digits(registration: Registration, length: int) -> str:
    return hashlib.sha256(registration.urn.encode()).hexdigest()[:length]


def _uuid(registration: Registration) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, registration.urn))


def _empty(type_: Any, key: str, text: str, number: int) -> Any:
    """A value of a Python type: `text` or an address for a string, three items for a list."""
    origin = typing.get_origin(type_) or type_
    if origin in (bool, int, float):
        return f"{FLAG if origin is bool else NUMBER}-{text}"
    if origin in (list, collections.abc.Sequence):
        item = (typing.get_args(type_) or (str,))[0]
        return [_empty(item, key, f"{text}-{index}", number + index) for index in (1, 2, 3)]
    if origin in (dict, collections.abc.Mapping):
        return f"{MAP}-{text}"
    if origin is str:
        return _shaped(key, text, number)
    if isinstance(origin, type):
        return {
            key: _empty(inner.type, key, f"{text}-{key.lower()}", number)
            for key, inner in properties(origin).items()
        }
    return f"{MAP}-{text}"


def _shaped(key: str, text: str, number: int) -> str:
    """The text in the form that the name of the property implies."""
    if _CIDR.search(key):
        return NETWORK_V6 if "pv6" in key else NETWORK
    if _ADDRESS.search(key):
        return ADDRESS.format(number // 256 % 256, number % 256)
    if _ADDRESS_V6.search(key):
        return ADDRESS_V6.format(number % 65536)
    if key.lower().endswith("arn"):
        return f"arn:aws:service:region:{ACCOUNT}:{text}"
    return f"https://{text}" if _URL.search(key) else text


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
