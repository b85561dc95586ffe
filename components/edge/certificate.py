"""The hosted zone of a stack and the certificate for its host names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.naming import CLOUDFRONT_REGION, tags
from components.settings.data import ProtectionSettings

RECORD_TTL_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateArgs(StackArgs):
    """Arguments of `Certificate`.

    domain: Name of the hosted zone.
    host_names: Host names of the certificate, all in the zone.
    cloudfront_host: Host name of the certificate for CloudFront, one of `host_names`; "" without this certificate.
    protection: Deletion protection of the zone.
    """

    domain: str
    host_names: tuple[str, ...]
    cloudfront_host: str = ""
    protection: ProtectionSettings


class Certificate(Component):
    """A public hosted zone and an ACM certificate with DNS validation.

    Why: ACM renews the certificate and stores its private key. During the first deployment, delegate the zone from its
    parent (`name_servers`); Pulumi waits until the certificate is issued.
    Cost: 0.50 USD a month for the zone. Controls: GH-ACM-001.
    """

    arn: pulumi.Output[str]
    """ARN of the certificate. Resolves after the certificate is issued."""
    cloudfront_arn: pulumi.Output[str] | None
    """ARN of the certificate for CloudFront. Resolves after the certificate is issued."""

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:edge:Certificate", name, args, opts)
        zone = aws.route53.Zone(
            name,
            name=args.domain,
            comment=f"Gatehouse {args.names.stack}",
            tags=tags("none"),
            opts=self.protected(args.protection),
        )
        certificate = aws.acm.Certificate(
            name,
            domain_name=args.host_names[0],
            subject_alternative_names=list(args.host_names[1:]),
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        records = [
            aws.route53.Record(
                host,
                zone_id=zone.zone_id,
                name=validation_option(certificate, host, "resource_record_name"),
                type="CNAME",
                ttl=RECORD_TTL_S,
                records=[validation_option(certificate, host, "resource_record_value")],
                opts=self.child,
            )
            for host in args.host_names
        ]
        validation = aws.acm.CertificateValidation(
            name, certificate_arn=certificate.arn, validation_record_fqdns=[record.fqdn for record in records], opts=self.child
        )
        self.zone_id, self.name_servers, self.arn = zone.zone_id, zone.name_servers, validation.certificate_arn
        self.cloudfront_arn = self._cloudfront(args.cloudfront_host, records) if args.cloudfront_host else None
        self.register_outputs({"zoneId": self.zone_id, "nameServers": self.name_servers, "arn": self.arn})

    def _cloudfront(self, host: str, records: list[aws.route53.Record]) -> pulumi.Output[str]:
        """Create a certificate in the region that CloudFront requires. ACM validates a host name with the same record in every
        region (ACM User Guide, "DNS validation")."""
        certificate = aws.acm.Certificate(
            "cloudfront",
            region=CLOUDFRONT_REGION,
            domain_name=host,
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        validation = aws.acm.CertificateValidation(
            "cloudfront", region=CLOUDFRONT_REGION, certificate_arn=certificate.arn, opts=self.after(*records)
        )
        return validation.certificate_arn


def validation_option(certificate: aws.acm.Certificate, host: str, attribute: str) -> pulumi.Output[str]:
    """Return an attribute of the validation option for `host`, or a placeholder until ACM creates the options."""

    def value(options: Sequence[Any] | None) -> str:
        values = (getattr(option, attribute) for option in options or () if option.domain_name == host)
        return str(next(values, None) or f"_validation-pending.{host}")

    return certificate.domain_validation_options.apply(value)
