"""Reads resources that exist in the emulator: `get`, which reads a resource that the program does
not manage, and `import`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from gatehouse_policies.program.schema import Schema, schema
from gatehouse_policies.program.types import ACCOUNT, Registration

from sandbox.emulator.request import AwsError, CreateRequest
from sandbox.emulator.resource_type import outputs_of

_ABSENT = re.compile(r"NotFound|NoSuch|NotExist|ResourceNotFound|does not exist|404|not owned")


@dataclass(frozen=True, slots=True)
class Read:
    """The call that describes a resource. Scalar members of its result are the outputs with the
    same name.

    call: "service.operation". parameter: the parameter for the ID. outputs: templates of further
    outputs, which refer to members, `id`, `region` and `account`. more: returns outputs that need
    another call.
    """

    call: str
    parameter: str
    outputs: Mapping[str, str] = field(default_factory=dict)
    more: Callable[[CreateRequest, Mapping[str, Any]], dict[str, Any]] | None = None


def _zone(request: CreateRequest, zone: Mapping[str, Any]) -> dict[str, Any]:
    servers = zone.get("DelegationSet", {}).get("NameServers", [])
    name = str(zone["HostedZone"]["Name"]).rstrip(".")
    comment = zone["HostedZone"].get("Config", {}).get("Comment", "")
    return {
        "name": name,
        "comment": comment,
        "nameServers": servers,
        "primaryNameServer": servers[0] if servers else "",
    }


def _key(request: CreateRequest, key: Mapping[str, Any]) -> dict[str, Any]:
    identity = key["KeyId"]
    policy = request.call("kms.get_key_policy", KeyId=identity, PolicyName="default")["Policy"]
    rotation = request.call("kms.get_key_rotation_status", KeyId=identity)["KeyRotationEnabled"]
    tags = request.call("kms.list_resource_tags", KeyId=identity)["Tags"]
    return {
        "policy": policy,
        "enableKeyRotation": rotation,
        "isEnabled": key["Enabled"],
        "customerMasterKeySpec": key["KeySpec"],
        "tags": {row["TagKey"]: row["TagValue"] for row in tags},
    }


def _vpc(request: CreateRequest, vpc: Mapping[str, Any]) -> dict[str, Any]:
    names = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}
    call = "ec2.describe_vpc_attribute"
    attributes = {
        name: request.call(call, VpcId=vpc["VpcId"], Attribute=name)[member]["Value"]
        for name, member in names.items()
    }
    filters = [
        {"Name": "vpc-id", "Values": [vpc["VpcId"]]},
        {"Name": "group-name", "Values": ["default"]},
    ]
    (group,) = request.call("ec2.describe_security_groups", Filters=filters)["SecurityGroups"]
    return {**attributes, "defaultSecurityGroupId": group["GroupId"]}


def _certificate(request: CreateRequest, certificate: Mapping[str, Any]) -> dict[str, Any]:
    tags = request.call(
        "acm.list_tags_for_certificate", CertificateArn=certificate["CertificateArn"]
    )["Tags"]
    names = certificate.get("SubjectAlternativeNames", [])
    return {
        "subjectAlternativeNames": names,
        "tags": {row["Key"]: row.get("Value", "") for row in tags},
    }


def _ec2(kind: str, operation: str, parameter: str, more: Any = None) -> Read:
    return Read(
        f"ec2.{operation}",
        parameter,
        {"arn": f"arn:aws:ec2:{{region}}:{{account}}:{kind}/{{id}}"},
        more,
    )


READS: dict[str, Read] = {
    "aws:acm/certificate:Certificate": Read(
        "acm.describe_certificate", "CertificateArn", {"arn": "{CertificateArn}"}, _certificate
    ),
    "aws:ec2/internetGateway:InternetGateway": _ec2(
        "internet-gateway", "describe_internet_gateways", "InternetGatewayIds"
    ),
    "aws:ec2/routeTable:RouteTable": _ec2("route-table", "describe_route_tables", "RouteTableIds"),
    "aws:ec2/securityGroup:SecurityGroup": _ec2(
        "security-group",
        "describe_security_groups",
        "GroupIds",
        lambda _, group: {"name": group["GroupName"]},
    ),
    "aws:ec2/subnet:Subnet": _ec2("subnet", "describe_subnets", "SubnetIds"),
    "aws:ec2/vpc:Vpc": _ec2("vpc", "describe_vpcs", "VpcIds", _vpc),
    "aws:guardduty/detector:Detector": Read(
        "guardduty.get_detector",
        "DetectorId",
        {"arn": "arn:aws:guardduty:{region}:{account}:detector/{id}", "accountId": "{account}"},
        lambda _, detector: {"enable": detector["Status"] == "ENABLED"},
    ),
    "aws:iam/role:Role": Read(
        "iam.get_role", "RoleName", {"arn": "{Arn}", "name": "{RoleName}", "uniqueId": "{RoleId}"}
    ),
    "aws:kms/alias:Alias": Read(
        "kms.describe_key",
        "KeyId",
        {"name": "{id}", "targetKeyId": "{KeyId}", "targetKeyArn": "{Arn}"},
    ),
    "aws:kms/key:Key": Read("kms.describe_key", "KeyId", {"arn": "{Arn}"}, _key),
    "aws:route53/zone:Zone": Read(
        "route53.get_hosted_zone",
        "Id",
        {"zoneId": "{id}", "arn": "arn:aws:route53:::hostedzone/{id}"},
        _zone,
    ),
    "aws:s3/bucket:Bucket": Read(
        "s3.head_bucket", "Bucket", {"bucket": "{id}", "arn": "arn:aws:s3:::{id}"}
    ),
    "aws:sns/topic:Topic": Read(
        "sns.get_topic_attributes",
        "TopicArn",
        {"arn": "{id}"},
        lambda _, attributes: {
            "name": attributes["TopicArn"].rpartition(":")[2],
            "displayName": attributes["DisplayName"],
        },
    ),
}
"""Types that can be read, with their call. Their IDs are those of `import` in the documentation of
the provider.
"""


def read(request: CreateRequest, registration: Registration) -> dict[str, Any]:
    """Return the outputs of an existing resource, and set the scope of the request to what later
    calls need.

    request: a request for the resource without inputs. Raises SandboxError for a type that cannot
    be read, an ID that does not exist, and an input to import that the resource does not have.
    """
    identity, how, properties = (
        registration.import_id,
        READS.get(registration.type),
        schema(registration.type),
    )
    if how is None or properties is None:
        raise request.error(
            f"{identity!r}: the emulator cannot read or import {registration.type}. Types that "
            f"it reads: "
            f"{', '.join(sorted(READS))}. Add the type to sandbox/emulator/reads.py."
        )
    members = _members(request, how, identity)
    scope = {**members, "id": identity, "region": request.region, "account": ACCOUNT}
    outputs = _outputs(request, how, properties, scope)
    differing = sorted(
        name
        for name, value in registration.inputs.items()
        if name in outputs and outputs[name] != value
    )
    if differing and not registration.external:
        existing = ", ".join(f"{name} is {outputs[name]!r}" for name in differing)
        raise request.error(
            f"inputs to import do not match the existing resource {identity!r}: {existing}."
        )
    request.scope = {**members, how.parameter: identity}
    return {**registration.inputs, **outputs}


def _members(request: CreateRequest, how: Read, identity: str) -> Mapping[str, Any]:
    """The result of the call. A list in the result has one item, because the call names one
    resource.
    """
    is_list = request.input_shape(how.call).members[how.parameter].type_name == "list"
    try:
        response = request.call(how.call, {how.parameter: [identity] if is_list else identity})
    except AwsError as exc:
        if _ABSENT.search(f"{exc.code} {exc.message}"):
            raise request.error(f"resource {identity!r} does not exist") from None
        raise
    rows = [value for value in response.values() if isinstance(value, list)]
    return dict(rows[0][0]) if is_list else request.result(how.call, response)


def _outputs(
    request: CreateRequest, how: Read, properties: Schema, scope: Mapping[str, Any]
) -> dict[str, Any]:
    extra: dict[str, Any] = {
        name: Formatter().vformat(template, (), scope) for name, template in how.outputs.items()
    }
    if how.more is not None:
        extra |= how.more(request, scope)
    if properties.taggable:
        extra = {"tags": {row["Key"]: row["Value"] for row in scope.get("Tags") or []}, **extra}
        request.tags = extra["tags"]
    return outputs_of(request, properties, scope, extra)
