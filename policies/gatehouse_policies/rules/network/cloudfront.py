"""Rules for CloudFront distributions, origins and response headers."""

from collections.abc import Iterator
from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    any_of,
    for_types,
    in_order,
    is_at_least,
    is_exactly,
    is_not,
    is_set,
    is_true,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_distribution_rule = partial(resource_rule, types=aws("cloudfront.Distribution"))
_DISTRIBUTIONS = aws("cloudfront.Distribution", "cloudfront.MultitenantDistribution")
_any_distribution_rule = partial(resource_rule, types=_DISTRIBUTIONS)

_BEHAVIORS = ("defaultCacheBehavior", "orderedCacheBehaviors[]", "cacheBehaviors[]")
_PROTOCOLS = "originSslProtocols"
# Security policies for TLS 1.2 and 1.3 without ciphers in CBC mode.
_STRONG_POLICIES = ("TLSv1.2_2021", "TLSv1.2_2025", "TLSv1.3_2025")
_SECURITY_HEADERS = (
    *("strictTransportSecurity", "contentSecurityPolicy", "contentTypeOptions", "frameOptions"),
)
_HSTS = "securityHeadersConfig.strictTransportSecurity"
_YEAR_S = 31_536_000


viewers_use_https = _any_distribution_rule("GH-CF-001").requires(
    *(
        is_exactly(
            f"{behavior}.viewerProtocolPolicy",
            "redirect-to-https",
            "https-only",
            message="allows HTTP",
        )
        for behavior in _BEHAVIORS
    )
)


@resource_rule("GH-CF-002", types=_DISTRIBUTIONS + aws("cloudfront.VpcOrigin"))
def origins_use_https(resource: Resource) -> CheckResults:
    for origin in _custom_origins(resource):
        if origin.text("originProtocolPolicy") != "https-only":
            yield f"{origin.path_of('originProtocolPolicy')} is not https-only"
        protocols = (
            origin.block(_PROTOCOLS).texts("items")
            if _is_vpc_origin(resource)
            else origin.texts(_PROTOCOLS)
        )
        if set(protocols) != {"TLSv1.2"}:
            yield f"{origin.path_of(_PROTOCOLS)} is not TLSv1.2"


def _is_vpc_origin(resource: Resource) -> bool:
    return resource.type in aws("cloudfront.VpcOrigin")


# Multi-tenant distributions have a list.
_CUSTOM_ORIGINS = ("customOriginConfig", "customOriginConfigs")


def _custom_origins(resource: Resource) -> Iterator[Properties]:
    """The connection settings of the origins that are not S3 buckets. A VPC origin is a separate
    resource.
    """
    if _is_vpc_origin(resource):
        yield resource.props.block("vpcOriginEndpointConfig")
        return
    for origin in resource.props.blocks("origins"):
        for name in _CUSTOM_ORIGINS:
            yield from origin.blocks(name)


viewer_tls_is_current = _any_distribution_rule("GH-CF-003").requires(
    is_exactly(
        "viewerCertificate.minimumProtocolVersion",
        *_STRONG_POLICIES,
        message="is older than TLSv1.2_2021",
    ),
    # CloudFront ignores the version with its own certificate, which GH-CF-009 reports.
    when=lambda each: (
        not each.props.block("viewerCertificate").flag("cloudfrontDefaultCertificate")
    ),
)


@resource_rule("GH-CF-004", types=_DISTRIBUTIONS + aws("cloudfront.OriginAccessControl"))
def buckets_use_origin_access_control(resource: Resource) -> CheckResults:
    if resource.type in aws("cloudfront.OriginAccessControl"):
        if resource.props.text("signingBehavior") != "always":
            yield "signingBehavior is not always, so requests can reach the bucket unsigned"
        return
    for origin in resource.props.blocks("origins"):
        if any(map(origin.has, (*_CUSTOM_ORIGINS, "vpcOriginConfig", "vpcOriginConfigs"))):
            continue
        if not origin.has("originAccessControlId"):
            yield f"{origin.path_of('originAccessControlId')} is not set"


web_acl_is_attached = resource_rule(
    "GH-CF-005", types=_DISTRIBUTIONS + aws("cloudfront.DistributionTenant")
).requires(
    for_types(_DISTRIBUTIONS, is_set("webAclId")),
    # A tenant has the web ACL of its distribution.
    is_not("customizations.webAcl.action", "disable"),
)


@stack_rule("GH-CF-006", types=aws("cloudfront.Distribution"))
def access_logging_is_enabled(distribution: Resource, stack: Stack) -> CheckResults:
    if distribution.props.block("loggingConfig").has("bucket"):
        return
    sources = stack.referencing(distribution, aws("cloudwatch.LogDeliverySource"), "resourceArn")
    if not any(
        stack.referencing(source, aws("cloudwatch.LogDelivery"), "deliverySourceName")
        for source in sources
    ):
        yield "no log delivery and no loggingConfig refers to the distribution"


default_root_object_is_set = _distribution_rule("GH-CF-007").requires(is_set("defaultRootObject"))


responses_have_security_headers = resource_rule(
    "GH-CF-008", types=_DISTRIBUTIONS + aws("cloudfront.ResponseHeadersPolicy")
).requires(
    for_types(
        aws("cloudfront.ResponseHeadersPolicy"),
        *(is_set(f"securityHeadersConfig.{name}") for name in _SECURITY_HEADERS),
        is_true(f"{_HSTS}.includeSubdomains"),
        is_at_least(f"{_HSTS}.accessControlMaxAgeSec", _YEAR_S),
    ),
    for_types(
        _DISTRIBUTIONS, *(is_set(f"{behavior}.responseHeadersPolicyId") for behavior in _BEHAVIORS)
    ),
)


certificate_is_custom = _distribution_rule("GH-CF-009").requires(
    in_order(
        any_of(
            is_set("viewerCertificate.acmCertificateArn"),
            is_set("viewerCertificate.iamCertificateId"),
            message="viewerCertificate.acmCertificateArn is not set, so the default certificate "
            "is used",
        ),
        is_exactly("viewerCertificate.sslSupportMethod", "sni-only"),
    )
)
