"""Definition of the REST API in front of the sharing function: methods, body model, gateway responses and access log."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from components.iam.documents import Document
from components.iam.resource_policies import rest_api_policy
from components.naming import Naming

ROOT, PROXY = "/", "/{proxy+}"
BODY_CHARS_MAX = 8192
"""Maximum length of one field. AWS WAF blocks bodies above 8 KB on this host name."""
HSTS = "max-age=63072000; includeSubDomains"


@dataclass(frozen=True, slots=True)
class Method:
    """A method of one path. `takes_body`: the request body is validated against the model."""

    path: str
    verb: str
    takes_body: bool = False

    @property
    def name(self) -> str:
        """Resource name, such as `root-get`."""
        return f"{'root' if self.path == ROOT else 'proxy'}-{self.verb.lower()}"


METHODS = (
    Method(ROOT, "GET"),
    Method(ROOT, "HEAD"),
    Method(PROXY, "GET"),
    Method(PROXY, "HEAD"),
    Method(PROXY, "POST", takes_body=True),
)
"""Methods that invoke the function. API Gateway rejects all others."""
WRITES = PROXY.removeprefix("/") + "/POST"
"""Path of the methods with a lower throttling limit, in the syntax of method settings."""

BODY: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "title": "Form",
    "type": "object",
    "maxProperties": 16,
    "additionalProperties": {"type": "string", "maxLength": BODY_CHARS_MAX},
}
"""JSON schema of a POST body."""

_SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": HSTS,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every gateway response. API Gateway does not support quotes inside a static value."""


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An error response that API Gateway generates. `status` is None for the default status.

    Source: API Gateway Developer Guide, "Gateway response types for API Gateway".
    """

    kind: str
    status: int | None
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        """Response headers as static values, which API Gateway expects in single quotes."""
        headers = {**_SECURITY_HEADERS, **dict(self.headers)}
        return {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in headers.items()}

    @property
    def body(self) -> str:
        """JSON body. Contains no part of the request."""
        return json.dumps({"message": self.message})


GATEWAY_RESPONSES = (
    # API Gateway's response type for a method that is not defined.
    GatewayResponse("MISSING_AUTHENTICATION_TOKEN", 405, "Method not allowed.", headers=(("Allow", "GET, HEAD, POST"),)),
    GatewayResponse("THROTTLED", 429, "Too many requests. Retry later.", headers=(("Retry-After", "1"),)),
    GatewayResponse("DEFAULT_4XX", None, "Request denied."),
    GatewayResponse("DEFAULT_5XX", None, "Internal error."),
)

ACCESS_LOG = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "time": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    # The route, not the path: the path can contain a secret link. No query string and no headers.
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
"""Fields of an access log line. Source: API Gateway Developer Guide, "Variables for access logging for API Gateway"."""


def access_log_format() -> str:
    """Return the access log format: JSON with context variables."""
    return json.dumps(ACCESS_LOG, separators=(",", ":"))


def caller_policy(names: Naming) -> Document:
    """Return the resource policy of the API."""
    return rest_api_policy(names, list(dict.fromkeys(method.verb for method in METHODS)))


def definition_hash(names: Naming) -> str:
    """Return a hash of the API definition. A deployment is a snapshot, so a change requires a new one."""
    responses = [(response.kind, response.status, response.body, response.parameters) for response in GATEWAY_RESPONSES]
    methods = [(method.path, method.verb, method.takes_body) for method in METHODS]
    definition = [methods, BODY, responses, caller_policy(names)]
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()
