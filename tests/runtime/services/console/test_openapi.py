"""Conformance of the console with its OpenAPI document."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import schemathesis
from gatehouse.core.roles import Role
from schemathesis import Case, GenerationMode, Response
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import allow_header_conformance

from tests.runtime.console_client import BOOTSTRAP, LogRecorder, composition, create_pool
from tests.runtime.openapi_conformance import (
    EXAMPLES,
    credential_in_failure,
    failures,
    validate,
    without_security,
)


@dataclass
class ConsoleSchema:
    schema: Any
    client: requests.Session
    tokens: dict[str, str]
    log: LogRecorder

    def send(self, case: Case[Any], token: str) -> Response:
        """Raises AssertionError for a 5xx response, because every dependency is available."""
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
        for role in (Role.AUDITOR, Role.SERVICE):
            created = client.post(
                "http://testserver/v1/keys",
                json={"name": role.value, "scopes": [role.scope]},
                headers={"Authorization": f"Bearer {BOOTSTRAP}"},
            )
            tokens[role.value] = created.json()["token"]
        yield ConsoleSchema(schema, client, tokens, log)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_responses_match_openapi(console_schema: ConsoleSchema, mode: GenerationMode) -> None:
    def send(case: Case[Any]) -> None:
        for credential, token in console_schema.tokens.items():
            with credential_in_failure(credential):
                validate(case, console_schema.send(case, token), allow_header_conformance)

    assert failures(console_schema.schema, mode, send, EXAMPLES or 1) == []
