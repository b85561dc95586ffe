"""Rules for ACM certificates."""

from gatehouse_policies.analysis.resources import Resource
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.rule import CheckResults, resource_rule

_GUIDE = "https://docs.aws.amazon.com/acm/latest/userguide"
_WEAK_KEYS = ("RSA_1024",)


@resource_rule(
    "GH-ACM-001",
    title="ACM certificates use DNS validation, strong keys and no wildcards",
    remedy=(
        'set validationMethod="DNS" and keyAlgorithm="EC_prime256v1", leave transparency '
        "logging on, and list each host name"
    ),
    types=aws("acm.Certificate"),
    settings={"wildcards_allowed": {"dev": 1, "staging": 1, "prod": 0}},
    upstream="ACM.2 CKV_AWS_234 CKV2_AWS_71",
    url=f"{_GUIDE}/dns-validation.html",
)
def certificate_is_secure(certificate: Resource) -> CheckResults:
    props = certificate.props
    imported = props.has("privateKey") or props.has("certificateBody")
    if (
        not imported
        and not props.has("certificateAuthorityArn")
        and props.text("validationMethod") != "DNS"
    ):
        yield "validationMethod is not DNS"
    if props.text("keyAlgorithm", "RSA_2048") in _WEAK_KEYS:
        yield "keyAlgorithm is weaker than RSA_2048"
    if (
        props.block("options").text("certificateTransparencyLoggingPreference", "ENABLED")
        != "ENABLED"
    ):
        yield "options.certificateTransparencyLoggingPreference is not ENABLED"
    hosts = [props.text("domainName"), *props.texts("subjectAlternativeNames")]
    if not certificate.settings["wildcards_allowed"] and any("*" in host for host in hosts):
        yield "the certificate contains a wildcard name"
