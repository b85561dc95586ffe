"""CloudFront distributions with their functions, policies and origins, and deliveries of their
access logs.
"""

from typing import Any

from botocore.model import ListShape, Shape, StructureShape
from gatehouse_policies.program.types import ACCOUNT

from sandbox.emulator.request import ChangeRequest, Created, CreateRequest, normalized
from sandbox.emulator.resource_type import ResourceType

HOSTED_ZONE = "Z2FDTNDATAQYW2"
"""The hosted zone of every distribution (Route 53 API Reference, "AliasTarget")."""
_NAMES = {"originId": "Id", "orderedCacheBehaviors": "CacheBehaviors"}
"""Inputs whose member has another name."""


def _convert(request: CreateRequest, value: Any, shape: Shape, path: str) -> Any:
    """Convert an input to a parameter. The API of CloudFront represents a list as a structure with
    Quantity and Items.
    """
    if not isinstance(shape, StructureShape):
        if isinstance(value, list) and isinstance(shape, ListShape):
            return [
                _convert(request, item, shape.member, f"{path}[{index}]")
                for index, item in enumerate(value)
            ]
        return request.to_api(value, shape, path, {})
    if isinstance(value, dict) and set(value) == {"items"} and "Items" in shape.members:
        value = value["items"]
    if isinstance(value, list) and "Items" in shape.members:
        return {
            "Quantity": len(value),
            "Items": _convert(request, value, shape.members["Items"], path),
        }
    members = {normalized(name): name for name in shape.members}
    result = {}
    for key, item in value.items():
        member = _NAMES.get(key) or members.get(normalized(key))
        if member is None:
            raise request.error(
                f"property {path}.{key} has no member in {shape.name} of the AWS API."
            )
        result[member] = _convert(request, item, shape.members[member], f"{path}.{key}")
    return result


def _configuration(
    request: CreateRequest, call: str, member: str, inputs: dict[str, Any]
) -> dict[str, Any]:
    converted: dict[str, Any] = _convert(
        request, inputs, request.input_shape(call).members[member], member
    )
    return converted


def _taken(request: CreateRequest) -> dict[str, Any]:
    """All inputs except tags, marked as used."""
    return {
        name: request.take(name)
        for name in request.registration.inputs
        if name not in ("tags", "region")
    }


def _behavior(inputs: dict[str, Any]) -> dict[str, Any]:
    """A cache behavior, with the cached methods nested in the allowed methods as the API
    requires.
    """
    allowed, cached = inputs["allowedMethods"], inputs["cachedMethods"]
    methods = {"quantity": len(allowed), "items": allowed, "cachedMethods": cached}
    return {
        **{name: value for name, value in inputs.items() if name != "cachedMethods"},
        "allowedMethods": methods,
    }


def _distribution(request: CreateRequest) -> dict[str, Any]:
    """The configuration of the distribution."""
    call, inputs = "cloudfront.create_distribution_with_tags", _taken(request)
    geography = inputs["restrictions"]["geoRestriction"]
    locations = geography.get("locations", [])
    inputs |= {
        "callerReference": request.registration.urn,
        "defaultCacheBehavior": _behavior(inputs["defaultCacheBehavior"]),
        "orderedCacheBehaviors": [
            _behavior(behavior) for behavior in inputs.get("orderedCacheBehaviors", [])
        ],
        "origins": [
            # The API requires this structure for an S3 origin with origin access control.
            {
                **origin,
                **(
                    {"s3OriginConfig": {"originAccessIdentity": ""}}
                    if "originAccessControlId" in origin
                    else {}
                ),
            }
            for origin in inputs["origins"]
        ],
        "restrictions": {
            "geoRestriction": {
                "restrictionType": geography["restrictionType"],
                "quantity": len(locations),
                **({"items": locations} if locations else {}),
            }
        },
    }
    return _configuration(
        request, call, "DistributionConfigWithTags", {"distributionConfig": inputs}
    )


def _create_distribution(request: CreateRequest) -> Created:
    call, configuration = "cloudfront.create_distribution_with_tags", _distribution(request)
    tagged = {**configuration, "Tags": {"Items": request.tag_list()}}
    row = request.call(call, {"DistributionConfigWithTags": tagged})["Distribution"]
    outputs = {
        "arn": row["ARN"],
        "domainName": row["DomainName"],
        "hostedZoneId": HOSTED_ZONE,
        "status": row["Status"],
    }
    return str(row["Id"]), outputs


def _version(request: ChangeRequest, call: str, **parameters: Any) -> str:
    """The version (ETag) that a change must name."""
    return str(request.call(call, **parameters)["ETag"])


def _update_distribution(request: ChangeRequest) -> None:
    if "tagsAll" in request.changed:
        request.call(
            "cloudfront.tag_resource",
            Resource=request.old.outputs["arn"],
            Tags={"Items": request.tag_list()},
        )
    configuration = _distribution(request)["DistributionConfig"]
    version = _version(request, "cloudfront.get_distribution_config", Id=request.old.id)
    request.call(
        "cloudfront.update_distribution",
        DistributionConfig=configuration,
        Id=request.old.id,
        IfMatch=version,
    )


def _delete_distribution(request: ChangeRequest) -> None:
    """Disable the distribution, which AWS requires, and delete it."""
    current = request.call("cloudfront.get_distribution_config", Id=request.old.id)
    disabled = {**current["DistributionConfig"], "Enabled": False}
    names = {"Id": request.old.id, "IfMatch": current["ETag"]}
    request.call("cloudfront.update_distribution", {"DistributionConfig": disabled, **names})
    version = _version(request, "cloudfront.get_distribution_config", Id=request.old.id)
    request.call("cloudfront.delete_distribution", Id=request.old.id, IfMatch=version)


def _delete_function(request: ChangeRequest) -> None:
    version = _version(request, "cloudfront.describe_function", Name=request.old.id)
    request.call("cloudfront.delete_function", Name=request.old.id, IfMatch=version)


def _check_vpc_origin(request: CreateRequest) -> Created:
    call, inputs = "cloudfront.create_vpc_origin", _taken(request)
    endpoint = _configuration(
        request, call, "VpcOriginEndpointConfig", inputs["vpcOriginEndpointConfig"]
    )
    request.check(
        call, {"VpcOriginEndpointConfig": endpoint, "Tags": {"Items": request.tag_list()}}
    )
    identity = f"vo_{endpoint['Name']}"
    return identity, {"arn": f"arn:aws:cloudfront::{ACCOUNT}:vpcorigin/{identity}"}


def _check_headers_policy(request: CreateRequest) -> Created:
    call, inputs = "cloudfront.create_response_headers_policy", _taken(request)
    configuration = _configuration(request, call, "ResponseHeadersPolicyConfig", inputs)
    request.check(call, {"ResponseHeadersPolicyConfig": configuration})
    return str(inputs["name"]), {
        "arn": f"arn:aws:cloudfront::{ACCOUNT}:response-headers-policy/{inputs['name']}"
    }


def _create_function(request: CreateRequest) -> Created:
    """Create the function. moto has no PublishFunction: every function is used as it was
    created.
    """
    inputs = _taken(request)
    configuration = {"Comment": inputs.get("comment", ""), "Runtime": inputs["runtime"]}
    code = str(inputs["code"]).encode()
    request.call(
        "cloudfront.create_function",
        Name=inputs["name"],
        FunctionConfig=configuration,
        FunctionCode=code,
    )
    return str(inputs["name"]), {"arn": f"arn:aws:cloudfront::{ACCOUNT}:function/{inputs['name']}"}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:cloudfront/distribution:Distribution": ResourceType(
        create=_create_distribution, update=_update_distribution, delete=_delete_distribution
    ),
    "aws:cloudfront/function:Function": ResourceType(
        create=_create_function, delete=_delete_function
    ),
    "aws:cloudfront/originAccessControl:OriginAccessControl": ResourceType(
        call="cloudfront.create_origin_access_control",
        id="{OriginAccessControl[Id]}",
        body="OriginAccessControlConfig",
        outputs={"arn": "arn:aws:cloudfront::{account}:origin-access-control/{id}"},
    ),
    "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy": ResourceType(
        create=_check_headers_policy, modelled="moto has no CreateResponseHeadersPolicy"
    ),
    "aws:cloudfront/vpcOrigin:VpcOrigin": ResourceType(
        create=_check_vpc_origin, modelled="moto has no CreateVpcOrigin"
    ),
    "aws:cloudwatch/logDeliverySource:LogDeliverySource": ResourceType(
        call="logs.put_delivery_source", id="{name}"
    ),
    "aws:cloudwatch/logDeliveryDestination:LogDeliveryDestination": ResourceType(
        call="logs.put_delivery_destination",
        id="{name}",
    ),
    "aws:cloudwatch/logDelivery:LogDelivery": ResourceType(call="logs.create_delivery", id="{id}"),
}
