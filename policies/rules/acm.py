"""Rules about certificates: proven by DNS, with a current key, published, and for named hosts."""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource
from policies.engine.rule import AFTER_DEV, Found, Severity, Upstream, resource_rule

_GUIDE = "https://docs.aws.amazon.com/acm/latest/userguide"
_WEAK_KEYS = ("RSA_1024",)


@resource_rule(
    "GH-ACM-001",
    title="Certificates renew by themselves, with strong keys, for named hosts",
    why="An e-mail that nobody answers ends a certificate; a wildcard's key, once stolen, speaks for every host.",
    remedy='set validationMethod="DNS", keyAlgorithm="EC_prime256v1", leave transparency logging on, and name each host',
    severity=Severity.MEDIUM,
    types=tokens.CERTIFICATE,
    levels=AFTER_DEV,
    settings={"wildcards": {"dev": 1, "staging": 1, "prod": 0}},
    upstream=Upstream(
        security_hub=("ACM.2",),
        checkov=("CKV_AWS_234", "CKV2_AWS_71"),
        prowler=("acm_certificates_with_secure_key_algorithms", "acm_certificates_transparency_logs_enabled"),
    ),
    url=f"{_GUIDE}/dns-validation.html",
)
def certificates_are_sound(certificate: Resource) -> Found:
    props = certificate.props
    imported = props.has("privateKey") or props.has("certificateBody")
    if not imported and not props.has("certificateAuthorityArn") and props.text("validationMethod") != "DNS":
        yield "validationMethod is not DNS"
    if props.text("keyAlgorithm", "RSA_2048") in _WEAK_KEYS:
        yield "keyAlgorithm is weaker than RSA_2048"
    if props.block("options").text("certificateTransparencyLoggingPreference", "ENABLED") != "ENABLED":
        yield "options.certificateTransparencyLoggingPreference is not ENABLED"
    hosts = [props.text("domainName"), *props.texts("subjectAlternativeNames")]
    if not certificate.settings["wildcards"] and any("*" in host for host in hosts):
        yield "the certificate stands for a wildcard"
