"""Rules about load balancers: what they accept from the internet, how they pass it on, and what stands before them."""

import re

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, levels, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/elasticloadbalancing/latest/application"
_ATTRIBUTES = f"{_GUIDE}/edit-load-balancer-attributes.html"

_RESPONSE = "routingHttpResponse"  # how the listener's properties about headers of answers begin
_YEAR_S = 31_536_000

# TLS 1.2 and 1.3, or 1.3 alone; restricted, FIPS and post-quantum variants. The Ext variants bring back older ciphers.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
_STRONG_POLICY = re.compile(r"ELBSecurityPolicy-TLS13-1-[23](-Res)?(-FIPS)?(-PQ)?-\d{4}-\d{2}")


@resource_rule(
    "GH-ALB-001",
    title="Plain HTTP is only redirected",
    why="A listener that answers over HTTP takes keys and cookies in the clear from every client that forgets the s.",
    remedy='make every defaultAction of the HTTP listener a redirect with protocol="HTTPS" and statusCode="HTTP_301"',
    severity=Severity.HIGH,
    types=tokens.LISTENER,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("ELB.1", "ELB.18"), checkov=("CKV2_AWS_20", "CKV_AWS_2"), prowler=("elbv2_ssl_listeners",)),
    url=f"{_GUIDE}/create-http-listener.html",
)
def http_is_only_redirected(listener: Resource) -> Found:
    # Load balancers of the network kind name other protocols; without one, the provider takes HTTP.
    if listener.props.text("protocol", "HTTP") != "HTTP":
        return
    actions = listener.props.blocks("defaultActions")
    for action in actions:
        if action.text("type") != "redirect" or action.block("redirect").text("protocol") != "HTTPS":
            yield f"{action.path} of an HTTP listener does not redirect to HTTPS"
    if not actions:
        yield "the HTTP listener has no default action that redirects to HTTPS"


@resource_rule(
    "GH-ALB-002",
    title="HTTPS speaks TLS 1.2 and 1.3 only",
    why="The provider's default policy of 2016 still accepts TLS 1.0 and its ciphers.",
    remedy='set sslPolicy="ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09"',
    severity=Severity.HIGH,
    types=tokens.LISTENER,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ELB.17",),
        checkov=("CKV_AWS_103", "CKV2_AWS_74"),
        prowler=("elbv2_insecure_ssl_ciphers", "elbv2_listener_pqc_tls_enabled"),
    ),
    url=f"{_GUIDE}/describe-ssl-policies.html",
)
def tls_is_current(listener: Resource) -> Found:
    if listener.props.text("protocol", "HTTP") not in ("HTTPS", "TLS"):
        return
    if not listener.props.has("sslPolicy"):
        yield "sslPolicy is not set, so TLS 1.0 is accepted"
    elif not _STRONG_POLICY.fullmatch(listener.props.text("sslPolicy")):
        yield "sslPolicy accepts protocols or ciphers older than TLS 1.2 with forward secrecy"


@resource_rule(
    "GH-ALB-003",
    title="Invalid headers are dropped",
    why="Header names that servers read differently are how requests are smuggled past a proxy.",
    remedy="set dropInvalidHeaderFields=True",
    severity=Severity.MEDIUM,
    types=tokens.LOAD_BALANCER,
    levels=ALWAYS,
    upstream=Upstream(
        security_hub=("ELB.4",), checkov=("CKV_AWS_131",), prowler=("elbv2_alb_drop_invalid_header_fields_enabled",)
    ),
    url=_ATTRIBUTES,
)
def invalid_headers_are_dropped(balancer: Resource) -> Found:
    if _is_application(balancer) and not balancer.props.flag("dropInvalidHeaderFields"):
        yield "dropInvalidHeaderFields is not true"


@resource_rule(
    "GH-ALB-004",
    title="The load balancer logs requests",
    why="Its access log is the only record of requests that the firewall or the balancer refused.",
    remedy="set accessLogs with enabled=True and a bucket",
    severity=Severity.MEDIUM,
    types=tokens.LOAD_BALANCER,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("ELB.5",),
        cis=("4.10",),
        checkov=("CKV_AWS_91",),
        prowler=("elbv2_logging_enabled",),
        cdk_nag=("ELB2",),
    ),
    url=f"{_GUIDE}/load-balancer-access-logs.html",
)
def requests_are_logged(balancer: Resource) -> Found:
    if not balancer.props.block("accessLogs").flag("enabled"):
        yield "accessLogs.enabled is not true"


@resource_rule(
    "GH-ALB-005",
    title="The load balancer cannot be deleted by mistake",
    why="A deleted load balancer takes its DNS name along; the new one has another.",
    remedy="set enableDeletionProtection=True",
    severity=Severity.MEDIUM,
    types=tokens.LOAD_BALANCER,
    levels=levels("-", "A", "M"),
    pack="resilience",
    upstream=Upstream(security_hub=("ELB.6",), checkov=("CKV_AWS_150",), prowler=("elbv2_deletion_protection",)),
    url=_ATTRIBUTES,
)
def deletion_is_refused(balancer: Resource) -> Found:
    if not balancer.props.flag("enableDeletionProtection"):
        yield "enableDeletionProtection is not true"


@resource_rule(
    "GH-ALB-006",
    title="Ambiguous requests are refused or defused",
    why="A request that the balancer and the server cut differently can carry a second, hidden request.",
    remedy='set desyncMitigationMode="strictest", or leave it out for "defensive"',
    severity=Severity.MEDIUM,
    types=tokens.LOAD_BALANCER,
    levels=ALWAYS,
    upstream=Upstream(security_hub=("ELB.12",), checkov=("CKV_AWS_328",), prowler=("elbv2_desync_mitigation_mode",)),
    url=f"{_GUIDE}/edit-load-balancer-attributes.html#desync-mitigation-mode",
)
def ambiguous_requests_are_defused(balancer: Resource) -> Found:
    mode = balancer.props.text("desyncMitigationMode", "defensive")
    if _is_application(balancer) and mode not in ("defensive", "strictest"):
        yield "desyncMitigationMode is neither defensive nor strictest"


@resource_rule(
    "GH-ALB-007",
    title="The load balancer stands in two zones or more",
    why="In one zone, the zone's outage is the outage of everything behind it.",
    remedy="name subnets of two availability zones in subnets",
    severity=Severity.MEDIUM,
    types=tokens.LOAD_BALANCER,
    levels=AFTER_DEV,
    pack="resilience",
    settings={"zones_min": {"dev": 2, "staging": 2, "prod": 2}},
    upstream=Upstream(security_hub=("ELB.13",), prowler=("elbv2_is_in_multiple_az",)),
    url=f"{_GUIDE}/application-load-balancers.html#load-balancer-subnets",
)
def the_balancer_spans_zones(balancer: Resource) -> Found:
    count = max(balancer.props.size("subnets"), balancer.props.size("subnetMappings"))
    if count < balancer.settings["zones_min"]:
        yield f"the load balancer has fewer than {balancer.settings['zones_min']:g} subnets"


@stack_rule(
    "GH-ALB-008",
    title="Every internet-facing load balancer has a firewall that fails closed",
    why="The web firewall is what counts, blocks and logs attacks before they reach the service.",
    remedy="add an aws.wafv2.WebAclAssociation for the load balancer and leave enableWafFailOpen off",
    severity=Severity.HIGH,
    types=tokens.LOAD_BALANCER,
    levels=AFTER_DEV,
    upstream=Upstream(security_hub=("ELB.16",), checkov=("CKV2_AWS_28",), prowler=("elbv2_waf_acl_attached",)),
    url="https://docs.aws.amazon.com/waf/latest/developerguide/web-acl-associating-aws-resource.html",
)
def a_firewall_stands_before_it(balancer: Resource, stack: Stack) -> Found:
    if balancer.props.flag("internal") or not _is_application(balancer):
        return
    if not stack.users(balancer, tokens.WEB_ACL_ASSOCIATION, "resourceArn"):
        yield "no web ACL is associated with this load balancer"
    if balancer.props.flag("enableWafFailOpen"):
        yield "enableWafFailOpen is true, so requests pass while the firewall is away"


@resource_rule(
    "GH-ALB-009",
    title="Targets are checked, and reached over TLS",
    why=(
        "Without a check of its own path, a broken task gets traffic; between balancer and task, plain HTTP can be overheard. "
        "It stops nothing: the balancer does not check a target's certificate, so TLS there keeps out only who listens inside "
        "the VPC, and nobody who answers in the target's place."
    ),
    remedy='set healthCheck with a path, and protocol="HTTPS" on the target group and its check',
    severity=Severity.MEDIUM,
    types=tokens.TARGET_GROUP,
    # "The load balancer does not validate these certificates":
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html
    levels=levels("A", "A", "A"),
    settings={"tls": {"dev": 0, "staging": 0, "prod": 1}},
    upstream=Upstream(security_hub=("ELB.21", "ELB.22"), checkov=("CKV_AWS_261", "CKV_AWS_378")),
    url=f"{_GUIDE}/target-group-health-checks.html",
)
def targets_are_checked(group: Resource) -> Found:
    if group.props.text("targetType") == "lambda":
        return
    health = group.props.block("healthCheck")
    web = group.props.text("protocol") in ("HTTP", "HTTPS")
    if not health.flag("enabled", group.props.has("healthCheck")) or (web and not health.has("path")):
        yield "healthCheck names no path"
    if group.settings["tls"] and group.props.text("protocol") in ("HTTP", "TCP"):
        yield "protocol is not encrypted"


@resource_rule(
    "GH-ALB-010",
    title="Every answer carries the headers that protect browsers",
    why="Set on the listener, they are on every answer, also on the balancer's own errors and on what a Core forgot.",
    remedy="set it on the listener as the message says",
    severity=Severity.LOW,
    types=tokens.LISTENER,
    levels=levels("A", "A", "M"),
    url=f"{_GUIDE}/header-modification.html",
)
def answers_are_hardened(listener: Resource) -> Found:
    props = listener.props
    if props.text("protocol", "HTTP") != "HTTPS":
        return
    age = re.search(r"max-age=(\d+)", props.text(f"{_RESPONSE}StrictTransportSecurityHeaderValue"))
    if age is None or int(age[1]) < _YEAR_S:
        fix = f'set {_RESPONSE}StrictTransportSecurityHeaderValue="max-age={_YEAR_S}; includeSubDomains"'
        yield Violation(f"{_RESPONSE}StrictTransportSecurityHeaderValue asks for less than a year", fix)
    if props.text(f"{_RESPONSE}XContentTypeOptionsHeaderValue").lower() != "nosniff":
        fix = f'set {_RESPONSE}XContentTypeOptionsHeaderValue="nosniff"'
        yield Violation(f"{_RESPONSE}XContentTypeOptionsHeaderValue is not nosniff", fix)
    if props.text(f"{_RESPONSE}XFrameOptionsHeaderValue").upper() not in ("DENY", "SAMEORIGIN"):
        fix = f'set {_RESPONSE}XFrameOptionsHeaderValue="DENY"'
        yield Violation(f"{_RESPONSE}XFrameOptionsHeaderValue is neither DENY nor SAMEORIGIN", fix)
    if props.flag(f"{_RESPONSE}ServerEnabled", True):
        yield Violation(f"{_RESPONSE}ServerEnabled is not false", f"set {_RESPONSE}ServerEnabled=False")


def _is_application(balancer: Resource) -> bool:
    return balancer.props.text("loadBalancerType", "application") == "application"
