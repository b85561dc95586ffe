"""Conformance of the gateway with its OpenAPI document, tested by schemathesis with several keys.

Bounded and the same each time. `GATEHOUSE_SCHEMA_EXAMPLES=200` looks longer, at other inputs each time.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import requests
import schemathesis
from gatehouse.gateway.routes import document
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

ASKED = int(os.environ.get("GATEHOUSE_SCHEMA_EXAMPLES", "0"))
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.missing_required_header,
]
#: Status codes that schemathesis does not count as rejections: body too large, and URL too long (by the server).
PASSED = dict.fromkeys((413, 414), (checks.negative_data_rejection,))
BOUNDS = settings(
    max_examples=ASKED or 6,
    derandomize=not ASKED,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
#: Scopes of the keys.
_KINDS = {"reader": ["cores:read"], "agent": ["cores:register"]}


@pytest.fixture
async def tokens(gateway: Any) -> dict[str, str]:
    limits = [{"name": "requests", "quota": 1_000_000, "window_s": 1, "burst": 1_000_000}]
    created = {kind: (await gateway.mint(scopes=scopes, limits=limits)).token for kind, scopes in _KINDS.items()}
    return {"nobody": "", **created}


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("who", ["nobody", *_KINDS])
def test_responses_match_openapi(gateway_process: Any, tokens: dict[str, str], who: str, mode: GenerationMode) -> None:
    described = document()
    for item in described["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                operation.pop("security", None)  # the test sets the credential
    schema = schemathesis.openapi.from_dict(described)
    session = requests.Session()
    headers = {"Authorization": f"Bearer {tokens[who]}"} if tokens[who] else {}
    result = []

    def send(case: Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and isinstance(case.body, dict) and "token" in case.body:
            case.body["token"] = tokens["reader"] if "revoke-self" not in case.path else "gtk_test_unknown"
        reply = case.call(base_url=f"http://127.0.0.1:{gateway_process[0]}", session=session, headers=headers)
        try:
            case.validate_response(reply, checks=[entry for entry in CHECKS if entry not in PASSED.get(reply.status_code, ())])
        except FailureGroup as exc:
            what = "; ".join(str(entry).partition("\n")[0] for entry in exc.exceptions)
            raise AssertionError(f"{reply.request.method} {str(reply.request.url)[:200]}: {reply.status_code}, {what}") from exc

    found_operations: list[Any] = list(schema.get_all_operations())
    for operation in (entry.ok() for entry in found_operations):
        ask: Any = BOUNDS(given(operation.as_strategy(generation_mode=mode))(send))  # type: ignore[no-untyped-call]
        try:
            ask()
        except Unsatisfiable:
            continue  # without parameters or body
        except AssertionError as exc:
            result.append(str(exc))
    assert "\n".join(result) == ""
