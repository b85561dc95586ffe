"""ACM certificates and their validation."""

from typing import Any

from sandbox.emulator.request import Make
from sandbox.emulator.resource_type import Row


def _certificate(make: Make, certificate: dict[str, Any]) -> dict[str, Any]:
    arn = certificate["CertificateArn"]
    detail = make.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]
    options = [
        {
            "domainName": option["DomainName"],
            "resourceRecordName": option["ResourceRecord"]["Name"],
            "resourceRecordType": option["ResourceRecord"]["Type"],
            "resourceRecordValue": option["ResourceRecord"]["Value"],
        }
        for option in detail.get("DomainValidationOptions", [])
        if "ResourceRecord" in option
    ]
    return {"arn": arn, "domainValidationOptions": options, "status": detail["Status"]}


def _issued(make: Make) -> tuple[str, dict[str, Any]]:
    """AWS issues the certificate once it finds the records; here the records named must be those of the certificate."""
    from moto.acm.models import acm_backends

    arn = make.take("certificateArn")
    detail = make.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]
    wanted = {
        option["ResourceRecord"]["Name"].rstrip(".")
        for option in detail.get("DomainValidationOptions", [])
        if "ResourceRecord" in option
    }
    given = {name.rstrip(".") for name in make.take("validationRecordFqdns") or []}
    if given and not wanted <= given:
        raise make.error(
            f"the certificate waits for the records {', '.join(sorted(wanted - given))}, "
            "which validationRecordFqdns does not name."
        )
    bundle: Any = acm_backends[make.account][make.region].get_certificate(arn)
    bundle.status = "ISSUED"
    return arn, {}


ROWS: dict[str, Row] = {
    "aws:acm/certificate:Certificate": Row(
        call="acm.request_certificate",
        id="{CertificateArn}",
        then=_certificate,
        dropped={"keyAlgorithm": "every certificate of moto says RSA_2048"},
    ),
    "aws:acm/certificateValidation:CertificateValidation": Row(make=_issued),
}
