"""The web ACL passes the services' own requests, and no attacks."""

import ipaddress
import json
import re
from typing import Any

import pytest
from gatehouse.services.console.routes import document as console
from gatehouse.services.gateway.routes import document as gateway
from gatehouse.services.sharing.routes import document as sharing

from tests.components.edge.waf import BROWSER, Request, WebAcl, managed_rule_groups
from tests.components.program import CLOUDFRONT, CONSOLE_NETWORKS, run
from tests.components.settings.stack_settings import STACKS

DOCUMENTS = {"gateway": gateway, "console": console, "sharing": sharing}
WEB_ACLS: dict[str, tuple[str, dict[str, Any], str, tuple[str, ...]]] = {
    **{stack: (stack, {}, "web-acl", tuple(DOCUMENTS)) for stack in STACKS},
    "cloudfront": ("staging", CLOUDFRONT, "cloudfront", ("console",)),
    "behind CloudFront": ("staging", CLOUDFRONT, "web-acl", ("gateway", "sharing")),
}
"""Stack, changed settings, resource name and services of each web ACL."""
SERVED = [(name, service) for name, (_, _, _, services) in WEB_ACLS.items() for service in services]
FILES = ("reports/2026/app.log", "nginx.conf")
TEXTS = (
    *FILES,
    "http://10.0.3.7:8080",
    "https://192.0.2.4/webhooks?from=gatehouse",
    "http://169.254.169.254/latest/meta-data/",
    "../../etc/hosts",
    '<script>alert("hello")</script>',
    "<a onclick=run()>",
    "long " * 2_000,
)
"""Legal values of text fields, of query arguments, and of Cores' URLs."""
BODY_TEXTS = (
    *TEXTS,
    "${jndi:ldap://example.com/}",
    '(java.lang.Runtime).getRuntime().exec("whoami")',
    '{"__proto__": 1}',
)
"""Legal values of text fields in request bodies."""
CLIENTS: tuple[dict[str, str], ...] = (BROWSER, {}, {"user-agent": "curl/8.14.1"})
PATH_VALUES = {"name": "docs", "instance": "worker-1.log", "path": "reports/app.log"}
CORE_PATHS = (
    "reports/app.log",
    "etc/../nginx.conf",
    "backup.bak",
    "proxy/http://10.0.3.7/etc/hosts",
    "x" * 2_000,
    "%3Cscript%3E",
    "settings.ini",
)
HEALTH = ("/healthz", "/readyz")
PAGES = {
    "gateway": ("/healthz", "/readyz", "/openapi.json"),
    "console": (
        "/",
        "/keys",
        "/sign-in/callback",
        "/cores/file",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/assets/index.js",
    ),
    "sharing": (
        "/",
        "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU",
        "/r/5tRw0aB9xK2m7HqYc1dZ8e",
        "/style.css",
        "/healthz",
        "/openapi.json",
    ),
}
"""Requests that the OpenAPI documents do not contain."""
FORMS = (
    "/",
    "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU",
    "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU/items/0",
    "/s/5tRw0aB9xK2m7HqYc1dZ8e1dZ8eU/acknowledge",
    "/r/5tRw0aB9xK2m7HqYc1dZ8e",
)
"""Forms of the sharing service whose fields are secrets, passphrases or links."""
OTHERS = [
    *(
        ("console", path)
        for path in ("/", "/console/v1/secrets", "/v1", "/s/x", "/assets/index.js")
    ),
    *(("sharing", path) for path in ("/style.css", "/v1/secrets", "/v1/linksx", "/x/s/")),
]
"""Paths at which no service accepts a request body with text."""


def web_acl(name: str) -> WebAcl:
    stack, changes, resource, _ = WEB_ACLS[name]
    return WebAcl(run(stack, changes=changes).get("wafv2.WebAcl", resource).inputs)


@pytest.mark.parametrize("name", ["staging", "cloudfront"])
def test_console_accepts_addresses_of_its_networks_only(name: str) -> None:
    stack, changes, resource, services = WEB_ACLS[name]
    program = run(stack, changes={**changes, "waf.console_networks": CONSOLE_NETWORKS})
    inputs = program.get("wafv2.WebAcl", resource).inputs
    arns = re.findall(r'"ipSetReferenceStatement": {"arn": "([^"]+)"}', json.dumps(inputs))
    resources = program.of_type("wafv2.IpSet")
    addresses = {arn: one.inputs["addresses"] for arn, one in zip(arns, resources, strict=True)}
    acl = WebAcl(inputs)
    for address in ("192.0.2.9", "2001:db8::9", "198.51.100.1", "2001:db9::1"):
        accepted = _contains(CONSOLE_NETWORKS, address)
        ip_sets = frozenset(arn for arn, one in addresses.items() if _contains(one, address))
        for service in services:
            blocked = service == "console" and not accepted
            for path in ("/openapi.json", *HEALTH):
                at = f"{host(name, service)}:8443"
                request = Request(host=at, path=path, ip_sets=ip_sets)
                rule = "console-networks" if blocked and path not in HEALTH else None
                assert acl.blocked_by(request) == rule
    assert acl.capacity() <= 1500


@pytest.mark.parametrize(("name", "service"), SERVED)
def test_probe_and_smoke_test_need_no_reputation(name: str, service: str) -> None:
    for path in ("/", "/healthz/x", *HEALTH):
        request = Request(host=host(name, service), path=path, listed=True)
        rule = None if path in HEALTH else "ip-reputation/AWSManagedIPReputationList"
        assert web_acl(name).blocked_by(request) == rule


def _contains(networks: list[str], address: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(one) for one in networks)


def host(name: str, service: str) -> str:
    stack, _, _, _ = WEB_ACLS[name]
    return str(run(stack).exports["urls"][service]).removeprefix("https://")


def operations(service: str) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for template, methods in DOCUMENTS[service]()["paths"].items():
        path = template
        for parameter in [part.partition("}")[0] for part in template.split("{")[1:]]:
            path = path.replace(f"{{{parameter}}}", PATH_VALUES.get(parameter, "3fGh82kLmQ0a"))
        found += [
            (method.upper(), path, operation)
            for method, operation in methods.items()
            if method != "parameters"
        ]
    return found


def own_requests(name: str, service: str) -> list[Request]:
    """Requests to each operation with ordinary and unusual legal values, and to pages."""
    at = host(name, service)
    requests = [
        Request(host=at, path=path, headers=client)
        for path in PAGES[service]
        for client in (BROWSER,)
    ]
    for method, path, operation in operations(service):
        if path == "/metrics":
            # The web ACL blocks this path, because it is for the network of the stack only.
            continue
        requests += [
            Request(host=at, path=path, method=method, headers=client) for client in CLIENTS
        ]
        requests.append(
            Request(
                host=f"{at}:443",
                path=path,
                method=method,
                headers={},
                body=b'{"url": "http://10.0.3.7"}',
            )
        )
        queries = [
            item["name"] for item in operation.get("parameters", ()) if item.get("in") == "query"
        ]
        requests += [
            Request(host=at, path=path, method=method, query=f"{query}={text}")
            for query in queries
            for text in TEXTS
        ]
        for content in operation.get("requestBody", {}).get("content", ()):
            bodies = [_body(content, text) for text in BODY_TEXTS]
            requests += [Request(host=at, path=path, method=method, body=body) for body in bodies]
    return requests


def _body(content: str, text: str) -> bytes:
    if content == "application/json":
        return json.dumps({"note": text}).encode()
    return (
        b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
        + text.encode()
        + b"\r\n--x--\r\n"
    )


def blocked(name: str, requests: list[Request]) -> dict[str, str]:
    acl = web_acl(name)
    results = {
        f"{item.method} {item.path[:60]}?{item.query[:60]} {item.body[:60]!r}": acl.blocked_by(item)
        for item in requests
    }
    return {request: rule for request, rule in results.items() if rule is not None}


@pytest.mark.parametrize(("name", "service"), SERVED)
def test_documented_requests_pass(name: str, service: str) -> None:
    requests = own_requests(name, service)
    assert len(requests) > 30
    assert blocked(name, requests) == {}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "PROPFIND", "MKCOL"])
def test_requests_to_cores_are_arbitrary(method: str) -> None:
    at = host("prod", "gateway")
    cookie = {"cookie": "theme=<b>dark</b>; url=http://169.254.169.254/; pad=" + "x" * 12_000}
    requests = [
        Request(
            host=at,
            path=f"/cores/docs/{path}",
            method=method,
            query=query,
            headers=headers,
            body=body,
        )
        for path in CORE_PATHS
        for query in ("", *(f"q={text}" for text in TEXTS))
        for headers in ({}, cookie)
        for body in (b"", *(text.encode() for text in BODY_TEXTS))
    ]
    assert blocked("prod", requests) == {}


@pytest.mark.parametrize("name", [name for name, service in SERVED if service == "sharing"])
def test_forms_with_secrets_are_arbitrary_text(name: str) -> None:
    at = host(name, "sharing")
    requests = [
        Request(host=at, path=path, method="POST", body=b"secret=" + text.encode())
        for path in FORMS
        for text in BODY_TEXTS
    ]
    assert blocked(name, requests) == {}


@pytest.mark.parametrize(
    "query",
    ["search=app.log", "search=http://10.0.3.7", f"code={'c' * 3_000}&state=s", "path=../x"],
)
@pytest.mark.parametrize("path", PAGES["console"])
def test_query_strings_of_console_pages_are_arbitrary(path: str, query: str) -> None:
    assert blocked("prod", [Request(host=host("prod", "console"), path=path, query=query)]) == {}


@pytest.mark.parametrize("name", WEB_ACLS)
@pytest.mark.parametrize("text", [text for text in BODY_TEXTS if text not in FILES])
def test_bodies_are_inspected_elsewhere(name: str, text: str) -> None:
    acl = web_acl(name)
    others = [(service, path) for service, path in OTHERS if (name, service) in SERVED]
    requests = [
        Request(host=host(name, where), path=path, method="POST", body=text.encode())
        for where, path in others
    ]
    expected = "body-size" if len(text) > 8192 else "content"
    assert {acl.blocked_by(request) for request in requests} == {expected}


@pytest.mark.parametrize("service", ["console", "sharing"])
def test_other_parts_are_inspected(service: str) -> None:
    acl, at = web_acl("prod"), host("prod", service)
    expected = [
        (Request(host=at, path="/v1/x/../../etc/hosts"), "common/GenericLFI_URIPATH"),
        (Request(host=at, path="/" + "x" * 1_100), "common/SizeRestrictions_URIPATH"),
        (Request(host=at, path="/web-inf/web.xml"), "known-bad-inputs/ExploitablePaths_URIPATH"),
        (Request(host=at, path="/app.log"), "content"),
        (Request(host=at, path="/index.html", headers={}), "content"),
        (
            Request(host=at, path="/v1/keys", headers={**BROWSER, "x": "${jndi:ldap://x}"}),
            "known-bad-inputs/Log4JRCE_HEADER",
        ),
        (
            Request(host=at, path="/v1/keys", headers={**BROWSER, "cookie": "a=<script>"}),
            "common/CrossSiteScripting_COOKIE",
        ),
        (Request(host=at, path="/x", method="PROPFIND"), "content"),
        (Request(host=at, path="/metrics"), "metrics"),
    ]
    assert [(request, acl.blocked_by(request)) for request, _ in expected] == expected


def test_unused_query_strings_are_inspected() -> None:
    acl = web_acl("prod")
    queries = [f"q={text}" for text in TEXTS]
    requests = [Request(host=host("prod", "sharing"), path="/", query=query) for query in queries]
    assert {acl.blocked_by(request) for request in requests} == {"query"}


def test_exploits_of_known_vulnerabilities_do_not_reach_cores() -> None:
    acl, at = web_acl("prod"), host("prod", "gateway")
    requests = [
        Request(host=at, path="/cores/docs/web-inf/web.xml"),
        Request(host=at, path="/cores/docs/x", query="q=${jndi:ldap://example.com/}"),
        Request(host=at, path="/cores/docs/x", headers={"x-name": "${jndi:ldap://example.com/}"}),
    ]
    assert [acl.blocked_by(request) for request in requests] == [
        "known-bad-inputs/ExploitablePaths_URIPATH",
        "known-bad-inputs/Log4JRCE_QUERYSTRING",
        "known-bad-inputs/Log4JRCE_HEADER",
    ]


@pytest.mark.parametrize("name", WEB_ACLS)
def test_labels_exist(name: str) -> None:
    documented = {
        f"{group['namespace']}:{rule['label']}"
        for group in managed_rule_groups().values()
        for rule in group["rules"]
    }
    used = set(_labels([rule["statement"] for rule in web_acl(name).rules]))
    assert used
    assert used <= documented


def _labels(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["key"]] if value.get("scope") == "LABEL" else []
        return own + [label for inner in value.values() for label in _labels(inner)]
    return [label for inner in value for label in _labels(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", WEB_ACLS)
def test_capacity_is_included_in_the_price(name: str) -> None:
    assert 925 < web_acl(name).capacity() <= 1_500
