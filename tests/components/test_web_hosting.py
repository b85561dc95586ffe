"""The console behind CloudFront."""

import json
import re
import shutil
from fnmatch import fnmatchcase
from typing import Any

import pytest
from gatehouse.features.identity.authorization_code import CALLBACK_PATH
from gatehouse.platform.web.security_headers import WEB_UI, security_headers
from gatehouse.services.console.routes import ENDPOINTS
from gatehouse.services.console.sign_in import SIGN_OUT_PATH, START_PATH

from components.edge import web_ui
from components.edge.distribution import headers_policy
from tests import processes
from tests.components.program import CLOUDFRONT, Program, run
from tools import nodejs

STACK = "staging"
HOST = "console.staging.gatehouse.example.com"
CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER = "216adef6-5c7f-47e4-b989-5492eafa07d3"


def program() -> Program:
    return run(STACK, changes=CLOUDFRONT)


def distribution() -> dict[str, Any]:
    return program().get("cloudfront.Distribution", "console").inputs


def behavior(path: str) -> dict[str, Any]:
    matching = (
        item
        for item in distribution()["orderedCacheBehaviors"]
        if fnmatchcase(path, item["pathPattern"])
    )
    result: dict[str, Any] = next(matching, distribution()["defaultCacheBehavior"])
    return result


def api_paths() -> list[str]:
    paths = {re.sub(r"\{\w+\}", "x", endpoint.path) for endpoint in ENDPOINTS}
    paths |= {
        START_PATH,
        CALLBACK_PATH,
        SIGN_OUT_PATH,
        "/openapi.json",
        "/operations.json",
        "/healthz",
        "/readyz",
    }
    assert len(paths) > 30
    return sorted(paths)


def page_paths() -> list[str]:
    routes = json.loads((web_ui.FOLDER / "routes.json").read_bytes())
    assert len(routes) > 10
    return [re.sub(r":\w+", "x", route["path"]) for route in routes]


def test_switch_keeps_the_priorities_of_listener_rules() -> None:
    before, after = (
        {rule.name: rule.inputs["priority"] for rule in deployed.of_type("lb.ListenerRule")}
        for deployed in (run(STACK), program())
    )
    assert before.keys() - after.keys() == {"forward-console", "test-console"}
    assert [name for name in before.keys() & after.keys() if before[name] != after[name]] == []


def test_container_form_grants_cloudfront_nothing() -> None:
    assert "cloudfront" not in json.dumps(run(STACK).documents())


@pytest.mark.parametrize("path", api_paths())
def test_api_requests_are_forwarded_unchanged(path: str) -> None:
    found = behavior(path)
    assert found["targetOriginId"] == "console"
    assert (found["cachePolicyId"], found["originRequestPolicyId"]) == (
        CACHING_DISABLED,
        ALL_VIEWER,
    )
    assert set(found["allowedMethods"]) == {
        "GET",
        "HEAD",
        "OPTIONS",
        "PUT",
        "POST",
        "PATCH",
        "DELETE",
    }
    assert "functionAssociations" not in found


@pytest.mark.parametrize("path", [*page_paths(), "/assets/index-1.js", "/metrics", "/unknown"])
def test_other_requests_are_not_forwarded(path: str) -> None:
    found = behavior(path)
    assert found["targetOriginId"] == "files"
    assert found["allowedMethods"] == ["GET", "HEAD"]


def test_function_serves_the_index_for_pages_only() -> None:
    uris = [*page_paths(), "/assets/index-1.js", "/unknown", "/keys/x/y", "/index.html"]
    script = f"{web_ui.function_code()}\nconst uris = {json.dumps(uris)};\n" + (
        "console.log(JSON.stringify(uris.map((uri) => { const result = handler({ request: { uri } "
        "}); return result.uri || result.statusCode; })));"
    )
    node = shutil.which("node", path=nodejs.environment()["PATH"])
    assert node, "Node.js is missing: run scripts/setup.sh"
    ran = processes.run([node, "-e", script], check=True)
    assert json.loads(ran.stdout) == [
        *["/index.html"] * len(page_paths()),
        "/assets/index-1.js",
        404,
        404,
        404,
    ]


def test_security_headers_are_those_of_the_console() -> None:
    policy = program().get("cloudfront.ResponseHeadersPolicy", "console").inputs
    security = policy["securityHeadersConfig"]
    transport = security["strictTransportSecurity"]
    assert transport["includeSubdomains"]
    assert security["contentTypeOptions"] == {"override": True}
    sent = {item["header"]: item["value"] for item in policy["customHeadersConfig"]["items"]} | {
        "Content-Security-Policy": security["contentSecurityPolicy"]["contentSecurityPolicy"],
        "Referrer-Policy": security["referrerPolicy"]["referrerPolicy"],
        "Strict-Transport-Security": (
            f"max-age={transport['accessControlMaxAgeSec']}; includeSubDomains"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": security["frameOptions"]["frameOption"],
    }
    expected = {**dict(security_headers(https=True)), **dict(WEB_UI)}
    del expected[b"cache-control"]
    assert {name.lower().encode(): value.encode() for name, value in sent.items()} == expected
    behaviors = [distribution()["defaultCacheBehavior"], *distribution()["orderedCacheBehaviors"]]
    assert {item["responseHeadersPolicyId"] for item in behaviors} == {"console-id"}


def test_header_that_cloudfront_cannot_represent_is_rejected() -> None:
    headers = {**web_ui.response_headers(), "Strict-Transport-Security": "max-age=1; preload"}
    with pytest.raises(ValueError, match=r"security_headers\.toml"):
        headers_policy(headers)


def test_every_built_file_is_uploaded() -> None:
    objects = {item.inputs["key"]: item.inputs for item in program().of_type("s3.BucketObjectv2")}
    built = {
        f"assets/{path.name}"
        for path in (web_ui.FOLDER / "assets").iterdir()
        if path.suffix not in (".br", ".gz")
    }
    assert set(objects) == {"index.html", *built}
    assert objects["index.html"]["cacheControl"] == "no-cache"
    assert {item["cacheControl"] for key, item in objects.items() if key != "index.html"} == {
        "public, max-age=31536000, immutable"
    }
    assert {item["contentType"] for item in objects.values()} >= {
        "text/html; charset=utf-8",
        "text/css; charset=utf-8",
    }


def test_missing_web_ui_is_reported(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"scripts/setup\.sh"):
        web_ui.files(tmp_path)


def test_load_balancer_of_the_console_is_internal() -> None:
    balancers = program().inputs("lb.LoadBalancer")
    assert {name: item["internal"] for name, item in balancers.items()} == {
        "edge": False,
        "origin": True,
    }
    # The internal load balancer keeps the header of CloudFront, which ends with the address of the
    # viewer.
    assert balancers["origin"]["xffHeaderProcessingMode"] == "preserve"
    hosts = {
        rule.name: rule.inputs["conditions"][0]["hostHeader"]["values"]
        for rule in program().of_type("lb.ListenerRule")
        if "hostHeader" in rule.inputs["conditions"][0]
    }
    assert hosts["forward-origin"] == [HOST]
    assert [name for name, values in hosts.items() if HOST in values] == [
        "forward-origin",
        "test-origin",
    ]
    assert [
        item.inputs["port"]
        for item in program().of_type("lb.Listener")
        if item.name == "origin-https"
    ] == [443]


def test_switching_updates_the_record_in_place() -> None:
    before, after = (form.get("route53.Record", "console") for form in (run(STACK), program()))
    assert (
        (before.inputs["name"], before.inputs["type"])
        == (after.inputs["name"], after.inputs["type"])
        == (HOST, "A")
    )
    assert before.parent == after.parent
    assert before.inputs["aliases"] != after.inputs["aliases"]


def test_switching_creates_new_target_groups() -> None:
    names = [
        {
            group.inputs["name"]
            for group in form.of_type("lb.TargetGroup")
            if group.inputs["port"] == 8081
        }
        for form in (run(STACK), program())
    ]
    assert [len(pair) for pair in names] == [2, 2]
    assert not names[0] & names[1]
    assert max(len(name) for name in names[1]) <= 32


def test_access_log_contains_no_cookies_or_query_strings() -> None:
    fields = program().get("cloudwatch.LogDelivery", "console").inputs["recordFields"]
    assert "cs-uri-stem" in fields
    assert not [
        field for field in fields if re.search("cookie|query|referer", field, re.IGNORECASE)
    ]
