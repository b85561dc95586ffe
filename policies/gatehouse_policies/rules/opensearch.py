"""Rules for Amazon OpenSearch Service domains."""

from functools import partial

from gatehouse_policies.analysis.policy_holders import (
    ACCOUNTS,
    is_evaluated_elsewhere,
    own_documents,
    public_or_foreign_access,
)
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.analysis.type_tokens import aws
from gatehouse_policies.engine.requirements import (
    any_of,
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

_GUIDE = "https://docs.aws.amazon.com/opensearch-service/latest/developerguide"
_DOMAINS = aws("opensearch.Domain", "elasticsearch.Domain")
_POLICIES = aws("opensearch.DomainPolicy", "elasticsearch.DomainPolicy")
_domain_rule = partial(resource_rule, types=_DOMAINS)
# Security policies that require TLS 1.2 or later.
_TLS_POLICIES = (
    "Policy-Min-TLS-1-2-PFS-2023-10",
    "Policy-Min-TLS-1-2-2019-07",
    "Policy-Min-TLS-1-2-RFC9151-FIPS-2024-08",
)
_LOGS = ("AUDIT_LOGS", "ES_APPLICATION_LOGS", "SEARCH_SLOW_LOGS", "INDEX_SLOW_LOGS")


domain_uses_customer_key = _domain_rule(
    "GH-OS-001",
    title="OpenSearch domains are encrypted with a customer managed key",
    severity="high",
    upstream="Opensearch.1 CKV_AWS_5 CKV_AWS_247 OS8",
    url=f"{_GUIDE}/encryption-at-rest.html",
).requires(uses_customer_key("encryptAtRest.kmsKeyId", "encryptAtRest.enabled"))


nodes_encrypt_traffic = _domain_rule(
    "GH-OS-002",
    title="OpenSearch domains encrypt traffic between nodes",
    upstream="Opensearch.3 CKV_AWS_6 OS2",
    url=f"{_GUIDE}/ntn.html",
).requires(is_true("nodeToNodeEncryption.enabled"))


domain_requires_tls = _domain_rule(
    "GH-OS-003",
    title="OpenSearch domains require HTTPS with TLS 1.2",
    severity="high",
    upstream="Opensearch.8 CKV_AWS_83 CKV_AWS_228",
    url=f"{_GUIDE}/infrastructure-security.html",
).requires(
    is_true("domainEndpointOptions.enforceHttps"),
    is_exactly(
        "domainEndpointOptions.tlsSecurityPolicy", *_TLS_POLICIES, message="accepts TLS below 1.2"
    ),
)


domain_is_in_vpc = resource_rule(
    "GH-OS-004",
    title="OpenSearch domains are in a VPC with a security group, and collections are private",
    severity="high",
    types=(*_DOMAINS, *aws("opensearch.ServerlessSecurityPolicy")),
    upstream="Opensearch.2 CKV_AWS_137 CKV_AWS_248 OS1",
    url=f"{_GUIDE}/vpc.html",
).requires(
    for_types(_DOMAINS, is_set("vpcOptions.subnetIds"), is_set("vpcOptions.securityGroupIds")),
    # https://docs.aws.amazon.com/opensearch-service/latest/developerguide/serverless-network.html
    where(
        lambda policy: policy.props.text("type") == "network",
        is_not_true("policy[].AllowFromPublic"),
    ),
)


@stack_rule(
    "GH-OS-005",
    title="OpenSearch access policies do not allow public or unknown cross-account access",
    remedy=(
        "name the principals, and enable fine-grained access control with "
        "advancedSecurityOptions.enabled=True and without anonymousAuthEnabled"
    ),
    severity="critical",
    types=(*_DOMAINS, *_POLICIES),
    lists=ACCOUNTS,
    upstream="Opensearch.7 CKV2_AWS_52 OS5",
    url=f"{_GUIDE}/ac.html",
)
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


@_domain_rule(
    "GH-OS-006",
    title="OpenSearch domains publish audit, error and slow logs",
    remedy=(
        "add logPublishingOptions for AUDIT_LOGS, ES_APPLICATION_LOGS, SEARCH_SLOW_LOGS and "
        "INDEX_SLOW_LOGS"
    ),
    upstream="Opensearch.5 CKV_AWS_84 CKV_AWS_317 OS9",
    url=f"{_GUIDE}/createdomain-configure-slow-logs.html",
)
def logs_are_published(domain: Resource) -> CheckResults:
    published = {
        block.text("logType")
        for block in domain.props.blocks("logPublishingOptions")
        if block.flag("enabled", True)
    }
    for log_type in _LOGS:
        if log_type not in published:
            yield f"logPublishingOptions does not contain {log_type}"


domain_is_available = resource_rule(
    "GH-OS-007",
    title="OpenSearch domains have dedicated master nodes in several Availability Zones",
    types=_DOMAINS,
    pack="resilience",
    upstream="Opensearch.11 CKV_AWS_318 CKV2_AWS_59 OS4 OS7",
    url=f"{_GUIDE}/managedomains-multiaz.html",
).requires(
    is_true("clusterConfig.dedicatedMasterEnabled"),
    is_at_least("clusterConfig.dedicatedMasterCount", 3, default=3),
    any_of(
        is_true("clusterConfig.zoneAwarenessEnabled"),
        is_true("clusterConfig.multiAzWithStandbyEnabled"),
        message="clusterConfig.zoneAwarenessEnabled is not true",
    ),
)
