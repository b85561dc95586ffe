"""Conformance of the console with its OpenAPI document, tested by schemathesis over ASGI.

The examples are bounded and deterministic. `GATEHOUSE_SCHEMA_EXAMPLES=200` runs more of them, with random inputs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from gatehouse.console import asgi as console_asgi
from gatehouse.identity.models import Role
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import FlakyStrategyDefinition, Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi import checks

from tests.runtime.console_client import BOOTSTRAP, LogRecorder, create_dependencies

EXAMPLES_SETTING = int(os.environ.get("GATEHOUSE_SCHEMA_EXAMPLES", "0"))
EXAMPLES = EXAMPLES_SETTING or 3
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.unsupported_method,
    checks.allow_header_conformance,
    checks.missing_required_header,
]
#: Status codes that schemathesis does not treat as a rejection: version conflict, content too large.
PASSED = dict.fromkeys((412, 413), (checks.negative_data_rejection,))
#: No shrinking: it takes longer than reading the failure.
BOUNDS = settings(
    max_examples=EXAMPLES,
    derandomize=not EXAMPLES_SETTING,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass
class ApiUnderTest:
    """The OpenAPI document and an in-process client. `tokens` has a credential of each role."""

    schema: Any
    client: requests.Session
    tokens: dict[str, str]
    log: LogRecorder

    def send(self, case: Case[Any], token: str) -> None:
        """Validates the response with schemathesis."""
        reply = self.call(case, token)
        try:
            case.validate_response(reply, checks=[item for item in CHECKS if item not in PASSED.get(reply.status_code, ())])
        except FailureGroup as exc:
            message = "; ".join(str(item).partition("\n")[0] for item in exc.exceptions)
            raise AssertionError(
                f"{reply.request.method} {str(reply.request.url)[:200]}: {reply.status_code}, {message}"
            ) from exc

    def call(self, case: Case[Any], token: str) -> Response:
        """Sends the request. A 5xx response fails with its origin, because every dependency is available."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        reply = case.call(session=self.client, headers=headers)
        if reply.status_code >= 500:
            raise AssertionError(f"{case.method} {case.path}: {reply.status_code} {self.log.entries[-1]['detail']}")
        return reply


@pytest.fixture(scope="module")
def api(database: Any) -> Iterator[ApiUnderTest]:
    log = LogRecorder()
    dependencies, _ = create_dependencies(database, log)
    app: Any = console_asgi.create(dependencies)
    with get_client(app) as client:
        document = client.get("http://testserver/openapi.json").json()
        for operation in (entry for item in document["paths"].values() for entry in item.values()):
            operation.pop("security")  # the test sets the credential
        schema = schemathesis.openapi.from_dict(document)
        schema.app = app
        tokens = {"anonymous": "", "invalid": "not-a-token", "bootstrap": BOOTSTRAP}
        for role in Role:
            created = client.post(
                "http://testserver/v1/keys",
                json={"name": role.value, "scopes": [f"role:{role.value}"]},
                headers={"Authorization": f"Bearer {BOOTSTRAP}"},
            )
            tokens[role.value] = created.json()["token"]
        yield ApiUnderTest(schema, client, tokens, log)


def _operations(api: ApiUnderTest) -> list[Any]:
    return [result.ok() for result in api.schema.get_all_operations()]


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("credential", ["anonymous", "invalid", *(role.value for role in Role)])
def test_every_response_matches_the_openapi_document(api: ApiUnderTest, credential: str, mode: GenerationMode) -> None:
    result = []
    for operation in _operations(api):
        # The owner reaches the most code, so most requests use its credential.
        @settings(BOUNDS, max_examples=EXAMPLES if credential == Role.OWNER else max(2, EXAMPLES // 5))
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: Case[Any]) -> None:
            api.send(case, api.tokens[credential])

        try:
            check()
        except Unsatisfiable:
            continue  # it has no input that could be invalid
        except AssertionError as exc:
            result.append(str(exc))
    assert "\n".join(result) == ""


@pytest.mark.requirement("TR-16")
def test_openapi_links_are_valid_in_any_sequence(api: ApiUnderTest) -> None:
    machine = api.schema.as_state_machine()
    visited: set[str] = set()
    failures: list[str] = []

    class Machine(machine):  # type: ignore[misc, valid-type]
        def call(self, case: Case[Any], **kwargs: Any) -> Any:
            reply = api.call(case, BOOTSTRAP)
            if reply.status_code < 300 and "{id}" in case.path:
                visited.add(case.operation.definition.raw["operationId"])
            return reply

        def validate_response(self, response: Any, case: Case[Any], **kwargs: Any) -> None:
            try:
                case.validate_response(response, checks=CHECKS)
            except Exception as exc:
                failures.append(f"{case.method} {case.path}: {exc}")
                raise

    # The state of the console makes a replayed example draw other values, which ends the run early and is not a failure.
    for _ in range(5):
        with suppress(FlakyStrategyDefinition):
            Machine.run(settings=settings(BOUNDS, max_examples=EXAMPLES_SETTING or 60, stateful_step_count=8))
        if visited or failures:
            break
    assert failures == []
    assert visited, "no link returned an existing resource"
