"""What the REST API before the share function is made of, as plain data: methods, what a body may be, the gateway's own
answers, the access log and who may call."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from components.iam.documents import ANYONE, Document, allow, deny, document
from components.naming import Naming

STAGE = "live"
ROOT, REST = "/", "/{proxy+}"
BODY_CHARS_MAX = 8192
"""Of one field; WAF refuses whole bodies above 8 KB at this host before."""
HSTS = "max-age=63072000; includeSubDomains"


@dataclass(frozen=True, slots=True)
class Method:
    """One method at one path; `takes_body`: its body is held to the model."""

    path: str
    verb: str
    takes_body: bool = False

    @property
    def name(self) -> str:
        """`root-get`"""
        return f"{'root' if self.path == ROOT else 'rest'}-{self.verb.lower()}"


METHODS = (
    Method(ROOT, "GET"),
    Method(ROOT, "HEAD"),
    Method(REST, "GET"),
    Method(REST, "HEAD"),
    Method(REST, "POST", takes_body=True),
)
"""What reaches the function. Every other method is answered by the gateway."""
WRITES = REST.removeprefix("/") + "/POST"
"""The method with a narrower limit of its own, as method settings name it."""

BODY: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-04/schema#",
    "title": "Form",
    "type": "object",
    "maxProperties": 16,
    "additionalProperties": {"type": "string", "maxLength": BODY_CHARS_MAX},
}
"""The JSON that a POST may carry: a few fields of text."""

_SAFE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": HSTS,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""What every answer carries, as those of the service do. API Gateway has no way to write a quote inside of a fixed value."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the gateway itself (API Gateway developer guide, "Gateway response types"); no status leaves the
    gateway's."""

    kind: str
    status: int | None
    message: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def parameters(self) -> dict[str, str]:
        """Its headers, with those of every answer, as the gateway takes them: fixed values in single quotes."""
        return {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in {**_SAFE, **dict(self.headers)}.items()}

    @property
    def body(self) -> str:
        """JSON, without anything of the request."""
        return json.dumps({"message": self.message})


ANSWERS = (
    # The gateway's name for a method that the API does not have.
    Answer(
        "MISSING_AUTHENTICATION_TOKEN", 405, "This address cannot be used in that way", headers=(("Allow", "GET, HEAD, POST"),)
    ),
    Answer("THROTTLED", 429, "Too many requests; try again in a moment", headers=(("Retry-After", "1"),)),
    Answer("DEFAULT_4XX", None, "The request was refused"),
    Answer("DEFAULT_5XX", None, "Something went wrong here"),
)

ACCESS_LOG = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "time": "$context.requestTimeEpoch",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    # The template, never the path: the path may be a secret link. No query, no header.
    "resource": "$context.resourcePath",
    "status": "$context.status",
    "bytes": "$context.responseLength",
    "ms": "$context.responseLatency",
    "functionStatus": "$context.integration.status",
    "functionMs": "$context.integration.latency",
    "error": "$context.error.responseType",
    "firewall": "$context.wafResponseCode",
    "tls": "$context.tlsVersion",
    "trace": "$context.xrayTraceId",
}
"""One line a request. Source: API Gateway developer guide, "Variables for access logging"."""


def access_format() -> str:
    """The line as API Gateway takes it: JSON with variables in it."""
    return json.dumps(ACCESS_LOG, separators=(",", ":"))


def caller_policy(names: Naming) -> Document:
    """Anybody may call these methods of the one stage, over TLS alone; the link is what opens something. The API's id is
    made by AWS; the policy hangs on that API, so the pattern reaches no other."""
    arns = [names.arn("execute-api", f"*/{STAGE}/{verb}/*") for verb in dict.fromkeys(method.verb for method in METHODS)]
    return document(
        allow("AnybodyCalls", ["execute-api:Invoke"], arns, principal=ANYONE),
        deny(
            "OnlyTls",
            ["execute-api:Invoke"],
            [names.arn("execute-api", "*")],
            conditions={"Bool": {"aws:SecureTransport": "false"}},
        ),
    )


def definition_hash(names: Naming) -> str:
    """Changes when anything of the API does: a deployment is a copy of the API, and a new one is needed then."""
    answers = [(answer.kind, answer.status, answer.body, answer.parameters) for answer in ANSWERS]
    whole = [[(m.path, m.verb, m.takes_body) for m in METHODS], BODY, answers, caller_policy(names)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
