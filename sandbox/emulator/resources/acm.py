"""ACM certificates and their validation."""

from typing import Any

from sandbox.emulator import moto_patches
from sandbox.emulator.request import Created, CreateRequest
from sandbox.emulator.resource_type import ResourceType


def _validation_records(request: CreateRequest, arn: str) -> list[dict[str, str]]:
    detail = request.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]
    return [
        {
            "domainName": option["DomainName"],
            **{f"resourceRecord{member}": option["ResourceRecord"][member] for member in ("Name", "Type", "Value")},
        }
        for option in detail.get("DomainValidationOptions", [])
        if "ResourceRecord" in option
    ]


def _describe_certificate(request: CreateRequest, certificate: dict[str, Any]) -> dict[str, Any]:
    arn = certificate["CertificateArn"]
    status = request.call("acm.describe_certificate", CertificateArn=arn)["Certificate"]["Status"]
    return {"domainValidationOptions": _validation_records(request, arn), "status": status}


def _validate_certificate(request: CreateRequest) -> Created:
    """Issue the certificate if the program names all of its validation records."""
    arn = request.take("certificateArn")
    required = {record["resourceRecordName"].rstrip(".") for record in _validation_records(request, arn)}
    records = {name.rstrip(".") for name in request.take("validationRecordFqdns") or []}
    if records and not required <= records:
        raise request.error(
            f"validationRecordFqdns lacks validation records of the certificate: {', '.join(sorted(required - records))}."
        )
    moto_patches.issue_certificate(request, arn)
    return arn, {}


RESOURCE_TYPES: dict[str, ResourceType] = {
    "aws:acm/certificate:Certificate": ResourceType(
        call="acm.request_certificate",
        id="{CertificateArn}",
        finish=_describe_certificate,
        dropped={"keyAlgorithm": "moto reports RSA_2048 for every certificate"},
    ),
    "aws:acm/certificateValidation:CertificateValidation": ResourceType(create=_validate_certificate),
}
