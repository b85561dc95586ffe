"""Rules about API Gateway: who may call, over what, behind which firewall, and what is recorded."""

from policies.analysis import type_tokens as tokens
from policies.analysis.resources import Resource, Stack
from policies.engine.rule import AFTER_DEV, ALWAYS, Found, Severity, Upstream, Violation, resource_rule, stack_rule

_GUIDE = "https://docs.aws.amazon.com/apigateway/latest/developerguide"


@resource_rule(
    "GH-API-001",
    title="Every stage logs the requests to it",
    why="The access log is the only record of calls that the gateway refused before they reached a function.",
    remedy="set accessLogSettings with destinationArn and format",
    severity=Severity.MEDIUM,
    types=tokens.REST_STAGE + tokens.HTTP_STAGE,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("APIGateway.1", "APIGateway.9"),
        cis=("4.10",),
        checkov=("CKV_AWS_76", "CKV2_AWS_4"),
        prowler=("apigateway_restapi_logging_enabled", "apigatewayv2_api_access_logging_enabled"),
        cdk_nag=("APIG1", "APIG6"),
    ),
    url=f"{_GUIDE}/set-up-logging.html",
)
def stages_log(stage: Resource) -> Found:
    if not stage.props.block("accessLogSettings").has("destinationArn"):
        yield "accessLogSettings.destinationArn is not set"


# The page behind a secret link: whoever has the link may come, and the link is what is checked.
_SHARING_ROUTES = tuple(f"sharing-{where}" for where in ("root-get", "root-head", "rest-get", "rest-head", "rest-post"))


@resource_rule(
    "GH-API-002",
    title="Every route asks who calls",
    why="A route without an authorizer answers whoever finds it.",
    remedy="set an authorizer, or put the route on this rule's list `public` in the pack's configuration",
    severity=Severity.HIGH,
    types=tokens.REST_METHOD + tokens.HTTP_ROUTE,
    levels=ALWAYS,
    lists={"public": _SHARING_ROUTES},
    upstream=Upstream(
        security_hub=("APIGateway.8",),
        checkov=("CKV_AWS_59", "CKV_AWS_309"),
        prowler=("apigatewayv2_api_authorizers_enabled",),
        cdk_nag=("APIG4",),
    ),
    url=f"{_GUIDE}/apigateway-control-access-to-api.html",
)
def routes_ask_who_calls(route: Resource) -> Found:
    is_rest = route.type in tokens.REST_METHOD
    verb, kind = ("httpMethod", "authorization") if is_rest else ("routeKey", "authorizationType")
    name = route.props.text(verb)
    if name.partition(" ")[0] == "OPTIONS" or name in route.lists["public"] or route.name in route.lists["public"]:
        return  # A browser asks OPTIONS before it may send any credential.
    if route.props.text(kind, "NONE") == "NONE" and not route.props.flag("apiKeyRequired"):
        yield f"{kind} is NONE"


@stack_rule(
    "GH-API-003",
    title="A firewall stands before every API",
    why="Only REST stages can have a web firewall of their own; an HTTP API has one only behind CloudFront.",
    remedy="associate a web ACL with the stage; put an HTTP API behind an aws.cloudfront.Distribution with webAclId",
    severity=Severity.HIGH,
    types=tokens.REST_STAGE + tokens.HTTP_API,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("APIGateway.4",),
        checkov=("CKV2_AWS_29",),
        prowler=("apigateway_restapi_waf_acl_attached",),
        cdk_nag=("APIG3",),
    ),
    url=f"{_GUIDE}/apigateway-control-access-aws-waf.html",
)
def a_firewall_stands_before_it(door: Resource, stack: Stack) -> Found:
    if door.type in tokens.REST_STAGE:
        if not stack.users(door, tokens.WEB_ACL_ASSOCIATION, "resourceArn"):
            yield "no web ACL is associated with this stage"
    elif door.props.text("protocolType", "HTTP") == "HTTP" and not any(
        one.props.has("webAclId") for one in stack.of(tokens.DISTRIBUTION)
    ):
        yield "no CloudFront distribution with a web ACL stands before this HTTP API"


@resource_rule(
    "GH-API-004",
    title="An API is reached by its own name, over current TLS",
    why="The execute-api address goes past the domain's TLS policy, and past whatever stands before the domain.",
    remedy='set disableExecuteApiEndpoint=True on the API and securityPolicy="TLS_1_2" on the domain',
    severity=Severity.MEDIUM,
    types=tokens.REST_API + tokens.HTTP_API + tokens.REST_DOMAIN + tokens.HTTP_DOMAIN,
    levels=AFTER_DEV,
    upstream=Upstream(checkov=("CKV_AWS_206",), prowler=("apigateway_domain_name_pqc_tls_enabled",)),
    url=f"{_GUIDE}/apigateway-custom-domain-tls-version.html",
)
def apis_have_their_own_name(door: Resource) -> Found:
    if door.type in tokens.REST_API + tokens.HTTP_API:
        if not door.props.flag("disableExecuteApiEndpoint"):
            yield "disableExecuteApiEndpoint is not true"
        return
    # Policies newer than TLS_1_2 are named SecurityPolicy_TLS13_...
    holder = door.props if door.type in tokens.REST_DOMAIN else door.props.block("domainNameConfiguration")
    policy = holder.text("securityPolicy")
    if policy != "TLS_1_2" and not policy.startswith("SecurityPolicy_TLS1"):
        fix = f'set {holder.at("securityPolicy")}="TLS_1_2"'
        yield Violation(f"{holder.at('securityPolicy')} accepts TLS below 1.2", fix)


@resource_rule(
    "GH-API-005",
    title="Stages limit, check and trace calls, and record no bodies",
    why="Without a limit one caller takes all; a data trace writes every body, credentials included, into a log.",
    remedy="set it as the message says",
    severity=Severity.MEDIUM,
    types=tokens.REST_METHOD_SETTINGS + tokens.REST_STAGE + tokens.REST_METHOD,
    levels=AFTER_DEV,
    upstream=Upstream(
        security_hub=("APIGateway.3", "APIGateway.5"),
        checkov=("CKV_AWS_276", "CKV_AWS_308", "CKV_AWS_73", "CKV2_AWS_53"),
        prowler=("apigateway_restapi_tracing_enabled", "apigateway_restapi_cache_encrypted"),
        cdk_nag=("APIG2",),
    ),
    url=f"{_GUIDE}/api-gateway-request-throttling.html",
)
def stages_are_set_with_care(holder: Resource) -> Found:
    if holder.type in tokens.REST_STAGE:
        if not holder.props.flag("xrayTracingEnabled"):
            yield Violation("xrayTracingEnabled is not true", "set xrayTracingEnabled=True")
        return
    if holder.type in tokens.REST_METHOD:
        takes_a_body = holder.props.text("httpMethod") in ("POST", "PUT", "PATCH", "ANY")
        if takes_a_body and not holder.props.has("requestValidatorId"):
            yield Violation("requestValidatorId is not set, so any body reaches the integration", "set requestValidatorId")
        return
    settings = holder.props.block("settings")
    if settings.flag("dataTraceEnabled"):
        yield Violation("settings.dataTraceEnabled is true", "remove dataTraceEnabled")
    if settings.number("throttlingRateLimit", -1) < 0:
        yield Violation("settings.throttlingRateLimit is not set", "set throttlingRateLimit and throttlingBurstLimit")
    if settings.flag("cachingEnabled") and not settings.flag("cacheDataEncrypted"):
        yield Violation("settings.cacheDataEncrypted is not true", "set cacheDataEncrypted=True")
