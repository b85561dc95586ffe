"""Rules for ACM certificates."""

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.rule import CheckResults, stack_rule


@stack_rule(
    "GH-ACM-001",
    types=aws("acm.Certificate"),
    settings={"wildcards_allowed": {"dev": 1, "staging": 1, "prod": 0}},
)
def certificate_is_secure(certificate: Resource, stack: Stack) -> CheckResults:
    props = certificate.props
    imported = props.has("privateKey") or props.has("certificateBody")
    if (
        not imported
        and not props.has("certificateAuthorityArn")
        and props.text("validationMethod") != "DNS"
    ):
        yield "validationMethod is not DNS"
    if props.text("keyAlgorithm") == "RSA_1024":
        yield "keyAlgorithm is weaker than RSA_2048"
    if (
        props.block("options").text("certificateTransparencyLoggingPreference", "ENABLED")
        != "ENABLED"
    ):
        yield "options.certificateTransparencyLoggingPreference is not ENABLED"
    hosts = {props.text("domainName"), *props.texts("subjectAlternativeNames")}
    if certificate.settings["wildcards_allowed"] or not any("*" in host for host in hosts):
        return
    # One service has all names of such a wildcard, so another certificate would protect no other.
    forwarded = {
        host
        for rule in stack.of_type(aws("lb.ListenerRule"))
        for condition in rule.props.blocks("conditions")
        for host in condition.block("hostHeader").texts("values")
    }
    if any("*" in host for host in hosts - forwarded):
        yield "the certificate contains a wildcard name"
