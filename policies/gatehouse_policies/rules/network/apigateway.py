"""Rules for API Gateway REST and HTTP APIs (stages, methods, routes and domain names) and AWS
AppSync.
"""

from pulumi_local.lists import name_set
from pulumi_local.type_tokens import aws

from gatehouse_policies.analysis.properties import Properties
from gatehouse_policies.analysis.resources import Resource, Stack
from gatehouse_policies.engine.requirements import (
    for_types,
    has_format,
    is_not_true,
    is_set,
    is_true,
    satisfies,
    where,
)
from gatehouse_policies.engine.rule import CheckResults, Requirement, resource_rule, stack_rule

# Methods of the sharing API. The recipient of a secret has no account; the link is the credential.
_SHARING_METHODS = tuple(
    f"sharing-{method}"
    for method in ("root-get", "root-head", "root-post", "proxy-get", "proxy-head", "proxy-post")
)


@stack_rule(
    "GH-API-002",
    types=aws("apigateway.Method", "apigatewayv2.Route"),
    lists={"public": _SHARING_METHODS},
)
def routes_have_authorizer(route: Resource, stack: Stack) -> CheckResults:
    is_rest = route.type in aws("apigateway.Method")
    name_property, type_property = (
        ("httpMethod", "authorization") if is_rest else ("routeKey", "authorizationType")
    )
    name = route.props.text(name_property)
    if name.partition(" ")[0] == "OPTIONS" or {name, route.name} & {*route.lists["public"]}:
        return  # Browsers send the CORS preflight request (OPTIONS) without credentials.
    if not is_rest and _receives_authorized_messages(route, name, stack):
        return
    # API keys identify clients for usage plans, and must not be used for authorization:
    # https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-api-usage-plans.html
    if route.props.text(type_property).upper() in ("", "NONE"):
        yield f"{type_property} is NONE"


def _receives_authorized_messages(route: Resource, key: str, stack: Stack) -> bool:
    """True for a route of a WebSocket API other than $connect, whose authorizer authorizes the
    messages of the connection. Routes of HTTP APIs have a method and a path, or are $default.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-lambda-auth.html
    """
    apis = stack.referenced_by(route, "apiId", aws("apigatewayv2.Api"))
    is_socket = any(api.props.text("protocolType") == "WEBSOCKET" for api in apis)
    if key == "$connect" or (not is_socket and (" " in key or key == "$default")):
        return False
    routes = (item for api in apis for item in stack.referencing(api, (route.type,), "apiId"))
    return not apis or any(item.props.text("routeKey") == "$connect" for item in routes)


_ANY_METHOD = "x-amazon-apigateway-any-method"
_BODY_METHODS = name_set(f"get put post delete patch head trace {_ANY_METHOD}")


@resource_rule(
    "GH-API-006", types=aws("apigateway.RestApi", "apigatewayv2.Api"), lists={"public": ()}
)
def defined_routes_have_authorizer(api: Resource) -> CheckResults:
    is_rest = api.type in aws("apigateway.RestApi")
    if not is_rest and api.props.has("target"):
        yield "target creates a route without an authorizer and a stage without an access log"
    if not api.props.has("body"):
        return
    body = api.props.document("body")
    schemes = body.block("securityDefinitions")
    if body.has("components"):
        schemes = body.block("components").block("securitySchemes")
    authorizing = {name for name in schemes.names() if _authorizes(schemes.block(name))}
    paths = body.block("paths")
    for path in paths.names():
        operations = paths.block(path)
        for method in operations.names():
            route = f"{'ANY' if method == _ANY_METHOD else method.upper()} {path}"
            if method.lower() not in _BODY_METHODS or route in api.lists["public"]:
                continue
            operation = operations.block(method)
            own = operation.block("x-amazon-apigateway-auth").text("type").upper()
            # `security` of the document has no effect (api-gateway-known-issues.html). A request
            # satisfies one requirement only, and an empty requirement accepts every request.
            requirements = [set(each.names()) for each in operation.blocks("security")]
            authorized = requirements and all(map(authorizing.intersection, requirements))
            # Only methods of REST APIs have an authorization type of their own.
            if own == "NONE" or not (authorized or (is_rest and own == "AWS_IAM")):
                yield f"the operation {route} has no authorizer"


def _authorizes(scheme: Properties) -> bool:
    """False for a scheme that requires an API key only. Types other than that of IAM have an
    authorizer.
    """
    is_iam = scheme.text("x-amazon-apigateway-authtype").lower() == "awssigv4"
    return is_iam or scheme.has("x-amazon-apigateway-authorizer")


@stack_rule("GH-API-003", types=aws("apigateway.Stage", "apigatewayv2.Api"))
def web_acl_is_associated(api: Resource, stack: Stack) -> CheckResults:
    if api.type in aws("apigateway.Stage"):
        if not stack.referencing(api, aws("wafv2.WebAclAssociation"), "resourceArn"):
            yield "no web ACL is associated with this stage"
    elif api.props.text("protocolType", "HTTP") == "HTTP" and not any(
        distribution.props.has("webAclId") and origin.has("customOriginConfig")
        for distribution in stack.of_type(aws("cloudfront.Distribution"))
        for origin in distribution.props.blocks("origins")
    ):
        yield "no CloudFront distribution with a web ACL is in front of this HTTP API"


def _accepts_current_tls(path: str) -> Requirement:
    # Policies after TLS_1_2 are named SecurityPolicy_TLS13_...
    pattern = "TLS_1_2|SecurityPolicy_TLS1.*"
    return has_format(path, pattern, example="TLS_1_2", message="accepts TLS below 1.2")


custom_domain_uses_current_tls = resource_rule(
    "GH-API-004",
    strict=True,
    types=aws(
        "apigateway.RestApi", "apigatewayv2.Api", "apigateway.DomainName", "apigatewayv2.DomainName"
    ),
).requires(
    for_types(aws("apigateway.RestApi", "apigatewayv2.Api"), is_true("disableExecuteApiEndpoint")),
    for_types(aws("apigateway.DomainName"), _accepts_current_tls("securityPolicy")),
    for_types(
        aws("apigatewayv2.DomainName"),
        _accepts_current_tls("domainNameConfiguration.securityPolicy"),
    ),
)


stage_settings_are_secure = resource_rule(
    "GH-API-005", types=aws("apigateway.MethodSettings", "apigateway.Stage", "apigateway.Method")
).requires(
    for_types(aws("apigateway.Stage"), is_true("xrayTracingEnabled")),
    where(
        lambda holder: (
            holder.type in aws("apigateway.Method")
            and holder.props.text("httpMethod") in ("POST", "PUT", "PATCH", "ANY")
        ),
        is_set("requestValidatorId", "request bodies are not validated"),
    ),
    for_types(
        aws("apigateway.MethodSettings"),
        is_not_true("settings.dataTraceEnabled"),
        satisfies(
            "settings.throttlingRateLimit",
            lambda settings, key: settings.number(key, -1) >= 0,
            "is not set",
            "set settings.throttlingRateLimit and settings.throttlingBurstLimit",
        ),
        where(
            lambda holder: holder.props.block("settings").flag("cachingEnabled"),
            is_true("settings.cacheDataEncrypted"),
        ),
    ),
)
