"""The DNS zone of the stack and a certificate for its host names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws as aws

from components.component import component_inputs
from components.naming import Naming
from components.settings.data import ProtectionSettings
from components.tags import tags

RECORD_TTL_S = 300


@dataclass(frozen=True, kw_only=True)
class CertificateArgs:
    """names: the stack's names. domain: the zone. hosts: host names of the certificate, all in the zone. keep: whether
    deletion is refused."""

    names: Naming
    domain: str
    host_names: tuple[str, ...]
    protection: ProtectionSettings


class Certificate(pulumi.ComponentResource):
    """A public zone and an ACM certificate that DNS proves and renews.

    Why: no key of ours, no wildcard, no mail to answer. On the first deployment the zone must be delegated from its
    parent (`name_servers`) before the certificate is issued; Pulumi waits. Cost: 0.50 USD a month for the zone.
    Controls: GH-ACM-001.
    """

    zone_id: pulumi.Output[str]
    name_servers: pulumi.Output[Sequence[str]]
    arn: pulumi.Output[str]
    """The certificate, known once it has been issued."""

    def __init__(self, name: str, args: CertificateArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gatehouse:edge:Certificate", name, component_inputs(args), opts)
        zone = aws.route53.Zone(
            name,
            name=args.domain,
            comment=f"Gatehouse {args.names.environment}",
            tags=tags("none"),
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protection.protect, retain_on_delete=args.protection.retain_on_delete
            ),
        )
        certificate = aws.acm.Certificate(
            name,
            domain_name=args.host_names[0],
            subject_alternative_names=list(args.host_names[1:]),
            validation_method="DNS",
            key_algorithm="EC_prime256v1",
            tags=tags("none"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        records = [self._proof(host, zone.zone_id, certificate) for host in args.host_names]
        issued = aws.acm.CertificateValidation(
            name,
            certificate_arn=certificate.arn,
            validation_record_fqdns=[record.fqdn for record in records],
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.zone_id, self.name_servers, self.arn = zone.zone_id, zone.name_servers, issued.certificate_arn
        self.register_outputs({"zoneId": self.zone_id, "nameServers": self.name_servers, "arn": self.arn})

    def _proof(self, host: str, zone_id: pulumi.Output[str], certificate: aws.acm.Certificate) -> aws.route53.Record:
        def part(which: str) -> pulumi.Output[str]:
            return certificate.domain_validation_options.apply(lambda options: proof(options, host, which))

        return aws.route53.Record(
            host,
            zone_id=zone_id,
            name=part("resource_record_name"),
            type="CNAME",
            ttl=RECORD_TTL_S,
            records=[part("resource_record_value")],
            opts=pulumi.ResourceOptions(parent=self),
        )


def proof(options: Sequence[Any] | None, host: str, part: str) -> str:
    """One part of the record that proves `host`. ACM lists one option a host, in no order; the host itself stands in
    while there is none."""
    found = (getattr(option, part) for option in options or () if option.domain_name == host)
    return str(next(found, None) or f"_unproven.{host}")
