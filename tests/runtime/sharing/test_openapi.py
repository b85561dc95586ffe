"""Conformance of the secret endpoints with the OpenAPI document of the console."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from gatehouse.console import asgi as console_asgi
from gatehouse.sharing.service import SecretSharing
from schemathesis import Case, GenerationMode
from schemathesis.python.asgi import get_client
from schemathesis.specs.openapi.checks import allow_header_conformance

from tests.runtime.conftest import Database
from tests.runtime.console_client import BOOTSTRAP, LogRecorder, create_dependencies
from tests.runtime.openapi_conformance import EXAMPLES, failures, validate, without_security
from tests.runtime.sharing.conftest import Sharing


@pytest.mark.requirement("TR-16")
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_secrets_match_openapi(database: Database, sharing: Sharing, mode: GenerationMode) -> None:
    log = LogRecorder()
    dependencies, _ = create_dependencies(database, log)
    management = SecretSharing(sharing.secrets, "https://sharing.test", 1000, sharing.requests)
    app: Any = console_asgi.create(replace(dependencies, clock=sharing.clock, sharing=management))
    with get_client(app) as client:
        schema: Any = schemathesis.openapi.from_dict(without_security(client.get("http://testserver/openapi.json").json()))
        schema = schema.include(path_regex="/v1/secret.*")
        schema.app = app

        def send(case: Case[Any]) -> None:
            sharing.clock.advance(30)  # so that the rate limit of creations is not reached
            reply = case.call(session=client, headers={"Authorization": f"Bearer {BOOTSTRAP}"})
            assert reply.status_code < 500, f"{case.method} {case.path}: {log.entries[-1]['detail']}"
            validate(case, reply, allow_header_conformance)

        assert failures(schema, mode, send, EXAMPLES or 10) == []
