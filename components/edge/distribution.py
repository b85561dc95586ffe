"""The CloudFront distribution in front of the console: static files from S3, and all other requests
to the console.
"""

import re
from collections.abc import Mapping

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.edge import web_ui
from components.edge.load_balancer import LoadBalancer
from components.naming import CLOUDFRONT_REGION, tags
from components.settings.workloads import CONSOLE

FILES = "files"
"""ID of the origin of the files. The other origin is `CONSOLE`."""
CACHING_OPTIMIZED = "658327ea-f89d-4fab-a63d-7e88639e58f6"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
"""Source: CloudFront Developer Guide, "Use managed cache policies"."""
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"
"""Forwards all headers, cookies and query strings. The Host header is the name in the certificate
of the load balancer.
Source: CloudFront Developer Guide, "Use managed origin request policies"."""
READ = ["GET", "HEAD"]
ALL_METHODS = [*READ, "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
ORIGIN_TIMEOUT_S = 60
"""Longest time without data from the console. 60 seconds is the maximum without a quota
increase.
"""
TLS_POLICY = "TLSv1.2_2025"
"""TLS 1.2 and 1.3 with forward secrecy. Source: CloudFront Developer Guide, "Supported protocols
and ciphers between viewers and CloudFront"."""
LOG_FIELDS = [
    "date",
    "time",
    "x-edge-location",
    "x-edge-request-id",
    "c-ip",
    "cs-method",
    "cs(Host)",
    "cs-uri-stem",
    "sc-status",
    "sc-bytes",
    "cs-bytes",
    "time-taken",
    "time-to-first-byte",
    "cs-protocol",
    "cs-protocol-version",
    "ssl-protocol",
    "ssl-cipher",
    "x-edge-result-type",
    "x-edge-response-result-type",
    "x-edge-detailed-result-type",
    "cs(User-Agent)",
]
"""Fields of the access log. Cookies and query strings are omitted, because they contain sessions
and sign-in codes.
"""


class Distribution(StackComponent):
    """A CloudFront distribution for the console: the files of the web UI from a private bucket, and
    all other requests from an internal load balancer that only CloudFront can access.

    Why: The files are served near the user and do not depend on the tasks. Both origins share one
    host name, so the web UI works without CORS and with the cookies of the API. A VPC origin needs
    no secret header: the load balancer has no public address.
    """

    def __init__(
        self,
        name: str,
        stack: Stack,
        load_balancer: LoadBalancer,
        opts: pulumi.ResourceOptions,
        *,
        certificate_arn: pulumi.Input[str],
        web_acl_arn: pulumi.Input[str],
        bucket: pulumi.Input[str],
        log_bucket_arn: pulumi.Input[str],
    ) -> None:
        super().__init__(name, stack, opts)
        uploaded = self._upload(bucket)
        headers = self._headers_policy(name)
        service = self.contract.services[CONSOLE]
        distribution = aws.cloudfront.Distribution(
            name,
            aliases=[self.contract.hosts[CONSOLE]],
            comment=f"Gatehouse {self.names.stack}: console",
            enabled=True,
            http_version="http2and3",
            is_ipv6_enabled=False,
            default_root_object=web_ui.INDEX,
            web_acl_id=web_acl_arn,
            origins=self._origins(name, bucket, load_balancer),
            default_cache_behavior=self._files_behavior(name, headers),
            ordered_cache_behaviors=[
                {
                    "path_pattern": path,
                    "target_origin_id": CONSOLE,
                    "viewer_protocol_policy": "redirect-to-https",
                    "allowed_methods": ALL_METHODS,
                    "cached_methods": READ,
                    "cache_policy_id": CACHING_DISABLED,
                    "origin_request_policy_id": ALL_VIEWER,
                    "response_headers_policy_id": headers,
                }
                for path in (*web_ui.API_PATHS, service.health, service.ready)
            ],
            restrictions={"geo_restriction": {"restriction_type": "none"}},
            viewer_certificate={
                "acm_certificate_arn": certificate_arn,
                "minimum_protocol_version": TLS_POLICY,
                "ssl_support_method": "sni-only",
            },
            tags=tags("none"),
            opts=self.after(*uploaded),
        )
        self._access_log(name, distribution.arn, log_bucket_arn)
        self.arn, self.domain_name, self.zone_id = (
            distribution.arn,
            distribution.domain_name,
            distribution.hosted_zone_id,
        )
        self.register_outputs({})

    def _upload(self, bucket: pulumi.Input[str]) -> list[aws.s3.BucketObjectv2]:
        index, *assets = web_ui.files()
        uploaded = [self._object(file, bucket, self.child) for file in assets]
        return [*uploaded, self._object(index, bucket, self.after(*uploaded))]

    def _object(
        self, file: web_ui.WebFile, bucket: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> aws.s3.BucketObjectv2:
        return aws.s3.BucketObjectv2(
            file.key,
            bucket=bucket,
            key=file.key,
            source=pulumi.FileAsset(str(file.path)),
            content_type=file.content_type,
            cache_control=file.cache_control,
            tags=tags("none"),
            opts=opts,
        )

    def _origins(
        self, name: str, bucket: pulumi.Input[str], load_balancer: LoadBalancer
    ) -> list[aws.cloudfront.DistributionOriginArgsDict]:
        access = aws.cloudfront.OriginAccessControl(
            name,
            name=self.names.name("web-ui"),
            description="Signs requests for the files of the web UI",
            origin_access_control_origin_type="s3",
            signing_behavior="always",
            signing_protocol="sigv4",
            opts=self.child,
        )
        vpc_origin = aws.cloudfront.VpcOrigin(
            name,
            vpc_origin_endpoint_config={
                "name": self.names.name("console"),
                "arn": load_balancer.arn,
                "http_port": 80,
                "https_port": 443,
                "origin_protocol_policy": "https-only",
                "origin_ssl_protocols": {"items": ["TLSv1.2"], "quantity": 1},
            },
            tags=tags("none"),
            opts=self.child,
        )
        return [
            {
                "origin_id": FILES,
                "domain_name": pulumi.Output.format(
                    "{}.s3.{}.amazonaws.com", bucket, self.names.region
                ),
                "origin_access_control_id": access.id,
            },
            {
                "origin_id": CONSOLE,
                "domain_name": load_balancer.dns_name,
                "vpc_origin_config": {
                    "vpc_origin_id": vpc_origin.id,
                    "origin_read_timeout": ORIGIN_TIMEOUT_S,
                    "origin_keepalive_timeout": ORIGIN_TIMEOUT_S,
                },
            },
        ]

    def _files_behavior(
        self, name: str, headers: pulumi.Output[str]
    ) -> aws.cloudfront.DistributionDefaultCacheBehaviorArgsDict:
        function = aws.cloudfront.Function(
            name,
            name=self.names.name("web-ui"),
            comment="Serves the index for the pages of the web UI",
            runtime="cloudfront-js-2.0",
            code=web_ui.function_code(),
            publish=True,
            opts=self.child,
        )
        return {
            "target_origin_id": FILES,
            "viewer_protocol_policy": "redirect-to-https",
            "allowed_methods": READ,
            "cached_methods": READ,
            "cache_policy_id": CACHING_OPTIMIZED,
            "compress": True,
            "response_headers_policy_id": headers,
            "function_associations": [
                {"event_type": "viewer-request", "function_arn": function.arn}
            ],
        }

    def _headers_policy(self, name: str) -> pulumi.Output[str]:
        """Create the policy that adds the security headers. Headers from the console take
        precedence, because its API has a stricter content security policy."""
        security, custom = headers_policy(web_ui.response_headers())
        return aws.cloudfront.ResponseHeadersPolicy(
            name,
            name=self.names.name("web-ui"),
            comment="Security headers of the console",
            security_headers_config=security,
            custom_headers_config=custom,
            opts=self.child,
        ).id

    def _access_log(
        self, name: str, distribution_arn: pulumi.Output[str], log_bucket_arn: pulumi.Input[str]
    ) -> None:
        source = aws.cloudwatch.LogDeliverySource(
            name,
            region=CLOUDFRONT_REGION,
            name=self.names.name("console-access"),
            log_type="ACCESS_LOGS",
            resource_arn=distribution_arn,
            tags=tags("log"),
            opts=self.child,
        )
        destination = aws.cloudwatch.LogDeliveryDestination(
            name,
            region=CLOUDFRONT_REGION,
            name=self.names.name("console-access"),
            output_format="json",
            delivery_destination_configuration={"destination_resource_arn": log_bucket_arn},
            tags=tags("log"),
            opts=self.child,
        )
        aws.cloudwatch.LogDelivery(
            name,
            region=CLOUDFRONT_REGION,
            delivery_source_name=source.name,
            delivery_destination_arn=destination.arn,
            record_fields=LOG_FIELDS,
            tags=tags("log"),
            opts=self.child,
        )


def headers_policy(
    headers: Mapping[str, str],
) -> tuple[
    aws.cloudfront.ResponseHeadersPolicySecurityHeadersConfigArgsDict,
    aws.cloudfront.ResponseHeadersPolicyCustomHeadersConfigArgsDict,
]:
    """Return the headers as the two sections of a response headers policy. CloudFront accepts
    security headers only in their own section. Raises ValueError for a value that the section
    cannot contain."""
    rest = dict(headers)
    age = re.fullmatch(r"max-age=(\d+); includeSubDomains", rest.pop("Strict-Transport-Security"))
    if age is None or rest.pop("X-Content-Type-Options") != "nosniff":
        raise ValueError(
            f"{web_ui.HEADERS.name} has a header value that a response headers policy cannot "
            f"contain"
        )
    security: aws.cloudfront.ResponseHeadersPolicySecurityHeadersConfigArgsDict = {
        "strict_transport_security": {
            "access_control_max_age_sec": int(age[1]),
            "include_subdomains": True,
            "override": False,
        },
        # CloudFront sets this header without a value of its own, so no response can differ.
        "content_type_options": {"override": True},
        "content_security_policy": {
            "content_security_policy": rest.pop("Content-Security-Policy"),
            "override": False,
        },
        "frame_options": {"frame_option": rest.pop("X-Frame-Options"), "override": False},
        "referrer_policy": {"referrer_policy": rest.pop("Referrer-Policy"), "override": False},
    }
    custom: list[aws.cloudfront.ResponseHeadersPolicyCustomHeadersConfigItemArgsDict] = [
        {"header": name, "value": value, "override": False} for name, value in rest.items()
    ]
    return security, {"items": custom}
