"""Definition of the REST API in front of the sharing function: methods, body model, gateway
responses and access log.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from components.iam.documents import Document
from components.iam.resource_policies import rest_api_policy
from components.naming import Naming

ROOT, PROXY = "/", "/{proxy+}"
WRITE = "POST"
"""HTTP verb of the methods with a request body."""
HSTS = "max-age=63072000; includeSubDomains"


METHODS = {
    "root-get": (ROOT, "GET"),
    "root-head": (ROOT, "HEAD"),
    "root-post": (ROOT, WRITE),
    "proxy-get": (PROXY, "GET"),
    "proxy-head": (PROXY, "HEAD"),
    "proxy-post": (PROXY, WRITE),
}
"""Path and HTTP verb of the methods that invoke the function, keyed by resource name. API Gateway
rejects requests for all other methods."""
WRITES = f"{PROXY.removeprefix('/')}/{WRITE}"
"""Path of the methods with a lower throttling limit, in the syntax of method settings."""

BODY: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "title": "Body",
    "type": "object",
    "maxProperties": 16,
}
"""JSON schema of a JSON body. The schema does not describe the fields, because a submitted secret
can contain files. The function validates the fields."""
BODY_CONTENT_TYPE = "application/json"
"""Content type of the bodies that API Gateway validates. The function validates bodies of other
types, such as forms. Source: API Gateway Developer Guide, "Request validation for REST APIs in API
Gateway"."""

BINARY_MEDIA_TYPES = ["*/*"]
"""Content types whose bodies Lambda sends and receives in base64, so that downloads arrive
unchanged. API Gateway evaluates only the first type in the Accept header, which in a browser is
never the type of the download. A Lambda response is limited to 6 MB, which corresponds to 4.5 MB of
content in base64. Sources: API Gateway Developer Guide, "Return binary media from a Lambda proxy
integration in API Gateway"; Lambda Developer Guide, "Lambda quotas"."""

_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": HSTS,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every gateway response. API Gateway does not support quotes within a static value."""


GATEWAY_RESPONSES: dict[str, tuple[int | None, str, dict[str, str]]] = {
    # API Gateway returns this response type for undefined methods.
    "MISSING_AUTHENTICATION_TOKEN": (405, "Method not allowed.", {"Allow": "GET, HEAD, POST"}),
    "REQUEST_TOO_LARGE": (413, "The request is larger than 10 MB.", {}),
    "THROTTLED": (429, "Too many requests. Retry later.", {"Retry-After": "1"}),
    "DEFAULT_4XX": (None, "Request denied.", {}),
    "DEFAULT_5XX": (None, "Internal error.", {}),
}
"""Status, message and additional headers of each error response that API Gateway generates. None
stands for the default status.

Source: API Gateway Developer Guide, "Gateway response types for API Gateway".
"""

ACCESS_LOG = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "time": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    # The log contains the route, because a path can contain a secret link. Query strings and
    # headers are not logged.
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "ms": "$context.responseLatency",
    "functionStatus": "$context.integration.status",
    "functionMs": "$context.integration.latency",
    "error": "$context.error.responseType",
    "waf": "$context.wafResponseCode",
    "tls": "$context.tlsVersion",
    "trace": "$context.xrayTraceId",
}
"""Fields of an access log line. Source: API Gateway Developer Guide, "Variables for access logging
for API Gateway".
"""


def caller_policy(names: Naming) -> Document:
    return rest_api_policy(names, list(dict.fromkeys(verb for _, verb in METHODS.values())))


def response_headers(additional: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a gateway response as static values, which API Gateway expects in
    single quotes.
    """
    return {
        f"gatewayresponse.header.{name}": f"'{value}'"
        for name, value in {**_SECURITY_HEADERS, **additional}.items()
    }


def response_body(message: str) -> str:
    """Return the JSON body of a gateway response. The body contains no part of the request."""
    return json.dumps({"message": message})


def definition_hash(names: Naming) -> str:
    """Return a hash of the API definition. A deployment is a snapshot, so every change requires a
    new deployment.
    """
    responses = [
        (kind, status, response_body(message), response_headers(headers))
        for kind, (status, message, headers) in GATEWAY_RESPONSES.items()
    ]
    methods = [(path, verb, verb == WRITE) for path, verb in METHODS.values()]
    definition = [
        methods,
        BODY,
        BODY_CONTENT_TYPE,
        BINARY_MEDIA_TYPES,
        responses,
        caller_policy(names),
    ]
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
