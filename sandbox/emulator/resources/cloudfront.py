"""CloudFront distributions with their functions, policies and origins, and deliveries of their
access logs.
"""

from typing import Any

from sandbox.emulator.request import ChangeRequest, CreateRequest
from sandbox.emulator.resource_type import REPLACED, ResourceType, global_arn


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


def _configuration(request: CreateRequest) -> dict[str, Any]:
    names = set(request.registration.inputs) - {"tags", "region"}
    inputs = {name: request.take(name) for name in names}
    geography = inputs["restrictions"]["geoRestriction"]
    locations = geography.get("locations", [])
    # The API requires this structure for an S3 origin with origin access control.
    no_identity = {"s3OriginConfig": {"originAccessIdentity": ""}}
    inputs |= {
        "callerReference": request.registration.urn,
        "defaultCacheBehavior": _behavior(inputs["defaultCacheBehavior"]),
        "orderedCacheBehaviors": [
            _behavior(behavior) for behavior in inputs.get("orderedCacheBehaviors", [])
        ],
        "origins": [
            {**origin, **(no_identity if "originAccessControlId" in origin else {})}
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
    configuration: dict[str, Any] = request.part(
        "cloudfront.create_distribution_with_tags",
        "DistributionConfigWithTags.DistributionConfig",
        inputs,
    )
    return configuration


def distribution_with_tags(request: CreateRequest) -> dict[str, Any]:
    tags = {"Items": request.tag_list()}
    configuration = {"DistributionConfig": _configuration(request), "Tags": tags}
    return {"DistributionConfigWithTags": configuration}


def _version(request: ChangeRequest) -> dict[str, str]:
    """The distribution with its version (ETag), which a change must name."""
    identity = request.old.id
    current = request.call("cloudfront.get_distribution_config", Id=identity)
    return {"Id": identity, "IfMatch": current["ETag"]}


def update_distribution(request: ChangeRequest) -> None:
    changed = {"DistributionConfig": _configuration(request), **_version(request)}
    request.call("cloudfront.update_distribution", changed)


def delete_distribution(request: ChangeRequest) -> None:
    """Disable the distribution, which AWS requires, and delete it."""
    current = request.call("cloudfront.get_distribution_config", Id=request.old.id)
    disabled = {**current["DistributionConfig"], "Enabled": False}
    changed = {"DistributionConfig": disabled, **_version(request)}
    request.call("cloudfront.update_distribution", changed)
    request.call("cloudfront.delete_distribution", _version(request))


def delete_function(request: ChangeRequest) -> None:
    current = request.call("cloudfront.describe_function", Name=request.old.id)
    request.call("cloudfront.delete_function", Name=request.old.id, IfMatch=current["ETag"])


def take_publish(request: CreateRequest) -> dict[str, Any]:
    """moto has no PublishFunction: every function is used as it was created."""
    request.take("publish")
    return {}


TYPES = {
    "cloudfront.Distribution": ResourceType(
        "cloudfront.create_distribution_with_tags",
        "{Distribution[Id]}",
        names={"originId": "Id", "orderedCacheBehaviors": "CacheBehaviors"},
        prepare=distribution_with_tags,
        update=update_distribution,
        delete=delete_distribution,
        outputs={
            "arn": "{Distribution[ARN]}",
            "domainName": "{Distribution[DomainName]}",
            "status": "{Distribution[Status]}",
            "hostedZoneId": "Z2FDTNDATAQYW2",
        },
    ),
    # moto has no UpdateFunction.
    "cloudfront.Function": ResourceType(
        "cloudfront.create_function",
        "{name}",
        "FunctionConfig",
        names={"code": "FunctionCode"},
        defaults={"comment": ""},
        outputs=global_arn("cloudfront", "function/{name}"),
        prepare=take_publish,
        update=REPLACED,
        delete=delete_function,
    ),
    "cloudfront.OriginAccessControl": ResourceType(
        "cloudfront.create_origin_access_control",
        "{OriginAccessControl[Id]}",
        "OriginAccessControlConfig",
        outputs=global_arn("cloudfront", "origin-access-control/{id}"),
    ),
    "cloudfront.ResponseHeadersPolicy": ResourceType(
        "cloudfront.create_response_headers_policy",
        "{name}",
        "ResponseHeadersPolicyConfig",
        outputs=global_arn("cloudfront", "response-headers-policy/{name}"),
        modelled="moto has no CreateResponseHeadersPolicy",
    ),
    "cloudfront.VpcOrigin": ResourceType(
        "cloudfront.create_vpc_origin",
        "vo_{vpcOriginEndpointConfig[name]}",
        outputs=global_arn("cloudfront", "vpcorigin/{id}"),
        modelled="moto has no CreateVpcOrigin",
    ),
    "cloudwatch.LogDeliverySource": ResourceType("logs.put_delivery_source", "{name}"),
    "cloudwatch.LogDeliveryDestination": ResourceType("logs.put_delivery_destination", "{name}"),
    "cloudwatch.LogDelivery": ResourceType("logs.create_delivery", "{id}"),
}
