"""Events of a REST API (API Gateway developer guide, "Input format of a Lambda function for proxy
integration").
"""

import base64
from typing import Any

HOST = "sharing.gatehouse.example.com"
CALLER = "198.51.100.23"


def event(
    method: str = "GET",
    path: str = "/",
    *,
    headers: dict[str, list[str]] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """A request to the stage `live`. `headers` are added to those of the browser."""
    all_headers = {
        "Accept": ["text/html"],
        "Host": [HOST],
        "User-Agent": ["Mozilla/5.0"],
        "X-Amzn-Trace-Id": ["Root=1-65f00000-0123456789abcdef01234567"],
        "X-Forwarded-For": [CALLER],
        "X-Forwarded-Port": ["443"],
        "X-Forwarded-Proto": ["https"],
        **(headers or {}),
    }
    resource = "/" if path == "/" else "/{proxy+}"
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": {name: values[-1] for name, values in all_headers.items()},
        "multiValueHeaders": all_headers,
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "pathParameters": None if path == "/" else {"proxy": path.removeprefix("/")},
        "stageVariables": None,
        "requestContext": {
            "apiId": "a1b2c3d4e5",
            "domainName": HOST,
            "httpMethod": method,
            "identity": {"sourceIp": CALLER, "userAgent": "Mozilla/5.0"},
            "path": path,
            "protocol": "HTTP/1.1",
            "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
            "resourcePath": resource,
            "stage": "live",
        },
        "body": None,
        "isBase64Encoded": False,
        **changes,
    }


def encoded(body: bytes) -> dict[str, Any]:
    return {"body": base64.b64encode(body).decode("ascii"), "isBase64Encoded": True}
