"""Rules for Amazon OpenSearch Service domains."""

from functools import partial

from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    is_evaluated_elsewhere,
    own_documents,
    public_or_foreign_access,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    for_types,
    is_at_least,
    is_exactly,
    is_not_true,
    is_set,
    is_true,
    uses_customer_key,
    where,
)
from gatehouse_policies.engine.rule import CheckResults, resource_rule, stack_rule

_DOMAINS = aws("opensearch.Domain", "elasticsearch.Domain")
_POLICIES = aws("opensearch.DomainPolicy", "elasticsearch.DomainPolicy")
_domain_rule = partial(resource_rule, types=_DOMAINS)
# Security policies that require TLS 1.2 or later.
_TLS_POLICIES = (
    "Policy-Min-TLS-1-2-PFS-2023-10",
    "Policy-Min-TLS-1-2-2019-07",
    "Policy-Min-TLS-1-2-RFC9151-FIPS-2024-08",
)


domain_uses_customer_key = _domain_rule("GH-OS-001").requires(
    uses_customer_key("encryptAtRest.kmsKeyId", "encryptAtRest.enabled")
)


domain_requires_tls = _domain_rule("GH-OS-003").requires(
    is_true("domainEndpointOptions.enforceHttps"),
    is_exactly(
        "domainEndpointOptions.tlsSecurityPolicy", *_TLS_POLICIES, message="accepts TLS below 1.2"
    ),
)


domain_is_in_vpc = resource_rule(
    "GH-OS-004", types=(*_DOMAINS, *aws("opensearch.ServerlessSecurityPolicy"))
).requires(
    for_types(_DOMAINS, is_set("vpcOptions.subnetIds"), is_set("vpcOptions.securityGroupIds")),
    # https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-network.html
    where(
        lambda policy: policy.props.text("type") == "network",
        is_not_true("policy[].AllowFromPublic"),
    ),
)


# https://docs.aws.amazon.com/opensearch-service/latest/developerguide/managedomains-dedicatedmasternodes.html
domain_survives_failures = _domain_rule("GH-OS-006").requires(
    is_at_least("clusterConfig.instanceCount", 3),
    is_true("clusterConfig.dedicatedMasterEnabled"),
    is_at_least("clusterConfig.dedicatedMasterCount", 3),
)


@stack_rule("GH-OS-005", types=(*_DOMAINS, *_POLICIES), lists=ACCOUNTS)
def access_policy_is_not_public(domain: Resource, stack: Stack) -> CheckResults:
    if is_evaluated_elsewhere(domain, stack, _POLICIES, "domainName", _DOMAINS):
        return
    holders = stack.referencing(domain, _POLICIES, "domainName")
    for holder in (domain, *holders):
        for document in own_documents(holder, "accessPolicies"):
            yield from public_or_foreign_access(document, holder, "the access policy")
    options = domain.props.block("advancedSecurityOptions")
    if domain.type in _DOMAINS and not options.flag("enabled"):
        yield "advancedSecurityOptions.enabled is not true"
    if options.flag("anonymousAuthEnabled"):
        yield "advancedSecurityOptions.anonymousAuthEnabled is true"
