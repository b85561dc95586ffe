"""The hosted zone of a stack and the certificate for its host names."""

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import StackComponent
from components.context import Stack
from components.naming import CLOUDFRONT_REGION, tags
from components.settings.workloads import CONSOLE

RECORD_TTL_S = 300


class Certificate(StackComponent):
    """A public hosted zone and an ACM certificate with DNS validation, unless they exist already.

    Why: ACM renews the certificate and stores its private key. During the first deployment,
    delegate the zone from its parent (`name_servers`); Pulumi waits until the certificate is
    issued. The wildcard name of the Cores covers one label and is validated with the record of its
    domain. A certificate has at most 10 names without a quota increase. Source: ACM User Guide,
    "ACM public certificate characteristics and limitations", "DNS validation" and "Quotas"
    (2026-11-23).
    """

    zone_id: pulumi.Output[str]
    """ID of the hosted zone."""
    name_servers: pulumi.Output[Sequence[str]]
    """Name servers for the delegation of the zone. Empty for a zone that exists already."""
    arn: pulumi.Output[str]
    """ARN of the certificate. Resolves after the certificate is issued."""
    cloudfront_arn: pulumi.Output[str] | None = None
    """ARN of the certificate for CloudFront. Resolves after the certificate is issued."""

    def __init__(self, name: str, stack: Stack, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, stack, opts)
        self._zone(name)
        records: list[aws.route53.Record] = []
        if existing := self.settings.existing_resources.certificate_arn:
            self.arn = pulumi.Output.from_input(existing)
        else:
            self.arn, records = self._certificate(name)
        if self.settings.services.cloudfront:
            self.cloudfront_arn = self._cloudfront(records)
        self.register_outputs({})

    def _zone(self, name: str) -> None:
        existing = self.settings.existing_resources
        if existing.zone_id or existing.foreign_zone:
            self.zone_id, self.name_servers = (
                pulumi.Output.from_input(existing.zone_id or ""),
                pulumi.Output.from_input([]),
            )
            return
        zone = aws.route53.Zone(
            name,
            name=self.settings.domain,
            comment=f"Gatehouse {self.names.stack}",
            tags=tags("none"),
            opts=self.protected(),
        )
        self.zone_id, self.name_servers = zone.zone_id, zone.name_servers

    def _certificate(self, name: str) -> tuple[pulumi.Output[str], list[aws.route53.Record]]:
        """Create the certificate. Returns its ARN, and the records that validate it."""
        host_names = [host for hosts in self.contract.host_patterns.values() for host in hosts]
        certificate = aws.acm.Certificate(
            name,
            domain_name=host_names[0],
            subject_alternative_names=host_names[1:],
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        records = [self._validation_record(certificate, host) for host in host_names]
        validation = aws.acm.CertificateValidation(
            name,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=self.child,
        )
        return validation.certificate_arn, records

    def _validation_record(self, certificate: aws.acm.Certificate, host: str) -> aws.route53.Record:
        return aws.route53.Record(
            host.removeprefix("*."),
            zone_id=self.zone_id,
            name=validation_option(certificate, host, "resource_record_name"),
            type="CNAME",
            ttl=RECORD_TTL_S,
            records=[validation_option(certificate, host, "resource_record_value")],
            # ACM validates a host name with the same record in every region, so a restored stack
            # replaces the records of the other stack.
            allow_overwrite=bool(self.settings.recovery.restore.stack) or None,
            opts=self.child,
        )

    def _cloudfront(self, records: list[aws.route53.Record]) -> pulumi.Output[str]:
        """Create a certificate in the region that CloudFront requires. ACM validates a host name
        with the same record in every region (ACM User Guide, "DNS validation")."""
        host = self.contract.hosts[CONSOLE]
        certificate = aws.acm.Certificate(
            "cloudfront",
            region=CLOUDFRONT_REGION,
            domain_name=host,
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=self.child,
        )
        records = records or [self._validation_record(certificate, host)]
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
