"""Conformance of the console with its OpenAPI document, over ASGI, with a credential of each
role.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from gatehouse.core.roles import Role
from hypothesis import settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis import Case, GenerationMode, Response
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import allow_header_conformance

from tests.runtime.console_client import BOOTSTRAP, LogRecorder, composition, create_pool
from tests.runtime.openapi_conformance import (
    BOUNDS,
    CHECKS,
    EXAMPLES,
    credential_in_failure,
    failures,
    validate,
    without_security,
)


@dataclass
class ConsoleSchema:
    """The OpenAPI document and an in-process client. `tokens` has a credential of each role."""

    schema: Any
    client: requests.Session
    tokens: dict[str, str]
    log: LogRecorder

    def send(self, case: Case[Any], token: str) -> Response:
        """Sends the request. Raises AssertionError for a 5xx response, because every dependency is
        available.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        reply = case.call(session=self.client, headers=headers)
        if reply.status_code >= 500:
            raise AssertionError(
                f"{case.method} {case.path}: {reply.status_code} {self.log.entries[-1]['detail']}"
            )
        return reply


@pytest.fixture(scope="module")
def console_schema(database: Any) -> Iterator[ConsoleSchema]:
    log = LogRecorder()
    app: Any = composition(create_pool(database), log).application()
    with get_client(app) as client:
        schema = schemathesis.openapi.from_dict(
            without_security(client.get("http://testserver/openapi.json").json())
        )
        schema.app = app
        tokens = {"anonymous": "", "unknown": "not-a-key", "bootstrap": BOOTSTRAP}
        for role in Role:
            created = client.post(
                "http://testserver/v1/keys",
                json={"name": role.value, "scopes": [role.scope]},
                headers={"Authorization": f"Bearer {BOOTSTRAP}"},
            )
            tokens[role.value] = created.json()["token"]
        yield ConsoleSchema(schema, client, tokens, log)


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_responses_match_openapi(console_schema: ConsoleSchema, mode: GenerationMode) -> None:
    """Each example is sent with every credential."""

    def send(case: Case[Any]) -> None:
        for credential, token in console_schema.tokens.items():
            with credential_in_failure(credential):
                validate(case, console_schema.send(case, token), allow_header_conformance)

    assert len(console_schema.tokens) == len(Role) + 3
    assert failures(console_schema.schema, mode, send, EXAMPLES or 1) == []


@pytest.mark.requirement("TR-16")
def test_openapi_links_lead_to_existing_resources(console_schema: ConsoleSchema) -> None:
    machine = console_schema.schema.as_state_machine()
    linked: set[str] = set()
    wrong: list[str] = []

    class LinkedRequests(machine):  # type: ignore[misc, valid-type]
        def call(self, case: Case[Any], **kwargs: Any) -> Any:
            reply = console_schema.send(case, BOOTSTRAP)
            if reply.status_code < 300 and "{id}" in case.path:
                linked.add(case.operation.definition.raw["operationId"])
            return reply

        def validate_response(self, response: Any, case: Case[Any], **kwargs: Any) -> None:
            try:
                case.validate_response(response, checks=[*CHECKS, allow_header_conformance])
            except Exception as exc:
                wrong.append(f"{case.method} {case.path}: {exc}")
                raise

    # The state of the console makes a replayed example draw other values, which ends the run early
    # and is not a failure. The next run draws random values.
    for attempt in range(20):
        with suppress(FlakyStrategyDefinition):
            bounds = settings(
                BOUNDS,
                derandomize=not attempt and not EXAMPLES,
                max_examples=EXAMPLES or 5,
                stateful_step_count=8,
            )
            LinkedRequests.run(settings=bounds)
        if linked or wrong:
            break
    assert wrong == []
    assert linked, "no link led to an existing key, webhook or session"
