"""Programs that violate one control: CloudFront."""

from typing import Any

from tests.policies.rules.builders import Program, by_change, changed, find, violation, without
from tests.policies.rules.network_programs import ORIGINS, cloudfront

FILES, PRIVATE, PUBLIC = ORIGINS


HSTS_OF_HOST = {"accessControlMaxAgeSec": 31_536_000, "override": True}


def behavior(**inputs: Any) -> Program:
    """The program with changed inputs of the first ordered cache behavior. None removes an
    input.
    """
    first, *others = find(cloudfront(), "cdn").inputs["orderedCacheBehaviors"]
    changed_first = {
        name: value for name, value in {**first, **inputs}.items() if value is not None
    }
    return changed(cloudfront(), "cdn", orderedCacheBehaviors=[changed_first, *others])


def certificate(**inputs: Any) -> Program:
    """The program with changed inputs of the viewer certificate. None removes an input."""
    current = find(cloudfront(), "cdn").inputs["viewerCertificate"]
    changed_certificate = {
        name: value for name, value in {**current, **inputs}.items() if value is not None
    }
    return changed(cloudfront(), "cdn", viewerCertificate=changed_certificate)


def public_origin(**inputs: Any) -> Program:
    origin = {**PUBLIC, "customOriginConfig": {**PUBLIC["customOriginConfig"], **inputs}}
    return changed(cloudfront(), "cdn", origins=[FILES, PRIVATE, origin])


def private_origin(**inputs: Any) -> Program:
    endpoint = find(cloudfront(), "private-origin").inputs["vpcOriginEndpointConfig"]
    return changed(cloudfront(), "private-origin", vpcOriginEndpointConfig={**endpoint, **inputs})


def headers(**inputs: Any) -> Program:
    current = find(cloudfront(), "headers").inputs["securityHeadersConfig"]
    remaining = {name: value for name, value in {**current, **inputs}.items() if value is not None}
    return changed(cloudfront(), "headers", securityHeadersConfig=remaining)


VIOLATIONS = [
    violation(
        "GH-CF-001", "cdn", "orderedCacheBehaviors[0]", behavior(viewerProtocolPolicy="allow-all")
    ),
    violation(
        "GH-CF-002",
        "cdn",
        "originProtocolPolicy",
        public_origin(originProtocolPolicy="match-viewer"),
    ),
    violation(
        "GH-CF-002",
        "cdn",
        "originSslProtocols",
        public_origin(originSslProtocols=["TLSv1.1", "TLSv1.2"]),
    ),
    violation(
        "GH-CF-002",
        "private-origin",
        "originProtocolPolicy",
        private_origin(originProtocolPolicy="http-only"),
    ),
    violation(
        "GH-CF-002",
        "private-origin",
        "originSslProtocols",
        private_origin(originSslProtocols={"items": ["TLSv1"], "quantity": 1}),
    ),
    violation(
        "GH-CF-003",
        "cdn",
        "minimumProtocolVersion",
        certificate(minimumProtocolVersion="TLSv1.2_2019"),
    ),
    violation(
        "GH-CF-003", "cdn", "minimumProtocolVersion", certificate(minimumProtocolVersion=None)
    ),
    by_change(
        "GH-CF-004",
        cloudfront,
        "cdn",
        "originAccessControlId",
        origins=[
            {
                "originId": "files",
                "domainName": FILES["domainName"],
                "s3OriginConfig": {"originAccessIdentity": "origin-access-identity/cloudfront/E1"},
            },
            PRIVATE,
            PUBLIC,
        ],
    ),
    by_change("GH-CF-004", cloudfront, "access", "signingBehavior", signingBehavior="no-override"),
    by_change("GH-CF-005", cloudfront, "cdn", "webAclId", webAclId=None),
    violation("GH-CF-006", "cdn", "log", without(cloudfront(), "cdn-delivery")),
    violation("GH-CF-006", "cdn", "log", without(cloudfront(), "cdn-log", "cdn-delivery")),
    by_change("GH-CF-007", cloudfront, "cdn", "defaultRootObject", defaultRootObject=None),
    violation(
        "GH-CF-008", "cdn", "orderedCacheBehaviors[0]", behavior(responseHeadersPolicyId=None)
    ),
    violation("GH-CF-008", "headers", "contentSecurityPolicy", headers(contentSecurityPolicy=None)),
    violation(
        "GH-CF-008",
        "headers",
        "year",
        headers(strictTransportSecurity={"accessControlMaxAgeSec": 300, "override": True}),
    ),
    violation(
        "GH-CF-008", "headers", "includeSubdomains", headers(strictTransportSecurity=HSTS_OF_HOST)
    ),
    violation("GH-CF-009", "cdn", "acmCertificateArn", certificate(acmCertificateArn=None)),
    violation("GH-CF-009", "cdn", "sslSupportMethod", certificate(sslSupportMethod="vip")),
]
