"""The hosted zone of a stack and the certificate for its host names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import Component, StackArgs
from components.naming import CLOUDFRONT_REGION, tags
from components.settings.data import ProtectionSettings
from components.settings.operations import ExistingResourcesSettings

RECORD_TTL_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateArgs(StackArgs):
    """Arguments of `Certificate`.

    domain: Name of the hosted zone that the component creates.
    host_names: Host names of the certificate, all in the zone.
    cloudfront_host: Host name of the certificate for CloudFront, one of `host_names`; "" without
        this certificate.
    protection: Deletion protection of the zone.
    existing: Hosted zone and certificates that exist already.
    replaces_records: Whether existing validation records are replaced. ACM validates a host name
        with the same record in every region.
    """

    domain: str
    host_names: tuple[str, ...]
    cloudfront_host: str = ""
    protection: ProtectionSettings
    existing: ExistingResourcesSettings
    replaces_records: bool = False


class Certificate(Component):
    """A public hosted zone and an ACM certificate with DNS validation, unless they exist already.

    Why: ACM renews the certificate and stores its private key. During the first deployment,
    delegate the zone from its parent (`name_servers`); Pulumi waits until the certificate is
    issued.
    Cost: 0.50 USD a month for the zone. Controls: GH-ACM-001.
    """

    zone_id: pulumi.Output[str]
    """ID of the hosted zone."""
    name_servers: pulumi.Output[Sequence[str]]
    """Name servers for the delegation of the zone. Empty for a zone that exists already."""
    arn: pulumi.Output[str]
    """ARN of the certificate. Resolves after the certificate is issued."""
    cloudfront_arn: pulumi.Output[str] | None = None
    """ARN of the certificate for CloudFront. Resolves after the certificate is issued."""

    def __init__(
        self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("gatehouse:edge:Certificate", name, args, opts)
        self._zone(name, args)
        existing, host = args.existing, args.cloudfront_host
        records: list[aws.route53.Record] = []
        if existing.certificate_arn:
            self.arn = pulumi.Output.from_input(existing.certificate_arn)
        else:
            self.arn, records = self._certificate(name, args)
        if host and existing.cloudfront_certificate_arn:
            self.cloudfront_arn = pulumi.Output.from_input(existing.cloudfront_certificate_arn)
        elif host:
            self.cloudfront_arn = self._cloudfront(host, records, args)
        self.register_outputs(
            {"zoneId": self.zone_id, "nameServers": self.name_servers, "arn": self.arn}
        )

    def _zone(self, name: str, args: CertificateArgs) -> None:
        if args.existing.zone_id:
            self.zone_id, self.name_servers = (
                pulumi.Output.from_input(args.existing.zone_id),
                pulumi.Output.from_input([]),
            )
            return
        zone = aws.route53.Zone(
            name,
            name=args.domain,
            comment=f"Gatehouse {args.names.stack}",
            tags=tags("none"),
            opts=self.protected(args.protection),
        )
        self.zone_id, self.name_servers = zone.zone_id, zone.name_servers

    def _certificate(
        self, name: str, args: CertificateArgs
    ) -> tuple[pulumi.Output[str], list[aws.route53.Record]]:
        """Create the certificate. Returns its ARN, and the records that validate it."""
        host_names = args.host_names
        certificate = aws.acm.Certificate(
            name,
            domain_name=host_names[0],
            subject_alternative_names=list(host_names[1:]),
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        records = [self._validation_record(certificate, host, args) for host in host_names]
        validation = aws.acm.CertificateValidation(
            name,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=self.child,
        )
        return validation.certificate_arn, records

    def _validation_record(
        self, certificate: aws.acm.Certificate, host: str, args: CertificateArgs
    ) -> aws.route53.Record:
        return aws.route53.Record(
            host,
            zone_id=self.zone_id,
            name=validation_option(certificate, host, "resource_record_name"),
            type="CNAME",
            ttl=RECORD_TTL_S,
            records=[validation_option(certificate, host, "resource_record_value")],
            allow_overwrite=args.replaces_records or None,
            opts=self.child,
        )

    def _cloudfront(
        self, host: str, records: list[aws.route53.Record], args: CertificateArgs
    ) -> pulumi.Output[str]:
        """Create a certificate in the region that CloudFront requires. ACM validates a host name
        with the same record in every region (ACM User Guide, "DNS validation")."""
        certificate = aws.acm.Certificate(
            "cloudfront",
            region=CLOUDFRONT_REGION,
            domain_name=host,
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        records = records or [self._validation_record(certificate, host, args)]
        validation = aws.acm.CertificateValidation(
            "cloudfront",
            region=CLOUDFRONT_REGION,
            certificate_arn=certificate.arn,
            opts=self.after(*records),
        )
        return validation.certificate_arn


def validation_option(
    certificate: aws.acm.Certificate, host: str, attribute: str
) -> pulumi.Output[str]:
    """Return an attribute of the validation option for `host`, or a placeholder until ACM creates
    the options.
    """

    def value(options: Sequence[Any] | None) -> str:
        values = (
            getattr(option, attribute) for option in options or () if option.domain_name == host
        )
        return str(next(values, None) or f"_validation-pending.{host}")

    return certificate.domain_validation_options.apply(value)
